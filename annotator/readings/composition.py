"""Who judges how much at every budget, as areas one on the other; the axis is that of the curve above it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from annotator.readings import charts
from annotator.readings.charts import LEFT, RIGHT, WIDTH

HEIGHT, TOP, BOTTOM = 190, 8, 28
# Width of a letter in the drawing, and half the height of a line as a share: words without room are in the legend only.
LETTER, HALF_LINE = 7, 0.05


@dataclass(frozen=True)
class Layer:
    """One source: its share at each budget, as a CSS class and in words."""

    kind: str
    words: str
    shares: Sequence[float]


def areas(budgets: Sequence[float], layers: Sequence[Layer], *, shown: int | None, title: str) -> SafeString:
    """Layers from the bottom up over ascending `budgets`; `shown` marks one of them, and the others can be marked.

    Fewer than two budgets, or no layer, draw nothing.
    """
    if len(budgets) < 2 or not layers:
        return SafeString("")
    most = max(budgets) or 1.0
    drawn, below = [], [0.0] * len(budgets)
    for layer in layers:
        above = [low + share for low, share in zip(below, layer.shares, strict=True)]
        drawn.append(_area(budgets, below, above, layer, most))
        below = above
    marks = [
        format_html(
            '<line class="here"{} x1="{x}" x2="{x}" y1="{}" y2="{}" />',
            charts.stop(index, index == shown),
            TOP - 6,
            HEIGHT - BOTTOM,
            x=_x(budget, most),
        )
        for index, budget in enumerate(budgets)
    ]
    return charts.figure([*drawn, _grid(most), *marks], WIDTH, HEIGHT, title)


def _x(budget: float, most: float) -> float:
    return round(LEFT + budget / most * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)


def _area(
    budgets: Sequence[float], below: Sequence[float], above: Sequence[float], layer: Layer, most: float
) -> SafeString:
    there = [f"{_x(budget, most)} {_y(share)}" for budget, share in zip(budgets, above, strict=True)]
    back = [f"{_x(budget, most)} {_y(share)}" for budget, share in zip(budgets, below, strict=True)]
    words = _words(budgets, below, above, layer, most)
    return format_html(
        '<g class="{}"><path class="part" d="M{}Z" />{}</g>', layer.kind, " L".join([*there, *reversed(back)]), words
    )


def _words(
    budgets: Sequence[float], below: Sequence[float], above: Sequence[float], layer: Layer, most: float
) -> SafeString:
    """The name of the layer where it is thickest, if all of it stands inside."""
    thickest = max(range(len(budgets)), key=lambda index: layer.shares[index])
    x, middle = _x(budgets[thickest], most), (below[thickest] + above[thickest]) / 2
    anchor = "start" if x < WIDTH / 3 else "end" if x > WIDTH * 2 / 3 else "middle"
    length = LETTER * len(layer.words) + 8
    first = {"start": x + 8, "end": x - 8 - length, "middle": x - length / 2}[anchor]
    for end in (first, first + length):
        budget = (end - LEFT) / (WIDTH - LEFT - RIGHT) * most
        if not _between(budgets, below, budget) + HALF_LINE < middle < _between(budgets, above, budget) - HALF_LINE:
            return SafeString("")
    aside = {"start": 8, "end": -8, "middle": 0}[anchor]
    return format_html(
        '<text class="part-ink" x="{}" y="{}" text-anchor="{}">{}</text>',
        x + aside,
        _y(middle) + 4,
        anchor,
        layer.words,
    )


def _between(budgets: Sequence[float], values: Sequence[float], budget: float) -> float:
    """The value at `budget` on the line through `values`; beyond its ends that of the end."""
    after = bisect(budgets, budget)
    if after == 0 or after == len(budgets):
        return values[max(0, after - 1)]
    left, right = budgets[after - 1], budgets[after]
    part = (budget - left) / (right - left)
    return values[after - 1] * (1 - part) + values[after] * part


def _grid(most: float) -> SafeString:
    rows = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="end">{}%</text>',
        ((LEFT - 8, _y(share) + 4, round(100 * share)) for share in (0, 0.5, 1)),
    )
    ticks = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((_x(at, most), HEIGHT - 8, charts.round_number(at)) for at in charts.round_budgets(most)),
    )
    line = format_html(
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}" />', LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM
    )
    return rows + ticks + line
