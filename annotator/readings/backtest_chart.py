"""Lines of a backtest as inline SVG: one a strategy with its band, against the share of what people would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 22, 30
# Round distances between grid lines.
STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Point:
    """`share` of what people would cost for everything, in (0, 1]; a value with its interval."""

    share: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    words: str
    points: list[Point]


class _Axes:
    def __init__(self, values: Sequence[float], shares: Sequence[float]) -> None:
        span = max(values) - min(values)
        self.step = next((step for step in STEPS if span / step <= 6), 0.5)
        self.bottom = self.step * (min(values) // self.step)
        self.top = self.step * (max(values) // self.step + 1)
        self.most = max(shares)

    def x(self, share: float) -> float:
        return round(LEFT + share / self.most * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(TOP + (self.top - value) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM), 1)

    def rows(self) -> list[float]:
        return [self.bottom + self.step * number for number in range(round((self.top - self.bottom) / self.step) + 1)]


def lines(
    found: Sequence[Line], levels: Sequence[tuple[str, float]], *, title: str, is_signed: bool = False
) -> SafeString:
    """`levels` are (words, value) drawn as dotted lines. Nothing is drawn without a point.

    Line i has the class `line-i`: colour, dashes and mark are the style sheet's, so that lines differ without colour.
    """
    if not found:
        return SafeString("")
    points = [point for line in found for point in line.points]
    values = [value for point in points for value in (point.low, point.high)] + [value for _words, value in levels]
    axes = _Axes([*values, 0.0] if is_signed else values, [point.share for point in points])
    inside = [_grid(axes, sorted({point.share for point in points}), is_signed)]
    inside += [_band(axes, line, number) for number, line in enumerate(found)]
    inside += [_line(axes, line, number) for number, line in enumerate(found)]
    inside.append(_levels(axes, levels))  # last, so that no line runs through its words
    return format_html(
        '<svg class="chart big" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        mark_safe("".join(inside)),
    )


def _grid(axes: _Axes, shares: Sequence[float], is_signed: bool) -> SafeString:
    places = 3 if axes.step < 0.01 else 2
    rows = format_html_join(
        "",
        '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}" /><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (
                "axis" if is_signed and abs(value) < 1e-9 else "gridline",
                LEFT,
                WIDTH - RIGHT,
                axes.y(value),
                axes.y(value),
                LEFT - 8,
                axes.y(value) + 4,
                f"{value:+.{places}f}".replace("-", "−") if is_signed else f"{value:.{places}f}",
            )
            for value in axes.rows()
        ),
    )
    ticks = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="{}">{}%</text>',
        (
            (axes.x(share), HEIGHT - 8, "end" if share == axes.most else "middle", f"{100 * share:g}")
            for share in _apart(axes, shares)
        ),
    )
    return format_html("{}{}", rows, ticks)


def _apart(axes: _Axes, shares: Sequence[float]) -> list[float]:
    """Shares whose words have room beside each other, the last one always."""
    kept: list[float] = []
    for share in sorted(shares, reverse=True):
        if not kept or axes.x(kept[-1]) - axes.x(share) > 44:
            kept.append(share)
    return kept


def _levels(axes: _Axes, levels: Sequence[tuple[str, float]]) -> SafeString:
    highest = max((value for _words, value in levels), default=0.0)
    return format_html_join(
        "",
        '<line class="reference dotted" x1="{}" x2="{}" y1="{}" y2="{}" />'
        '<text class="halo" text-anchor="start" x="{}" y="{}">{}</text>',
        (
            (
                LEFT,
                WIDTH - RIGHT,
                axes.y(value),
                axes.y(value),
                LEFT + 4,
                axes.y(value) + (-5 if value == highest else 14),
                words,
            )
            for words, value in levels
        ),
    )


def _path(axes: _Axes, points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{axes.x(share)} {axes.y(value)}" for share, value in points)


def _band(axes: _Axes, line: Line, number: int) -> SafeString:
    there = [(point.share, point.high) for point in line.points]
    back = [(point.share, point.low) for point in reversed(line.points)]
    return format_html('<path class="band line-{}" d="{}Z" />', number, _path(axes, there + back))


def _line(axes: _Axes, line: Line, number: int) -> SafeString:
    marks = format_html_join("", "{}", ((_mark(axes.x(p.share), axes.y(p.value), number),) for p in line.points))
    path = _path(axes, [(point.share, point.value) for point in line.points])
    return format_html(
        '<g class="line-{}"><title>{}</title><path class="curve" d="{}" />{}</g>', number, line.words, path, marks
    )


def _mark(x: float, y: float, number: int) -> SafeString:
    """A shape of its own for each line: circle, square, diamond, triangle, cross."""
    shapes = (
        "M{l} {y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
        "M{l} {t}h8v8h-8Z",
        "M{x} {t}l5 4l-5 5l-5 -5Z",
        "M{x} {t}l5 9h-10Z",
        "M{l} {t}l8 8M{r} {t}l-8 8",
    )
    shape = shapes[number % len(shapes)].format(x=x, y=y, l=round(x - 4, 1), r=round(x + 4, 1), t=round(y - 4, 1))
    return format_html('<path class="point" d="{}" />', shape)


def key(number: int) -> SafeString:
    """The sample of a line for the legend."""
    return format_html(
        '<svg class="chart key line-{}" width="34" height="12" viewBox="0 0 34 12" aria-hidden="true" '
        'focusable="false"><path class="curve" d="M0 6H34" />{}</svg>',
        number,
        _mark(17, 6, number),
    )
