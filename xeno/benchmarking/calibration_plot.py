"""Confidence against truth as a picture (a reliability diagram), as SVG that any browser shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_EDGE = 320  # of the square that both axes span
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 16, 140, 44
_COLORS = ("#3b57c9", "#c2571a", "#1c7a4b", "#8e44ad")
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def calibration_svg(tables: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line for each table of `xeno.benchmarking.learning.reliability`, by its name.

    A point is a bin: its mean confidence to the right, the share that was true upwards; its area
    grows with the number of beliefs. On the diagonal confidence is truth; above it less is
    claimed than is known.
    """
    width, height = _LEFT + _EDGE + _RIGHT, _TOP + _EDGE + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#1c2230">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _line((0, 0), (1, 1), "#9aa3b5", dashed=True),
    ]
    for tick in _TICKS:
        x, y = _place(tick, tick)
        parts += [
            _line((tick, 0), (tick, 1), "#e4e7ee"),
            _line((0, tick), (1, tick), "#e4e7ee"),
            f'<text x="{x:.1f}" y="{_TOP + _EDGE + 16}" text-anchor="middle">{tick:.1f}</text>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>',
        ]
    parts += [
        f'<text x="{_LEFT + _EDGE / 2}" y="{height - 8}" text-anchor="middle">confidence</text>',
        f'<text x="14" y="{_TOP + _EDGE / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {_TOP + _EDGE / 2})">share that was true</text>',
    ]
    for number, (name, table) in enumerate(tables.items()):
        parts += _drawn(name, table, _COLORS[number % len(_COLORS)], number)
    return "\n".join([*parts, "</svg>", ""])


def _drawn(name: str, table: Sequence[Mapping[str, float]], color: str, number: int) -> list[str]:
    points = [_place(each["confidence"], each["right"]) for each in table]
    most = max((each["beliefs"] for each in table), default=1)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    y = _TOP + 14 + 20 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>',
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 4 * (each["beliefs"] / most) ** 0.5:.1f}" '
            f'fill="{color}"/>'
            for (x, y), each in zip(points, table, strict=True)
        ),
        f'<circle cx="{_LEFT + _EDGE + 18}" cy="{y - 4}" r="4" fill="{color}"/>',
        f'<text x="{_LEFT + _EDGE + 28}" y="{y}">{name}</text>',
    ]


def _line(
    start: tuple[float, float], end: tuple[float, float], color: str, *, dashed: bool = False
) -> str:
    (x1, y1), (x2, y2) = _place(*start), _place(*end)
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{dash}/>'


def _place(confidence: float, right: float) -> tuple[float, float]:
    return _LEFT + _EDGE * confidence, _TOP + _EDGE * (1 - right)
