"""The diagrams of a performance model's report, as inline SVG made on the server; a table stands beside each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from annotator.readings import charts
from annotator.readings.performance import Effect, Observed

Scale = Callable[[float], float]
# Observed against predicted: a square, so that the diagonal is one.
SIDE, LEFT, RIGHT, TOP, BOTTOM = 420, 52, 12, 14, 44
# A row an effect: words stand left of this.
WIDTH, WORDS, ROW, MOST = 620, 300, 26, 16
# Letters of those words.
FITS = 48


def scatter(rows: Sequence[Observed], *, title: str, x_words: str, y_words: str) -> SafeString:
    """Measured against predicted, with each mixture's 90% interval; on the dotted line a prediction is right.

    What lies outside of its interval is hollow. Nothing is drawn of fewer than two mixtures.
    """
    if len(rows) < 2:
        return SafeString("")
    ends = [end for row in rows for end in (row.predicted, row.observed)]
    low, high, step = _round_range(min(ends), max(ends))

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (SIDE - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(SIDE - BOTTOM - (value - low) / (high - low) * (SIDE - BOTTOM - TOP), 1)

    def inside(value: float) -> float:
        return y(min(max(value, low), high))

    bands = format_html_join(
        "",
        '<line class="spread" x1="{0}" x2="{0}" y1="{1}" y2="{2}" />',
        ((x(row.predicted), inside(row.low), inside(row.high)) for row in rows),
    )
    points = format_html_join(
        "",
        '<circle class="mixture{}" cx="{}" cy="{}" r="3" />',
        (("" if row.is_inside else " outside", x(row.predicted), y(row.observed)) for row in rows),
    )
    diagonal = format_html(
        '<line class="reference dotted" x1="{}" y1="{}" x2="{}" y2="{}" />', x(low), y(low), x(high), y(high)
    )
    words = format_html(
        '<text x="{}" y="{}" text-anchor="end">{}</text><text class="halo" x="{}" y="{}">{}</text>',
        *(SIDE - RIGHT, SIDE - 8, x_words, LEFT + 6, TOP + 12, y_words),
    )
    parts = [_square(low, high, step, x, y), bands, diagonal, points, words]
    return charts.figure(parts, SIDE, SIDE, title)


def _square(low: float, high: float, step: float, x: Scale, y: Scale) -> SafeString:
    values = [low + step * index for index in range(round((high - low) / step) + 1)]
    places = 3 if step < 0.01 else 2
    lines = format_html_join(
        "",
        '<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="end">{}</text>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (
                *(LEFT, SIDE - RIGHT, y(value), y(value)),
                *(LEFT - 7, y(value) + 4, f"{value:.{places}f}"),
                *(x(value), SIDE - BOTTOM + 17, f"{value:.{places}f}"),
            )
            for value in values
        ),
    )
    return lines


def _round_range(low: float, high: float) -> tuple[float, float, float]:
    """(first, last, step): round ends around [low, high] with at most six steps between them."""
    span = max(high - low, 1e-6)
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    step = next((each for each in steps if span / each <= 5), span)
    first = step * floor(low / step + 1e-9)
    last = step * (floor(high / step - 1e-9) + 1)
    return first, max(last, first + step), step


def effects(rows: Sequence[Effect], *, title: str) -> SafeString:
    """The largest effects with their intervals, in points; the line is no effect, hollow what may be none."""
    if not rows:
        return SafeString("")
    shown = rows[:MOST]
    ends = [0.0, *(end for row in shown for end in (row.low, row.high))]
    low, high, step = _round_range(min(ends), max(ends))
    height = TOP + ROW * len(shown) + 30

    def x(value: float) -> float:
        return round(WORDS + (value - low) / (high - low) * (WIDTH - WORDS - 20), 1)

    ticks = [low + step * index for index in range(round((high - low) / step) + 1)]
    grid = format_html_join(
        "",
        '<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((x(at), x(at), TOP, height - 30, x(at), height - 12, _points(at)) for at in ticks),
    )
    nothing = format_html('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}" />', x(0), x(0), TOP, height - 30)
    drawn = [_effect(row, x, TOP + ROW * number + ROW / 2) for number, row in enumerate(shown)]
    return charts.figure([grid, nothing, *drawn], WIDTH, height, title)


def _points(value: float) -> str:
    words = f"{value:+.3g}" if abs(value) > 1e-9 else "0"
    return words.replace("-", "−")


def _short(words: str) -> str:
    """As much as fits left of the drawing; the table has all of it."""
    return words if len(words) <= FITS else words[: FITS - 1].rstrip() + "…"


def _effect(row: Effect, x: Scale, y: float) -> SafeString:
    return format_html(
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
        '<line class="interval" x1="{}" x2="{}" y1="{y}" y2="{y}" />'
        '<circle class="mixture{}" cx="{}" cy="{y}" r="4" />',
        WORDS - 12,
        y + 4,
        f"{_short(row.words or row.name)} · {row.where}",
        x(row.low),
        x(row.high),
        "" if row.is_clear else " outside",
        x(row.effect),
        y=y,
    )
