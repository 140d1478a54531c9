"""A plot of lines over time, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 900, 360, 60, 40, 30
_COLOURS = ("#b3402a", "#1f5f99", "#2f7d3b", "#7a4fa3")


@attrs.frozen
class Line:
    """A line with its name; its points are in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(lines: Sequence[Line], *, bound: float, x: str, y: str) -> str:
    """The lines, and a dashed one where the bound is."""
    right = max(point[0] for line in lines for point in line.points)
    top = max(bound, *(point[1] for line in lines for point in line.points)) * 1.05
    across, down = (_WIDTH - _LEFT - 10) / right, (_HEIGHT - _BOTTOM - _TOP) / top

    def place(point: tuple[float, float]) -> str:
        return f"{_LEFT + point[0] * across:.1f},{_HEIGHT - _BOTTOM - point[1] * down:.1f}"

    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        _line(place((0, 0)), place((right, 0)), "#333"),
        _line(place((0, 0)), place((0, top)), "#333"),
        _line(place((0, bound)), place((right, bound)), "#333", dashed=True),
        f'<text x="{_LEFT}" y="18">{escape(y)}</text>',
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 8}" text-anchor="end">{escape(x)}</text>',
    ]
    for mark in range(int(right) + 1):
        if mark % max(int(right) // 10, 1) == 0:
            left = place((mark, 0)).partition(",")[0]
            parts.append(f'<text x="{left}" y="{_HEIGHT - 24}" text-anchor="middle">{mark}</text>')
    for height in (0.0, bound, bound * 2):
        if height <= top:
            level = place((0, height)).partition(",")[2]
            parts.append(f'<text x="{_LEFT - 6}" y="{level}" text-anchor="end">{height:g}</text>')
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(map(place, line.points))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_WIDTH - 110}" y="{18 + 16 * number}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _line(start: str, end: str, colour: str, *, dashed: bool = False) -> str:
    (x1, y1), (x2, y2) = start.split(","), end.split(",")
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dash}/>'
