"""Counts what the detectors of tier V find in technical prose that holds no personal data of anybody: mistakes of theirs.

usage: prose.py JUDGE NAME DIRECTORY GLOB
"""

import collections
import gzip
import pathlib
import re
import sys

from judge import finds

PER_MEGABYTE = 5
# An address in prose is one, if only an example; these are counted apart.
ADDRESSES = ("email", "ipv4", "ipv6", "mac_address", "url_credentials")
# Examples that show the very thing: detector, what is around it, and why it is no mistake.
EXAMPLES = [
    ("phone", r"Street|Avenue|Dogwood|Park Pl|McFluff|Heathmore|Burger|Albrecht|maja|peter", "a telephone book"),
    ("password", "kadidd", "a log-in"),
    ("private_key", "in base64 encoding", "how such a file looks"),
]


def text_of(path):
    """The text of a page; requests of troff are no prose."""
    if path.suffix == ".gz":
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        lines = (line for line in text.splitlines() if not line.startswith((".\\\"", "'\\\"")))
        return re.sub(r"\\f[BIRP]|\\&", "", "\n".join(lines)).replace("\\-", "-")
    return path.read_text("utf-8", "replace")


def main():
    binary, name, directory, pattern = sys.argv[1:5]
    texts = [text_of(path) for path in sorted(pathlib.Path(directory).rglob(pattern)) if path.is_file()]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    addresses, mistakes, shown = collections.Counter(), [], 0
    for text, found in zip(texts, finds(binary, [("*", "", text) for text in texts])):
        behind = 0
        for detector, start, end in sorted(found, key=lambda find: (find[1], -find[2])):
            # What overlaps is one mask.
            if start < behind:
                continue
            behind = end
            around = text[max(0, start - 60) : end + 20]
            if detector in ADDRESSES:
                addresses[detector] += 1
            elif any(detector == d and re.search(test, around) for d, test, _ in EXAMPLES):
                shown += 1
            else:
                mistakes.append((detector, around))
    for detector, around in mistakes:
        print(f"  {detector}: {around!r}")
    print(
        f"{name}: {len(mistakes)} masks in {megabytes:.1f} MB of prose, {len(mistakes) / megabytes:.2f} per MB (at most {PER_MEGABYTE}); beside {shown} examples "
        f"that show one and {sum(addresses.values())} addresses"
    )
    sys.exit(len(mistakes) > PER_MEGABYTE * megabytes)


main()
