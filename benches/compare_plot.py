"""The table of compare_core.py as one drawing: CPU time per request, a group of bars per proxy, on a logarithmic scale."""

import math
from html import escape

WIDTH, LABELS, VALUES, BAR, GAP, TOP, FOOT = 1100, 430, 80, 14, 12, 60, 95
COLOURS = ("#1b6ca8", "#6aa84f", "#e69138", "#8e63ce", "#999999")


def svg(cpu, columns, source):
    """`cpu`: {proxy: {connections: µs}}; `source`: what stands below."""
    values = [value for row in cpu.values() for value in row.values()]
    low, high = 10 ** math.floor(math.log10(min(values))), max(values) * 1.1
    scale = (WIDTH - LABELS - VALUES) / math.log10(high / low)
    at = lambda value: LABELS + math.log10(value / low) * scale
    group = len(columns) * BAR + GAP
    height = TOP + group * len(cpu) + FOOT
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
             '<text x="10" y="22" font-size="16">CPU time of the proxy per request, µs (logarithmic)</text>']
    for number, connections in enumerate(columns):
        x = LABELS + number * 140
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>'
                     f'<text x="{x + 17}" y="42">{connections} connection{"s" if connections != 1 else ""}</text>')
    decade = low
    while decade <= high:
        for factor in (1, 2, 5):
            if decade * factor <= high:
                x = at(decade * factor)
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - FOOT}" stroke="#ddd"/>'
                             f'<text x="{x:.1f}" y="{height - FOOT + 16}" text-anchor="middle" fill="#555">{decade * factor:g}</text>')
        decade *= 10
    for place, (name, row) in enumerate(cpu.items()):
        y = TOP + place * group
        parts.append(f'<text x="{LABELS - 8}" y="{y + len(columns) * BAR / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for number, connections in enumerate(columns):
            if connections in row:
                parts.append(f'<rect x="{LABELS}" y="{y + number * BAR}" width="{at(row[connections]) - LABELS:.1f}" height="{BAR - 2}" fill="{COLOURS[number % len(COLOURS)]}"/>'
                             f'<text x="{at(row[connections]) + 5:.1f}" y="{y + number * BAR + BAR - 4}">{row[connections]:,.1f}</text>')
    words, line, lines = source.split(), "", []
    for word in words:
        if len(line) + len(word) > 170:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    for number, line in enumerate([*lines, line]):
        parts.append(f'<text x="10" y="{height - FOOT + 36 + number * 14}" font-size="10" fill="#555">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
