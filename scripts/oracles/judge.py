"""Asks the detectors: what the example `judge` of policy-compiler says of texts."""

import subprocess


def escaped(text):
    """The text in one line."""
    for plain, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escape)
    return text


def spans(binary, cases):
    """As `finds`, without the detectors' names."""
    return [[(start, end) for _, start, end in found] for found in finds(binary, cases)]


def finds(binary, cases):
    """Of each case (detectors joined by commas or "*", key of the JSON member or "", text): detector, first and last character of what is found."""
    lines = "".join(f"{detectors}\t{key}\t{escaped(text)}\n" for detectors, key, text in cases)
    done = subprocess.run([binary, "--spans"], input=lines.encode(), capture_output=True, check=True)
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(cases), (len(answers), len(cases))
    found = []
    for (detectors, _, text), answer in zip(cases, answers):
        assert answer != "?", f"there is no detector {detectors}"
        raw = text.encode()
        ranges = []
        for part in [] if answer == "-" else answer.split():
            name, place = part.rsplit(":", 1)
            start, end = map(int, place.split("-"))
            ranges.append((name, len(raw[:start].decode()), len(raw[:end].decode())))
        found.append(ranges)
    return found
