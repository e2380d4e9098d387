"""The budget planner: what the stored curve of a plan says at each of its budgets. Nothing is computed anew here.

Only budgets that were really planned for are offered; between them nothing is known, so nothing is drawn there but a
line.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from annotator.models import Plan, Project
from annotator.readings import plan as plans
from annotator.readings.charts import CurvePoint

# Plans looked at for one with a curve: seed sets and plans made without a performance model have none.
LOOKED_AT = 20
# More money that adds less than this in predicted performance is not worth a lead's thought.
LITTLE = 0.005


@dataclass(frozen=True)
class Portion:
    """One source at one budget: its share of the comparisons, what it costs together, and its share of the money."""

    source: str
    of_count: float
    cost: float
    of_cost: float

    @property
    def is_people(self) -> bool:
        return plans.is_people(self.source)


@dataclass(frozen=True)
class Stop:
    """One budget that can be chosen."""

    point: CurvePoint
    portions: list[Portion]
    people_share: float
    gain: plans.Gain | None
    all_people: float | None
    all_ai: float | None
    # The budget of the plan itself.
    is_plan: bool

    @property
    def budget(self) -> Decimal:
        return Decimal(str(self.point.budget)).quantize(plans.CENT)

    @property
    def cost(self) -> float:
        return sum(portion.cost for portion in self.portions)

    @property
    def interval(self) -> str:
        return plans.interval(self.point.predicted, self.point.low, self.point.high)


def with_curve(project: Project) -> Plan | None:
    """The newest plan that has a curve; None when there is none."""
    newest = project.plans.select_related("performance_model").order_by("-number")[:LOOKED_AT]
    return next((plan for plan in newest if plan.summary.get("curve")), None)


def stops(plan: Plan) -> list[Stop]:
    """Every budget of the curve in ascending order, the plan's own among them; fewer than two are no choice: []."""
    told = plans.read(plan)
    if len(told.curve) < 2:
        return []
    found = [_stop(row) for row in told.curve]
    own = _own(plan, told)
    if own is None:
        return found
    others = [stop for stop in found if abs(stop.point.budget - own.point.budget) > plans.SAME]
    return sorted([*others, own], key=lambda stop: stop.point.budget)


def _own(plan: Plan, told: plans.Forecast) -> Stop | None:
    if plan.predicted is None or plan.low is None or plan.high is None:
        return None
    portions = [Portion(share.source, share.of_count, share.cost, share.of_cost) for share in told.shares]
    random = None if told.gain is None else plan.predicted - told.gain.value
    people = sum(portion.of_count for portion in portions if portion.is_people)
    point = CurvePoint(float(plan.budget), plan.predicted, plan.low, plan.high, random)
    near = next((row for row in told.curve if row.is_here), None)
    beside = (near.all_people, near.all_ai) if near and abs(near.point.budget - point.budget) <= plans.SAME else ()
    return Stop(point, portions, people, told.gain, *(beside or (None, None)), is_plan=True)


def _stop(row: plans.CurveRow) -> Stop:
    total = sum(row.costs.values()) or 1.0
    ordered = sorted(row.shares, key=lambda source: not plans.is_people(source))
    portions = [
        Portion(source, row.shares[source], row.costs.get(source, 0.0), row.costs.get(source, 0.0) / total)
        for source in ordered
        if row.shares[source] > 0
    ]
    return Stop(row.point, portions, row.people_share, row.gain, row.all_people, row.all_ai, is_plan=False)


def chosen(found: list[Stop], budget: Decimal | None) -> int:
    """The index of what `budget` pays for: the dearest stop within it, the cheapest if none is; the plan's own when no
    budget is given."""
    if budget is None:
        return next((index for index, stop in enumerate(found) if stop.is_plan), len(found) // 2)
    within = [index for index, stop in enumerate(found) if stop.point.budget <= float(budget) + plans.SAME]
    return within[-1] if within else 0


def enough(found: list[Stop]) -> Stop | None:
    """The cheapest budget that no dearer one beats by LITTLE; None when more money helps up to the last."""
    for index, stop in enumerate(found[:-1]):
        if max(other.point.predicted for other in found[index + 1 :]) - stop.point.predicted < LITTLE:
            return stop
    return None
