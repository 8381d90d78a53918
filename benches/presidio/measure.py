"""Prints how many bytes per second Presidio's pattern recognisers look through, on the texts of the example whose path is given."""

import inspect
import subprocess
import sys
import time

from presidio_analyzer import PatternRecognizer, predefined_recognizers

# Of the example's text; the speed does not depend on how much of it is read.
TEXT_CHARACTERS = 16 * 1024
# Characters that are analysed together, as a message would be.
PIECE_CHARACTERS = 4 * 1024
ROUNDS = 3


def recognizers():
    """Every predefined recogniser that is made of patterns."""
    classes = [one for _, one in inspect.getmembers(predefined_recognizers, inspect.isclass)]
    return [one() for one in classes if issubclass(one, PatternRecognizer)]


def seconds(found, pieces):
    """The best CPU time of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for piece in pieces:
            for recognizer in found:
                recognizer.analyze(piece, recognizer.supported_entities, None)
        best = min(best, time.process_time() - began)
    return best


def main():
    """Measures both texts."""
    found = recognizers()
    for name in ("clean", "dense"):
        text = subprocess.run([sys.argv[1], f"text-{name}"], check=True, capture_output=True, text=True).stdout
        text = text[:TEXT_CHARACTERS]
        pieces = [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]
        speed = len(text) / seconds(found, pieces) / 1e6
        print(f"{name}: presidio, {len(found)} pattern recognisers {speed:.3f} MB/s")


main()
