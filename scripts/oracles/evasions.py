"""Asks Presidio's pattern recognizers and the detectors for the same evasions and writes the answers into docs/detectors.md.

usage: evasions.py JUDGE EVASIONS PAGE [--write]

Without `--write` the page must say what was found.
"""

import importlib.metadata
import json
import logging
import pathlib
import sys

from judge import spans
from page import part


def presidio():
    """A function from detector and text to whether Presidio finds anything; any score counts."""
    # It asks the network for a list of public suffixes and falls back to its own.
    logging.disable(logging.CRITICAL)
    from presidio_analyzer import predefined_recognizers as known

    recognizers = {
        "credit_card": known.CreditCardRecognizer(), "us_ssn": known.UsSsnRecognizer(), "email": known.EmailRecognizer(),
        "iban": known.IbanRecognizer(), "ipv4": known.IpRecognizer(), "phone": known.PhoneRecognizer(),
    }
    return lambda detector, text: bool(recognizers[detector].analyze(text, recognizers[detector].supported_entities, None))


def main():
    binary, page = sys.argv[1], sys.argv[3]
    rows = [json.loads(line) for line in pathlib.Path(sys.argv[2]).read_text().splitlines()]
    texts = [f"it is {row['text']}, I think" for row in rows]
    ours = [bool(found) for found in spans(binary, [(row["detector"], "", text) for row, text in zip(rows, texts)])]
    asks = presidio()
    theirs = [asks(row["detector"], text) for row, text in zip(rows, texts)]
    version = importlib.metadata.version("presidio-analyzer")
    table = [f"| detector | how it is written | Sallyport | Presidio {version} |", "|---|---|---|---|"]
    word = {True: "found", False: "–"}
    table += [f"| `{row['detector']}` | {row['how']} | {word[our]} | {word[their]} |" for row, our, their in zip(rows, ours, theirs)]
    table.append(f"| | of {len(rows)} | {sum(ours)} | {sum(theirs)} |")
    print(f"evasions: {len(rows)}, found by Sallyport {sum(ours)}, by Presidio {version} {sum(theirs)}")
    part(page, "evasions", table, "--write" in sys.argv)
    sys.exit(not all(ours))


main()
