"""An independent slow implementation of the streaming contract: what may be released of a text after each of its prefixes.

usage: prefix_safety.py PREFIXES TEXTS [SEED]

PREFIXES is the example of that name of policy-compiler. Python's `regex` knows partial matches: whether the end of a text could still become
part of one. For regular expressions of a policy that gives exactly what must have come out; for built-in detectors it gives a continuation that
turns the end of a prefix into a value, and nothing of that value may have come out.
"""

import json
import random
import subprocess
import sys

import regex

# Their first alternatives are never beginnings of later ones, so that leftmost-first and longest agree.
EXPRESSIONS = [
    "secret", "(?i)secret[0-9]*", "x+y?[0-9]", "PRJ-[A-Z]{2,4}-[0-9]{3,6}", "[0-9]{4}(?:-[0-9]{4}){3}", "é[^ ]{0,3}z", "<[a-z]{1,8}>", "a(?:bc)+d?",
    "(?:key|token)=[a-z0-9]{4,12}", "[a-f0-9]{8,}", "\\bid[0-9]+", "\\pL+[0-9]+",
]
NOISE = [" ", "-", "x", "xx", "xy1", "secret", "SeCret12", "secr", "PRJ-AB-1234", "PRJ-", "1234-1234-1234-1234", "1234-12", "é", "éab z", "éaz", "<b>", "<bold", "abcbcd", "abcb",
         "key=ab12cd", "token=abc", "deadbeef0", "dead", "id42", "id", "谢1", "😀", ".", "\n", "the quick ", "7"]

# What the value looks like in full, and the last step that makes a text of that form a valid one.
FORMS = {
    "us_ssn": ("(?:00[1-9]|0[1-9][0-9]|[1-578][0-9]{2})-(?:0[1-9]|[1-9][0-9])-(?:[1-9][0-9]{3})", None),
    "credit_card": ("4[0-9]{3}(?: [0-9]{4}){3}|4[0-9]{15}", "luhn"),
    "email": ("[a-z]{1,12}@[a-z]{1,12}\\.(?:com|org|net)", None),
    "phone": ("\\+1[2-9][0-9]{2}[2-9][0-9]{2}[0-9]{4}", None),
    "iban": ("DE[0-9]{2}(?:[0-9]{4}){4}[0-9]{2}", "mod97"),
}
VALUES = ["536-22-8145", "536-22-", "4111 1111 1111 1111", "4111 1111 11", "4111111111111111", "bob@example.com", "bob@exa", "+14155552671", "+1415", "DE89370400440532013000", "DE8937"]


def decided(patterns, growing, text):
    """What must be out: everything before the first place whose match is not decided yet, with decided matches replaced."""
    stop, spans = len(text), []
    for pattern, grows in zip(patterns, growing):
        at = 0
        while at < len(text):
            found = pattern.match(text, at, partial=True)
            if found is None:
                at += 1
                continue
            if found.partial or grows(text, at, found.end()):
                stop = min(stop, at)
                break
            if found.end() == at:
                at += 1
                continue
            spans.append((at, found.end()))
            at = found.end()
    united = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1][1] = max(end, united[-1][1])
        else:
            united.append([start, end])
    stop = min([start for start, end in united if start < stop < end], default=stop)
    out, at = [], 0
    for start, end in united:
        if end <= stop:
            out += [text[at:start], "[MASKED]"]
            at = end
    return "".join(out) + text[at:stop]


def grower(expression):
    """Whether the match could become longer than it is if more came: an attempt at a longer one runs past the end of the text."""
    longer = {}

    def grows(text, start, end):
        least = end - start + 1
        if least not in longer:
            longer[least] = regex.compile(f"(?:{expression})(?<=\\G[\\s\\S]{{{least},}})")
        found = longer[least].match(text, start, partial=True)
        return found is not None and found.partial

    return grows


