"""Who judges how much at every budget, as areas one on the other; the axis is that of the curve above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from annotator.readings import charts
from annotator.readings.charts import LEFT, RIGHT, WIDTH

HEIGHT, TOP, BOTTOM = 190, 8, 28
# A layer that is nowhere thicker than this has no room for its words; the legend has them.
ROOM_FOR_WORDS = 0.12


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
    thickest = max(range(len(budgets)), key=lambda index: layer.shares[index])
    words = SafeString("")
    if layer.shares[thickest] >= ROOM_FOR_WORDS:
        words = _words(layer, _x(budgets[thickest], most), _y((below[thickest] + above[thickest]) / 2))
    return format_html(
        '<g class="{}"><path class="part" d="M{}Z" />{}</g>', layer.kind, " L".join([*there, *reversed(back)]), words
    )


def _words(layer: Layer, x: float, y: float) -> SafeString:
    """The name of the layer where it is thickest, always inside of the drawing."""
    anchor = "start" if x < WIDTH / 3 else "end" if x > WIDTH * 2 / 3 else "middle"
    aside = {"start": 8, "end": -8, "middle": 0}[anchor]
    return format_html(
        '<text class="part-ink" x="{}" y="{}" text-anchor="{}">{}</text>', x + aside, y + 4, anchor, layer.words
    )


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
