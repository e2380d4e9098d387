"""A plan as its page reads it: `Plan.summary` (written by pipeline/route.py) in typed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from annotator.models import PerformanceModel, Plan
from annotator.readings.charts import CurvePoint

CENT = Decimal("0.01")


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


@dataclass(frozen=True)
class Baseline:
    """What a simple choice is predicted to reach, and its cost. `predicted` is None without a performance model."""

    name: str
    predicted: float | None
    low: float | None
    high: float | None
    cost: float


@dataclass(frozen=True)
class CurveRow:
    point: CurvePoint
    people_share: float
    is_here: bool

    @property
    def half_width(self) -> float:
        return (self.point.high - self.point.low) / 2

    @property
    def over_random(self) -> float | None:
        return None if self.point.random is None else self.point.predicted - self.point.random


@dataclass(frozen=True)
class Reason:
    text: str
    count: int


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


def interval(predicted: float, low: float, high: float) -> str:
    """ "± 0.02" where the interval is even on both sides, else its two ends."""
    if abs((high - predicted) - (predicted - low)) < 0.01:
        return f"±\u00a0{(high - low) / 2:.2f}"
    return f"[{low:.2f}, {high:.2f}]"


def read(plan: Plan) -> Forecast:
    """Keys that an older plan did not have are empty."""
    summary = plan.summary
    return Forecast(
        has_skill=bool(summary.get("skill")),
        skill_text=str(summary.get("skill_text", "")),
        shares=_shares(summary.get("shares", [])),
        baselines=[_baseline(row) for row in summary.get("baselines", [])],
        curve=_curve(summary.get("curve", []), float(plan.budget)),
        reasons=[Reason(str(row["text"]), int(row["count"])) for row in summary.get("reasons", [])],
        control=int(summary.get("control", 0)),
        left_out=int(summary.get("left_out", 0)),
        model=summary.get("model", {}),
    )


def _shares(rows: list[dict[str, Any]]) -> list[Share]:
    """People first, then as the plan lists them."""
    count = sum(int(row["count"]) for row in rows) or 1
    cost = sum(float(row["cost"]) for row in rows) or 1.0
    ordered = sorted(rows, key=lambda row: row["source"] != "people")
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
    here = max((float(row["budget"]) for row in known if float(row["budget"]) <= budget + 0.005), default=None)
    return [
        CurveRow(
            CurvePoint(
                float(row["budget"]), float(row["predicted"]), float(row["low"]), float(row["high"]), row.get("random")
            ),
            float(row.get("people_share") or 0),
            float(row["budget"]) == here,
        )
        for row in known
    ]


@dataclass(frozen=True)
class Score:
    """How well one kind of model did on mixtures it had not seen."""

    rmse: float
    rmse_error: float
    spearman: float
    spearman_low: float
    spearman_high: float


@dataclass(frozen=True)
class Skill:
    """What cross-validation measured of a performance model (`PerformanceModel.metrics`, see pipeline/retrain.py)."""

    has_skill: bool
    # False: it knows what money buys, not on which comparisons to spend it.
    beats_budget: bool
    kind: str
    scores: dict[str, Score]
    # The score of choosing anew in every fold: the honest one for the kind that was chosen.
    nested: Score | None
    # The highest rank correlation that the noise between seeds allows.
    ceiling: float | None
    comparisons: int
    prompts: int
    mixtures: int
    sources: list[str]


def skill(model: PerformanceModel) -> Skill:
    """Keys that an older model did not have are empty."""
    metrics = model.metrics
    return Skill(
        has_skill=bool(metrics.get("skill")),
        beats_budget=bool(metrics.get("beats_budget")),
        kind=model.kind,
        scores={kind: Score(**score) for kind, score in metrics.get("scores", {}).items()},
        nested=Score(**metrics["nested"]) if "nested" in metrics else None,
        ceiling=metrics.get("noise_ceiling", {}).get("correlation"),
        comparisons=metrics.get("comparisons", 0),
        prompts=metrics.get("prompts", 0),
        mixtures=metrics.get("mixtures", 0),
        sources=metrics.get("sources", []),
    )
