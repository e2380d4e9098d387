"""What a lead checks before approving a plan: examples, what moved since the one before, two plans side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F

from annotator.models import Comparison, Plan, Project, Realised, Route
from annotator.readings import plan as plans
from annotator.readings.comparison import excerpt

# Examples shown of one reason.
EXAMPLES = 3
Rows = list[list[Any]]


@dataclass(frozen=True)
class Example:
    comparison: Comparison
    excerpt: str


@dataclass(frozen=True)
class Told:
    """One reason with a few of its comparisons."""

    reason: plans.Reason
    examples: list[Example]


def told(project: Project, reasons: Iterable[plans.Reason]) -> list[Told]:
    """Reasons with the examples the plan kept of them; two queries however many."""
    reasons = list(reasons)
    wanted = [pk for reason in reasons for pk in reason.sample[:EXAMPLES]]
    found = {each.pk: each for each in project.comparisons.filter(pk__in=wanted).select_related("prompt")}
    return [Told(reason, [_example(found[pk]) for pk in reason.sample[:EXAMPLES] if pk in found]) for reason in reasons]


def _example(comparison: Comparison) -> Example:
    return Example(comparison, excerpt(comparison.prompt))


@dataclass(frozen=True)
class Moved:
    """How many comparisons went from one source to another between two plans; "" where a plan did not route them."""

    before: str
    after: str
    count: int

    @property
    def is_change(self) -> bool:
        return self.before != self.after


def former(plan: Plan) -> Plan | None:
    """The plan that this one is held against: what it revises, else what was last approved before it, else the last."""
    if plan.revises:
        return plan.revises
    earlier = plan.project.plans.filter(number__lt=plan.number).order_by("-number")
    return earlier.exclude(approved_at=None).first() or earlier.first()


def moved(before: Plan, after: Plan) -> list[Moved]:
    """Comparisons by their source in both plans, the largest group first; those only one of them routes count too.

    Routes do not change once a plan is made: what was counted then is read from its summary (`keep_moved`).
    """
    kept = after.summary.get("moved", {})
    if kept.get("since") == before.number:
        return [Moved(*row) for row in kept["rows"]]
    return counted(before, after)


def counted(before: Plan, after: Plan) -> list[Moved]:
    """As `moved`, from the routes: three joins over all of both plans."""
    both = (
        Route.objects.filter(plan=after, comparison__routes__plan=before)
        .values_list("comparison__routes__source", "source")
        .annotate(count=Count("pk"))
    )
    found = [Moved(*row) for row in both]
    for row in _only(after, before):
        found.append(Moved("", *row))
    for source, count in _only(before, after):
        found.append(Moved(source, "", count))
    return sorted(found, key=lambda row: (not row.is_change, -row.count))


def _only(plan: Plan, other: Plan) -> list[tuple[str, int]]:
    """(source, how many) that `plan` routes and `other` does not."""
    routed = Route.objects.filter(plan=other).values("comparison")
    return list(
        Route.objects.filter(plan=plan).exclude(comparison__in=routed).values_list("source").annotate(count=Count("pk"))
    )


@dataclass(frozen=True)
class Side:
    """One of two plans that are compared."""

    plan: Plan
    forecast: plans.Forecast
    realised: Realised | None
    shares: dict[str, plans.Share]


def side(plan: Plan) -> Side:
    forecast = plans.read(plan)
    shares = {share.source: share for share in forecast.shares}
    return Side(plan, forecast, plan.realised.order_by("-pk").first(), shares)


def sources(*sides: Side) -> list[str]:
    """Every source of any of them, people first."""
    names = dict.fromkeys(name for each in sides for name in each.shares)
    return sorted(names, key=lambda name: not plans.is_people(name))


def side_by_side(before: Side, after: Side) -> list[tuple[str, plans.Share | None, plans.Share | None]]:
    """(source, its share before, its share after), people first."""
    return [(name, before.shares.get(name), after.shares.get(name)) for name in sources(before, after)]


def compare_sheet(before: Side, after: Side) -> Rows:
    """Rows of (about, source, measure, before, after): what the page of two plans shows, its numbers in full."""
    facts = zip(_facts(before), _facts(after), strict=True)
    rows: Rows = [["plan", "", name, one, other] for (name, one), (_name, other) in facts]
    for source, one, other in side_by_side(before, after):
        for measure in ("count", "of_count", "price_each", "cost", "of_cost"):
            rows.append(["share", source, measure, getattr(one, measure, None), getattr(other, measure, None)])
    for row in moved(before.plan, after.plan):
        rows.append(["moved", f"{row.before} → {row.after}", "comparisons", None, row.count])
    return rows


def _facts(side: Side) -> list[tuple[str, Any]]:
    plan, gain, reached = side.plan, side.forecast.gain, side.realised
    return [
        ("number", plan.number),
        ("status", plan.status),
        ("made", plan.created_at.isoformat()),
        ("strategy", plan.strategy),
        ("performance_model", plan.performance_model.version if plan.performance_model else None),
        *((name, getattr(plan, name)) for name in ("budget", "cost", "predicted", "low", "high")),
        *((f"over_random_{name}", getattr(gain, name, None)) for name in ("value", "low", "high")),
        *((f"reached_{name}", getattr(reached, name, None)) for name in ("accuracy", "low", "high", "judgments")),
        ("spent", getattr(reached, "spent", None)),
    ]


SHEETS = ("curve", "sources", "baselines", "reasons", "moved", "control")


def sheet(plan: Plan, name: str) -> tuple[list[str], Rows]:
    """(header, rows) of one table of the plan's page, its numbers in full. Raises KeyError for a table it lacks."""
    forecast = plans.read(plan)
    if name == "curve":
        return _curve_sheet(forecast)
    if name == "sources":
        header = ["source", "votes", "comparisons", "share", "price_each", "cost", "share_of_cost"]
        return header, [
            [row.source, row.votes, row.count, row.of_count, row.price_each, row.cost, row.of_cost]
            for row in forecast.shares
        ]
    if name == "baselines":
        return ["choice", "predicted", "low", "high", "cost"], [
            [row.name, row.predicted, row.low, row.high, row.cost]
            for row in ([forecast.random] if forecast.random else []) + forecast.baselines
        ]
    if name == "reasons":
        return ["shared", "to_people", "examples"], [
            [row.text, row.count, " ".join(map(str, row.sample))] for row in forecast.reasons
        ]
    if name == "moved":
        before = former(plan)
        rows = moved(before, plan) if before else []
        return ["before", "now", "comparisons"], [[row.before, row.after, row.count] for row in rows]
    if name == "control":
        return _control_sheet(plan)
    raise KeyError(name)


def _curve_sheet(forecast: plans.Forecast) -> tuple[list[str], Rows]:
    names = sorted({name for row in forecast.curve for name in row.shares})
    header = ["budget", "predicted", "low", "high", "random", "over_random", "over_random_low", "over_random_high"]
    header += [
        "all_people",
        "all_ai",
        "people_share",
        *(f"share of {name}" for name in names),
        *(f"cost of {name}" for name in names),
    ]
    rows = []
    for row in forecast.curve:
        point, gain = row.point, row.gain
        gains = [gain.value, gain.low, gain.high] if gain else [None, None, None]
        rows.append(
            [point.budget, point.predicted, point.low, point.high, point.random, *gains]
            + [row.all_people, row.all_ai, row.people_share]
            + [row.shares.get(name) for name in names]
            + [row.costs.get(name) for name in names]
        )
    return header, rows


def _control_sheet(plan: Plan) -> tuple[list[str], Rows]:
    """The random control, one comparison a row: what an estimate by inverse propensity is made from."""
    rows = plan.routes.filter(is_control=True).order_by("comparison_id")
    found = rows.annotate(name=F("comparison__external_id")).values_list("name", "source", "votes", "propensity")
    return ["comparison", "source", "votes", "propensity"], [list(row) for row in found]