def luhn(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        digit = int(digit) * (2 if place % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def completed(form, finish, start, source):
    """A value that begins like this."""
    value, whole = start, regex.compile(form)
    while not whole.fullmatch(value):
        steps = [c for c in "0123456789abcdefghijklmnopqrstuvwxyz@.-+ DE" if (found := whole.fullmatch(value + c, partial=True)) is not None]
        if not steps:
            return None
        value += source.choice(steps)
    if finish == "luhn":
        ends = [value[:-1] + digit for digit in "0123456789"]
        return next((end for end in ends if len(start) < len(end) and luhn([c for c in end if c.isdigit()])), None)
    if finish == "mod97":
        ends = [f"{value[:-2]}{number:02}" for number in range(100)]
        return next((end for end in ends if len(start) <= len(end) - 2 and int(end[4:] + "1314" + end[2:4]) % 97 == 1), None)
    return value


def ask(binary, questions):
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run([binary], input=lines.encode(), capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def regular_expressions(binary, count, source):
    """Texts × prefixes: what came out is what had to come out, no more and no less."""
    compiled = {expression: (regex.compile(expression), grower(expression)) for expression in EXPRESSIONS}
    questions = []
    for _ in range(count):
        chosen = source.sample(EXPRESSIONS, source.choice([1, 2, 3]))
        questions.append({"detectors": [], "regexes": chosen, "text": "".join(source.choices(NOISE, k=source.randrange(1, 9)))})
    prefixes = late = 0
    for question, answer in zip(questions, ask(binary, questions)):
        patterns, growing = zip(*(compiled[expression] for expression in question["regexes"]))
        for length, released in enumerate(answer["at"], start=1):
            wanted = decided(patterns, growing, question["text"][:length])
            got = answer["out"][:released]
            prefixes += 1
            if not wanted.startswith(got):
                sys.exit(f"released too early: {question} after {length}: {got!r}, not {wanted!r}")
            late += len(got) < len(wanted)
    return prefixes, late


def detectors(binary, count, source):
    """Where the end of a prefix could become a value, no part of that end came out."""
    names = list(FORMS)
    questions = [{"detectors": names, "regexes": [], "text": "".join(source.choices(VALUES + NOISE, k=source.randrange(1, 7)))} for _ in range(count)]
    again = []
    for question, answer in zip(questions, ask(binary, questions)):
        text = question["text"]
        for length, released in enumerate(answer["at"], start=1):
            for name, (form, finish) in FORMS.items():
                begins = regex.compile(f"(?<![\\w.+@%'-])(?:{form})\\Z")
                start = next((at for at in range(max(0, length - 30), length) if (found := begins.match(text[:length], at, partial=True)) and found.partial), None)
                value = start is not None and completed(form, finish, text[start:length], source)
                if value:
                    again.append((name, text[:start], value, answer["out"][:released], length))
    source.shuffle(again)
    again = again[: 20 * count]
    longer = [{"detectors": names, "regexes": [], "text": f"{before}{value} ok"} for _, before, value, _, _ in again]
    checked = 0
    for (name, before, value, released, length), question, answer in zip(again, longer, ask(binary, longer)):
        # Something glued in front may make the value part of something else; then the rest of the text is masked otherwise.
        checked += f"[{name.upper()}] ok" in answer["out"]
        if not answer["out"].startswith(released):
            sys.exit(f"released too early: {question['text']!r} after {length}: {released!r} is no beginning of {answer['out']!r}")
    return len(again), checked


def main():
    binary, count = sys.argv[1], int(sys.argv[2])
    source = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 5)
    prefixes, late = regular_expressions(binary, count, source)
    print(f"prefix safety: {count} texts with regular expressions, {prefixes} prefixes, 0 released too early, {late} later than the oracle")
    asked, checked = detectors(binary, count, source)
    print(f"prefix safety: {asked} continuations that make a value, {checked} of them masked alone, 0 with a part of it released before")
    sys.exit(late * 100 > prefixes or checked * 2 < asked)


main()
