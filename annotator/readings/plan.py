"""A plan as its page reads it: `Plan.summary` (written by pipeline/forecast.py) in typed form.

Keys that an older plan did not have are empty here, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Plan, Route
from annotator.readings.charts import CurvePoint

CENT = Decimal("0.01")
# Amounts this close are the same budget: plans keep six places, the curve two.
SAME = 0.005


@dataclass(frozen=True)
class Share:
    """What one source gets: comparisons, price of one in money, and their cost together."""

    source: str
    count: int
    price_each: float
    cost: float
    of_count: float
    of_cost: float
    # Votes of one comparison; 1 for labelers.
    votes: int = 1

    @property
    def is_people(self) -> bool:
        return is_people(self.source)


@dataclass(frozen=True)
class Baseline:
    """What a simple choice is predicted to reach, and its cost. `predicted` is None without a performance model."""

    name: str
    predicted: float | None
    low: float | None
    high: float | None
    cost: float


@dataclass(frozen=True)
class Gain:
    """What a plan is predicted to reach above a random mixture at the same budget, with its interval if known."""

    value: float
    low: float | None
    high: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the whole interval lies on one side of nothing."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class CurveRow:
    """One budget of the curve: what is predicted there, and what it is made of where the plan says so."""

    point: CurvePoint
    people_share: float
    is_here: bool
    # Source → its share of the comparisons, and of the money.
    shares: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    gain: Gain | None = None
    # What the same money is predicted to reach with people, or AI, alone; None where it pays for neither.
    all_people: float | None = None
    all_ai: float | None = None

    @property
    def half_width(self) -> float:
        return (self.point.high - self.point.low) / 2

    @property
    def over_random(self) -> float | None:
        return self.gain.value if self.gain else None


@dataclass(frozen=True)
class Reason:
    """A group of comparisons that people get more of than of others, with the ids of a few of them."""

    text: str
    count: int
    sample: tuple[int, ...] = ()


@dataclass(frozen=True)
class Forecast:
    has_skill: bool
    skill_text: str
    shares: list[Share] = field(default_factory=list)
    baselines: list[Baseline] = field(default_factory=list)
    curve: list[CurveRow] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    control: int = 0
    model: dict[str, Any] = field(default_factory=dict)
    gain: Gain | None = None
    # A random mixture at the plan's own cost; None where it was not predicted.
    random: Baseline | None = None
    # Comparisons for which there is no money.
    left_out: int = 0

    @property
    def count(self) -> int:
        return sum(share.count for share in self.shares)

    @property
    def headline(self) -> list[Baseline]:
        """The best labeler for everything, and people for everything (the last one): what the plan is held against."""
        labelers, people = self.baselines[:-1], self.baselines[-1:]
        best = sorted(labelers, key=lambda row: (-(row.predicted or 0), row.cost))
        return [*best[:1], *people]


def is_people(source: str) -> bool:
    """People, with all their votes or with fewer ("people:1")."""
    return source.split(":")[0] == Route.PEOPLE


def words(source: str) -> str:
    """A source as a sentence names it."""
    if not is_people(source):
        return source
    votes = source.partition(":")[2]
    if not votes.isdecimal():
        return _("people")
    return ngettext("people, %(votes)s vote", "people, %(votes)s votes", int(votes)) % {"votes": votes}


def colour(colours: Mapping[str, str], source: str) -> str:
    """The CSS class of a source (see `charts.palette`); people look alike however many of them vote."""
    return colours.get(Route.PEOPLE if is_people(source) else source, "other")


def interval(predicted: float, low: float, high: float) -> str:
    """ "± 0.02" where the interval is even on both sides, else its two ends."""
    if abs((high - predicted) - (predicted - low)) < 0.01:
        return f"±\u00a0{(high - low) / 2:.2f}"
    return f"[{low:.2f}, {high:.2f}]"


def read(plan: Plan) -> Forecast:
    summary = plan.summary
    curve = _curve(summary.get("curve", []), float(plan.budget))
    samples = summary.get("samples") or {}
    return Forecast(
        has_skill=bool(summary.get("skill")),
        skill_text=str(summary.get("skill_text", "")),
        shares=_shares(summary.get("shares", [])),
        baselines=[_baseline(row) for row in summary.get("baselines", [])],
        curve=curve,
        reasons=[_reason(row, samples) for row in summary.get("reasons", [])],
        control=int(summary.get("control", 0)),
        left_out=int(summary.get("left_out", 0)),
        model=summary.get("model", {}),
        random=_random(plan),
        gain=_gain(summary.get("gain")) or next((row.gain for row in curve if row.is_here), None),
    )


def _random(plan: Plan) -> Baseline | None:
    found = plan.summary.get("random")
    return _baseline({"name": _("random mixture, the same money"), "cost": plan.cost, **found}) if found else None


def _reason(row: Mapping[str, Any], samples: Mapping[str, Iterable[int]]) -> Reason:
    text = str(row["text"])
    return Reason(text, int(row["count"]), tuple(samples.get(text, ())))


def _gain(found: Any) -> Gain | None:
    """{"value", "low", "high"} as a Gain; None where nothing is said."""
    if not isinstance(found, Mapping) or found.get("value") is None:
        return None
    return Gain(float(found["value"]), found.get("low"), found.get("high"))


def _shares(rows: list[dict[str, Any]]) -> list[Share]:
    """People first, then as the plan lists them."""
    count = sum(int(row["count"]) for row in rows) or 1
    cost = sum(float(row["cost"]) for row in rows) or 1.0
    ordered = sorted(rows, key=lambda row: not is_people(row["source"]))
    return [
        Share(
            str(row["source"]),
            int(row["count"]),
            float(row["price_each"]),
            float(row["cost"]),
            int(row["count"]) / count,
            float(row["cost"]) / cost,
            int(row.get("votes", 1)),
        )
        for row in ordered
    ]


def _baseline(row: dict[str, Any]) -> Baseline:
    return Baseline(str(row["name"]), row.get("predicted"), row.get("low"), row.get("high"), float(row["cost"]))


def _curve(rows: list[dict[str, Any]], budget: float) -> list[CurveRow]:
    """The rows with a prediction; the one at (or nearest below) the plan's own budget is marked."""
    known = [row for row in rows if row.get("predicted") is not None]
    known.sort(key=lambda row: float(row["budget"]))
    here = max((float(row["budget"]) for row in known if float(row["budget"]) <= budget + SAME), default=None)
    return [_curve_row(row, is_here=float(row["budget"]) == here) for row in known]


def _curve_row(row: Mapping[str, Any], *, is_here: bool) -> CurveRow:
    budget, predicted, low, high = (float(row[name]) for name in ("budget", "predicted", "low", "high"))
    random = row.get("random")
    gain = _gain(row.get("gain"))
    if gain is None and random is not None:
        gain = Gain(float(row["predicted"]) - float(random), None, None)
    return CurveRow(
        CurvePoint(budget, predicted, low, high, random),
        float(row.get("people_share") or 0),
        is_here,
        {str(name): float(share) for name, share in (row.get("shares") or {}).items()},
        {str(name): float(cost) for name, cost in (row.get("cost") or {}).items()},
        gain,
        row.get("all_people"),
        row.get("all_ai"),
    )
