"""Charts as inline SVG made on the server: classes and attributes only, so that the strict CSP holds.

Every chart is drawn for the eye and has a table or a list with the same numbers beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 22, 28
# A part narrower than this has no room for its words; the legend has them.
ROOM_FOR_WORDS = 0.13


@dataclass(frozen=True)
class Part:
    """One part of a stacked bar. `kind` is a CSS class: people, judge, ratio or other."""

    kind: str
    share: float
    words: str = ""


@dataclass(frozen=True)
class CurvePoint:
    """Predicted performance at a budget, with its interval, and what a random mixture is predicted to reach."""

    budget: float
    predicted: float
    low: float
    high: float
    random: float | None = None


def palette(sources: Iterable[str]) -> dict[str, str]:
    """A CSS class for each source: people, the first two labelers, and the rest."""
    classes = {"people": "people"}
    labelers = [source for source in sources if source != "people"]
    classes.update(zip(labelers, ("judge", "ratio"), strict=False))
    return classes | {source: "other" for source in labelers[2:]}


def stacked_bar(parts: Sequence[Part], *, height: int = 14) -> SafeString:
    """Parts side by side from the left, in percent of the width; shares may add up to less than 1."""
    drawn, x = [], 0.0
    for part in parts:
        drawn.append(_part(part, x, height))
        x += part.share
    return format_html(
        '<svg class="chart" width="100%" height="{}" aria-hidden="true" focusable="false">'
        '<rect class="ground" width="100%" height="{}" rx="2" />{}</svg>',
        height,
        height,
        mark_safe("".join(drawn)),
    )


def _part(part: Part, x: float, height: int) -> SafeString:
    words = ""
    if part.words and part.share >= ROOM_FOR_WORDS:
        words = format_html('<text class="part-ink" x="8" y="{}">{}</text>', height / 2 + 4.5, part.words)
    return format_html(
        '<svg class="{}" x="{}%" width="{}%" height="{}"><rect class="part" width="100%" height="100%" />{}</svg>',
        part.kind,
        f"{100 * x:.3f}",
        f"{100 * part.share:.3f}",
        height,
        words,
    )


class _Axes:
    """Where a budget and a performance lie in the drawing."""

    def __init__(self, points: Sequence[CurvePoint], references: Iterable[float]) -> None:
        values = [value for point in points for value in (point.low, point.high)]
        values += [point.random for point in points if point.random is not None] + list(references)
        self.step = _step(max(values) - min(values))
        self.bottom = self.step * int(min(values) / self.step)
        self.top = self.step * (int(max(values) / self.step) + 1)
        self.budget = max(point.budget for point in points) or 1.0

    def x(self, budget: float) -> float:
        return round(LEFT + budget / self.budget * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(TOP + (self.top - value) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM), 1)

    def values(self) -> list[float]:
        return [self.bottom + self.step * i for i in range(round((self.top - self.bottom) / self.step) + 1)]


def round_budgets(most: float) -> list[float]:
    """Three to seven round numbers from zero to `most`, which is above zero."""
    scale = 10.0 ** math.floor(math.log10(most))
    step = next(step * scale for step in (0.2, 0.5, 1, 2) if most / (step * scale) <= 6)
    return [step * i for i in range(int(most / step) + 1)]


def _step(span: float) -> float:
    """A round distance between grid lines that gives three to six of them."""
    for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        if span / step <= 5:
            return step
    return 0.5


def curve(
    points: Sequence[CurvePoint],
    *,
    here: CurvePoint | None,
    references: Sequence[tuple[str, float]],
    title: str,
    choices: bool = False,
) -> SafeString:
    """Performance against budget: the interval as a band, the random mixture dashed, the plan as a point.

    `references` are (words, performance) drawn as level lines, e.g. all AI. With `choices` every point can become the
    one that is shown: its mark carries its index, all but that of `here` hidden. Fewer than two points draw nothing.
    """
    if len(points) < 2:
        return SafeString("")
    ordered = sorted(points, key=lambda point: point.budget)
    axes = _Axes([*ordered, here] if here else ordered, [value for _words, value in references])
    inside = [_grid(axes), _band(axes, ordered), _random(axes, ordered), _references(axes, references)]
    inside.append(format_html('<path class="curve" d="{}" />', _path(axes, [(p.budget, p.predicted) for p in ordered])))
    if choices:
        inside += [format_html("<g{}>{}</g>", stop(i, p == here), _here(axes, p)) for i, p in enumerate(ordered)]
    elif here:
        inside.append(_here(axes, here))
    return figure(inside, WIDTH, HEIGHT, title)


def stop(index: int, is_shown: bool) -> SafeString:
    """Attributes of what belongs to one choice of a budget (see static/what-if.js)."""
    return format_html(' data-stop="{}"{}', index, SafeString("" if is_shown else " hidden"))


def figure(inside: Iterable[str], width: float, height: float, title: str) -> SafeString:
    """An SVG that is an image named `title` of what is drawn `inside`, which must be safe already."""
    return format_html(
        '<svg class="chart big" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">{}</svg>',
        width,
        height,
        title,
        mark_safe("".join(inside)),
    )


def _path(axes: _Axes, line: Iterable[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{axes.x(budget)} {axes.y(value)}" for budget, value in line)


def _grid(axes: _Axes) -> SafeString:
    places = 3 if axes.step < 0.01 else 2
    rows = format_html_join(
        "",
        '<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, axes.y(value), axes.y(value), LEFT - 8, axes.y(value) + 4, f"{value:.{places}f}")
            for value in axes.values()
        ),
    )
    ticks = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((axes.x(budget), HEIGHT - 8, round_number(budget)) for budget in round_budgets(axes.budget)),
    )
    return format_html(
        '{}{}<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}" />',
        rows,
        ticks,
        LEFT,
        WIDTH - RIGHT,
        HEIGHT - BOTTOM,
        HEIGHT - BOTTOM,
    )


def round_number(value: float) -> str:
    return number_format(value, 0 if float(value).is_integer() else 2, use_l10n=True, force_grouping=True)


def _band(axes: _Axes, points: Sequence[CurvePoint]) -> SafeString:
    there = [(point.budget, point.high) for point in points]
    back = [(point.budget, point.low) for point in reversed(points)]
    return format_html('<path class="band" d="{}Z" />', _path(axes, there + back))


def _random(axes: _Axes, points: Sequence[CurvePoint]) -> SafeString:
    line = [(point.budget, point.random) for point in points if point.random is not None]
    return format_html('<path class="reference" d="{}" />', _path(axes, line)) if len(line) > 1 else SafeString("")


def _beside(is_highest: bool) -> tuple[str, float]:
    """Words of the highest line stand at the left, where a curve is low; all others at the right."""
    return ("start", LEFT + 4) if is_highest else ("end", WIDTH - RIGHT - 4)


def _references(axes: _Axes, references: Sequence[tuple[str, float]]) -> SafeString:
    highest = max((value for _words, value in references), default=0.0)
    return format_html_join(
        "",
        '<line class="reference dotted" x1="{}" x2="{}" y1="{}" y2="{}" />'
        '<text class="halo" text-anchor="{}" x="{}" y="{}">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, axes.y(value), axes.y(value), *_beside(value == highest), axes.y(value) - 5, words)
            for words, value in references
        ),
    )


def _here(axes: _Axes, here: CurvePoint) -> SafeString:
    x = axes.x(here.budget)
    is_right = x > WIDTH * 0.7
    return format_html(
        '<line class="here" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" />'
        '<line class="interval" x1="{x}" x2="{x}" y1="{low}" y2="{high}" />'
        '<circle class="point" cx="{x}" cy="{y}" r="4.5" />'
        '<text class="strong halo" x="{words_x}" y="{words_y}" text-anchor="{anchor}">{words}</text>',
        x=x,
        top=TOP - 8,
        bottom=HEIGHT - BOTTOM,
        low=axes.y(here.low),
        high=axes.y(here.high),
        y=axes.y(here.predicted),
        words_x=x - 8 if is_right else x + 8,
        words_y=TOP - 8,
        anchor="end" if is_right else "start",
        words=f"{round_number(here.budget)}: {here.predicted:.2f} ± {(here.high - here.low) / 2:.2f}",
    )
