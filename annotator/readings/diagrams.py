"""The diagrams of a labeler's report, as inline SVG made on the server (see `charts`); a table stands beside each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH = 480
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 14, 40
HEIGHT = 300
# A value in the drawing.
Scale = Callable[[float], float]
# Of the diagrams with a row for each thing: words stand left of this.
WORDS, ROW = 168, 30


@dataclass(frozen=True)
class Interval:
    """One measure with its 95% interval; `kind` is a CSS class: judge (the labeler itself) or other."""

    words: str
    value: float
    low: float | None
    high: float | None
    kind: str = "other"


@dataclass(frozen=True)
class Point:
    """One bin of a reliability diagram: how sure it said to be, the share of people found with it, of how many."""

    said: float
    found: float
    low: float
    high: float
    n: int


def intervals(rows: Sequence[Interval], *, mark: float, title: str) -> SafeString:
    """A row for each measure, in percent, with a line at `mark`. The axis holds everything that is drawn."""
    if not rows:
        return SafeString("")
    ends = [mark, *(end for row in rows for end in (row.value, row.low, row.high) if end is not None)]
    first = max(0.0, int(min(ends) * 10) / 10)
    last = min(1.0, (int(max(ends) * 10 - 1e-9) + 1) / 10)
    last = max(last, first + 0.1)
    height = TOP + ROW * len(rows) + BOTTOM - 12

    def x(value: float) -> float:
        return round(WORDS + (value - first) / (last - first) * (WIDTH - WORDS - RIGHT), 1)

    steps = round((last - first) * 10)
    ticks = [first + 0.1 * step for step in range(0, steps + 1, 2 if steps > 5 else 1)]
    inside = [_ticks(ticks, x, height)]
    inside.append(
        format_html(
            '<line class="reference dotted" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" />',
            x=x(mark),
            top=TOP,
            bottom=height - BOTTOM + 12,
        )
    )
    inside += [_row(row, x, TOP + ROW * number + ROW / 2) for number, row in enumerate(rows)]
    return _svg(inside, height, title)


def _ticks(ticks: Sequence[float], x: Scale, height: float) -> SafeString:
    return format_html_join(
        "",
        '<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="middle">{}%</text>',
        ((x(at), x(at), TOP, height - BOTTOM + 12, x(at), height - BOTTOM + 28, round(100 * at)) for at in ticks),
    )


def _row(row: Interval, x: Scale, y: float) -> SafeString:
    line = SafeString("")
    if row.low is not None and row.high is not None:
        line = format_html(
            '<line class="interval" x1="{}" x2="{}" y1="{y}" y2="{y}" />',
            x(row.low),
            x(row.high),
            y=y,
        )
    return format_html(
        '<g class="{}"><text{} x="{}" y="{}" text-anchor="end">{}</text>{}'
        '<circle class="point" cx="{}" cy="{}" r="4.5" /></g>',
        row.kind,
        mark_safe(' class="strong"') if row.kind == "judge" else "",
        WORDS - 12,
        y + 4,
        row.words,
        line,
        x(row.value),
        y,
    )


def reliability(
    raw: Sequence[Point], calibrated: Sequence[Point], *, title: str, x_words: str, y_words: str
) -> SafeString:
    """How often people are with it against how sure it said to be; on the dotted line its sureness is what it says.

    The area of a point is the number of its comparisons; calibrated points are filled.
    """
    if not raw:
        return SafeString("")
    first = max(0.0, int(min(point.low for point in [*raw, *calibrated]) * 10) / 10)
    most = max(point.n for point in [*raw, *calibrated])

    def x(value: float) -> float:
        return round(LEFT + (value - 0.5) / 0.5 * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (1 - value) / (1 - first) * (HEIGHT - TOP - BOTTOM), 1)

    return _svg(
        [
            _percents(x, y, first),
            _diagonal(x, y, max(0.5, first)),
            _points(calibrated, x, y, most, "other filled"),
            _points(raw, x, y, most, "judge"),
            _axis_words(x_words, y_words),
        ],
        HEIGHT,
        title,
    )


def _percents(x: Scale, y: Scale, first: float) -> SafeString:
    """Lines and their percentages from `first` up, and those of the sureness, 50 to 100, below."""
    steps = round((1 - first) * 10)
    levels = [1 - 0.1 * step for step in range(0, steps + 1, 2 if steps > 5 else 1)]
    lines = format_html_join(
        "",
        '<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="end">{}%</text>',
        ((LEFT, WIDTH - RIGHT, y(at), y(at), LEFT - 7, y(at) + 4, round(100 * at)) for at in levels),
    )
    below = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}%</text>',
        ((x(at / 10), HEIGHT - BOTTOM + 17, at * 10) for at in range(5, 11)),
    )
    return lines + below


def _diagonal(x: Scale, y: Scale, start: float) -> SafeString:
    """Where sureness is what it says."""
    line = '<line class="reference dotted" x1="{}" y1="{}" x2="{}" y2="{}" />'
    return format_html(line, x(start), y(start), x(1), y(1))


def _axis_words(below: str, beside: str) -> SafeString:
    return format_html(
        '<text x="{}" y="{}" text-anchor="end">{}</text><text class="halo" x="{}" y="{}">{}</text>',
        *(WIDTH - RIGHT, HEIGHT - 6, below, LEFT + 6, TOP + 12, beside),
    )


def _points(points: Sequence[Point], x: Scale, y: Scale, most: int, kind: str) -> SafeString:
    drawn = format_html_join(
        "",
        '<line class="interval" x1="{0}" x2="{0}" y1="{1}" y2="{2}" />'
        '<circle class="point" cx="{0}" cy="{3}" r="{4}" />',
        (
            (x(each.said), y(each.low), y(each.high), y(each.found), round(3 + 6 * sqrt(each.n / most), 1))
            for each in points
        ),
    )
    return format_html('<g class="{}">{}</g>', kind, drawn)


def histogram(right: Sequence[float], wrong: Sequence[float], *, title: str, x_words: str) -> SafeString:
    """Comparisons by the labeler's probability for B, from 0 to 1: where people say the same, and on top where not."""
    columns = list(zip(right, wrong, strict=True))
    most = max((same + other for same, other in columns), default=0)
    if not most:
        return SafeString("")
    width, scale = (WIDTH - LEFT - RIGHT) / len(columns), (HEIGHT - TOP - BOTTOM) / most
    bars = [_bar(LEFT + number * width, width, scale, *column) for number, column in enumerate(columns)]
    words = format_html(
        '<text x="{}" y="{}">A</text><text x="{}" y="{}" text-anchor="end">B</text>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>'
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}" />',
        *(LEFT, HEIGHT - BOTTOM + 17, WIDTH - RIGHT, HEIGHT - BOTTOM + 17),
        *((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_words, LEFT - 7, TOP + 4, round(most)),
        *(LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM),
    )
    return _svg([*bars, words], HEIGHT, title)


def _bar(x: float, width: float, scale: float, same: float, other: float) -> SafeString:
    bottom = HEIGHT - BOTTOM
    parts = (("judge", same, bottom - same * scale), ("other", other, bottom - (same + other) * scale))
    return format_html_join(
        "",
        '<g class="{}"><rect class="part" x="{}" width="{}" y="{}" height="{}" /></g>',
        (
            (kind, round(x + 1, 1), round(width - 2, 1), round(top, 1), round(number * scale, 1))
            for kind, number, top in parts
        ),
    )


def _svg(inside: Sequence[SafeString], height: float, title: str) -> SafeString:
    return format_html(
        '<svg class="chart big" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">{}</svg>',
        WIDTH,
        height,
        title,
        mark_safe("".join(inside)),
    )
