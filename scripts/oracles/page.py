"""A part of a page that a script writes: between `<!-- NAME -->` and `<!-- end of NAME -->`."""

import pathlib
import sys


def part(path, name, lines, write):
    """Writes the lines there, or ends with an error if the page says something else."""
    page = pathlib.Path(path)
    text = page.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, rest = text.split(begin)
    wanted = f"{head}{begin}\n" + "\n".join(lines) + f"\n\n{end}" + rest.split(end)[1]
    if write:
        page.write_text(wanted)
    elif wanted != text:
        sys.exit(f"{path} does not say what was found ({name}): run scripts/oracles/detectors with --write")
