"""What a plan is made from: the project's comparisons as a problem, the performance model, and what is judged already.

What people or a labeler have judged under the plan that is revised keeps its source, its price and its propensity: in
the problem only that source can be used there. So one prediction, one budget and one set of routes describe the plan
as a whole, and nothing is bought twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import (
    Assignment,
    Judgment,
    Labeler,
    LabelerVersion,
    LedgerEntry,
    Loop,
    PerformanceModel,
    Plan,
    Project,
    Purpose,
    Rater,
    Route,
)
from annotator.pipeline import grounds, ledger, retrain, signals, versions, work
from routing import mixtures, strategies, traits
from routing.performance import Chosen

# What costs too much when a budget does not even pay for what is kept.
KEPT = "what is judged already, together with the rest,"


@dataclass(frozen=True)
class Kept:
    """k comparisons that keep their routes: `rows` (k,) their positions, `source` (k,) their columns, `routes`.

    `lost`: money of the plans before that bought none of these, e.g. failed calls; it counts against the budget.
    """

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    source: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    routes: tuple[Route, ...] = ()
    lost: Decimal = Decimal(0)

    @property
    def cost(self) -> Decimal:
        return sum((route.price for route in self.routes), Decimal(0))

    def at(self) -> dict[int, Route]:
        """The route by the comparison's position."""
        return dict(zip(self.rows.tolist(), self.routes, strict=True))


@dataclass
class Basis:
    """Everything a plan is made from."""

    project: Project
    known: signals.Signals
    problem: strategies.Problem
    labelers: list[Labeler]
    stored: PerformanceModel | None
    model: Chosen | None
    paper: Any
    bins: mixtures.Bins
    loop: Loop
    # The plan whose judged comparisons are kept.
    revises: Plan | None
    kept: Kept
    # Why a performance model that is there cannot be used, in words.
    outdated: str = ""

    @property
    def sampling_error(self) -> float:
        return float(self.stored.metrics["sampling_error"]) if self.stored else 0.0

    @property
    def caps(self) -> dict[str, float]:
        """The lead's caps of sources that this plan can use (see `uncapped`), never below what is kept of them.

        What was bought already counts first: a cap that is full leaves its source nothing of the rest.
        """
        names = [source.name for source in self.problem.sources]
        held = np.bincount(self.kept.source, minlength=len(names)) / max(1, len(self.problem))
        caps = {name: share for name, share in self.loop.caps.items() if name in names}
        return {name: max(share, float(held[names.index(name)])) for name, share in caps.items()}

    @property
    def uncapped(self) -> list[str]:
        """Sources with a cap that this plan cannot use at all: disabled, gone, or not known to the model."""
        return sorted(set(self.loop.caps) - set(self.caps))

    @cached_property
    def tags(self) -> np.ndarray:
        """(n, q) bool: the bins of each comparison, as performance models were fitted with them."""
        return self.bins.members(self.problem.described)

    def labeler(self, column: int) -> Labeler | None:
        """The labeler of a source; None for people."""
        return None if self.problem.sources[column].is_people else self.labelers[column - 1]


def load(project: Project, revises: Plan | None = None) -> Basis:
    """The performance model counts when its labelers and features are still there; else there is none.

    Without `revises`, what people have judged of the seed set is kept. Raises StepRefused while comparisons have no
    features: the plan would leave them out.
    """
    known = signals.load(project)
    _refuse_without_features(project, known)
    loop = Loop.objects.filter(project=project).select_related("performance_model__feature_set").first()
    loop = loop or Loop(project=project)
    names = [labeler.name for labeler in known.labelers]
    stored = model_in_use(project, loop)
    learnt, outdated = _learnt(stored, known, names)
    if not learnt:
        stored = None
    told = stored.metrics["sources"][1:] if stored else names
    labelers = [known.labelers[names.index(name)] for name in told if not signals.is_people(name)]
    votes = _votes(told) if stored else signals.fewer_votes(project, known)
    problem = grounds.problem_of(project, known, labelers, votes)
    if learnt:
        model, bins, paper = learnt.chosen, learnt.bins, learnt.paper
    else:
        model, bins, paper = None, mixtures.Bins.fit(problem.described, traits.names_of(problem.names)), None
    revises = revises or seed_set_of(project)
    kept = _kept(revises, known, problem) if revises else Kept()
    problem = _pinned(problem, kept)
    return Basis(project, known, problem, labelers, stored, model, paper, bins, loop, revises, kept, outdated)


def _learnt(
    stored: PerformanceModel | None, known: signals.Signals, names: list[str]
) -> tuple[retrain.Learnt | None, str]:
    """What the model learnt, or why it cannot be used."""
    outdated = _outdated(stored, known, names) if stored else ""
    if stored is None or outdated:
        return None, outdated
    try:
        return retrain.load(stored), ""
    except retrain.Unreadable as refusal:
        return None, str(refusal)


def model_in_use(project: Project, loop: Loop | None) -> PerformanceModel | None:
    """The version that the lead restored, else the newest."""
    if loop is not None and loop.performance_model_id is not None:
        return loop.performance_model
    return project.performance_models.select_related("feature_set").order_by("-version").first()


def seed_set_of(project: Project) -> Plan | None:
    """The newest seed set that was put to work."""
    return project.plans.filter(is_seed_set=True, approved_at__isnull=False).order_by("-number").first()


def _votes(names: list[str]) -> list[int]:
    return [int(name.split(":")[1]) for name in names if signals.is_people(name)]


def _refuse_without_features(project: Project, known: signals.Signals) -> None:
    missing = project.comparisons.count() - project.golds.teaching().count() - len(known.ids)
    if missing > 0:
        raise work.StepRefused(
            ngettext(
                "%(n)s comparison has no features yet: wait for the features job.",
                "%(n)s comparisons have no features yet: wait for the features job.",
                missing,
            )
            % {"n": missing}
        )


def _outdated(stored: PerformanceModel, known: signals.Signals, names: list[str]) -> str:
    """Why the model cannot be used with what is there today; empty when it can."""
    gone = sorted({name for name in stored.metrics["sources"] if not signals.is_people(name)} - set(names))
    if gone:
        why = _("it knows %(names)s, which cannot be used any more") % {"names": ", ".join(gone)}
    elif not known.feature_set.same_features(stored.feature_set.names, stored.feature_set.digest):
        why = _("the features are computed in another way since")
    else:
        return ""
    return _("Performance model %(version)s is not used (%(why)s): train it anew.") % {
        "version": stored.version,
        "why": why,
    }


# What is judged already


def judged(plan: Plan) -> QuerySet[Route]:
    """The plan's routes that somebody has judged or is judging: these keep their source when the plan is revised."""
    people = {"comparison": OuterRef("comparison"), "rater__kind": Rater.Kind.PERSON}
    voted = Judgment.objects.filter(**people, is_current=True).exclude(purpose__in=(Purpose.GOLD, Purpose.REPEAT))
    leased = Assignment.objects.filter(**people, state=Assignment.State.LEASED, purpose=Purpose.JUDGE)
    sent = plan.routes.filter(Exists(voted) | Exists(leased), labeler=None)
    said = Judgment.objects.filter(comparison=OuterRef("comparison"), is_current=True, p_b__isnull=False)
    answered = plan.routes.none()
    for labeler in Labeler.objects.filter(routes__plan=plan).distinct():
        counted = _counted(labeler)
        answered |= plan.routes.filter(Exists(said.filter(rater__labeler_version__in=counted)), labeler=labeler)
    return Route.objects.filter(pk__in=sent.values("pk")) | Route.objects.filter(pk__in=answered.values("pk"))


def _counted(labeler: Labeler) -> list[LabelerVersion]:
    """Versions whose answers a new plan need not buy again."""
    if labeler.kind == versions.RECORDED:
        return list(labeler.versions.accepted())
    return [version for version in [versions.in_use(labeler)] if version]


def _kept(plan: Plan, known: signals.Signals, problem: strategies.Problem) -> Kept:
    routes, rows = [], []
    for route in judged(plan).select_related("labeler").order_by("comparison_id"):
        row = int(np.searchsorted(known.ids, route.comparison_id))
        if row < len(known.ids) and known.ids[row] == route.comparison_id:
            routes.append(route)
            rows.append(row)
    paid = _paid(plan)
    for route in routes:
        if route.labeler and not (route.labeler.is_free or route.labeler.kind == versions.RECORDED):
            # It was planned at the highest price, and is there at what it did cost.
            route.price = min(route.price, paid.get((route.comparison_id, route.labeler_id), Decimal(0)))
    lost = max(Decimal(0), spent(plan) - sum(paid.values(), Decimal(0)))
    columns = [_column(route, problem) for route in routes]
    return Kept(np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64), tuple(routes), lost)


def _column(route: Route, problem: strategies.Problem) -> int:
    """The source of a kept route. One that the problem does not know any more stands in the first of its kind."""
    names = [source.name for source in problem.sources]
    name = route.source if route.labeler_id else f"{Route.PEOPLE}:{route.votes}"
    if name in names:
        return names.index(name)
    return (problem.labelers or [0])[0] if route.labeler_id else 0


def spent(plan: Plan) -> Decimal:
    """What was paid under the plan and those that it revises, failed calls included."""
    entries = LedgerEntry.objects.filter(reservation__plan__in=ledger.chain(plan))
    return entries.aggregate(total=Sum("amount"))["total"] or Decimal(0)


def _paid(plan: Plan) -> dict[tuple[int, int | None], Decimal]:
    """What judged comparisons cost under the plan and those before, by comparison and labeler (None: people)."""
    paid_for = LedgerEntry.objects.filter(reservation__plan__in=ledger.chain(plan))
    entries = paid_for.filter(judgment__comparison__in=judged(plan).filter(labeler=None).values("comparison"))
    calls = paid_for.filter(call__comparison__in=judged(plan).filter(labeler__isnull=False).values("comparison"))
    paid: dict[tuple[int, int | None], Decimal] = {}
    people = entries.values_list("judgment__comparison").annotate(total=Sum("amount"))
    asked = calls.values_list("call__comparison", "call__labeler_version__labeler").annotate(total=Sum("amount"))
    paid.update({(comparison, None): total for comparison, total in people.order_by()})
    paid.update({(comparison, labeler): total for comparison, labeler, total in asked.order_by()})
    return paid


def _pinned(problem: strategies.Problem, kept: Kept) -> strategies.Problem:
    """The problem in which kept comparisons have one source, at the price of their route."""
    if not len(kept.rows):
        return problem
    available = problem.usable.copy()
    available[kept.rows] = False
    available[kept.rows, kept.source] = True
    prices = np.array([strategies.to_units(route.price) for route in kept.routes], dtype=np.int64)
    if (prices == problem.units[kept.rows, kept.source]).all():
        return replace(problem, available=available)
    units = problem.units.copy()
    units[kept.rows, kept.source] = prices
    money = {each: strategies.to_money(int(each)) for each in np.unique(units)}
    matrix = np.array([[money[each] for each in row] for row in units.tolist()], dtype=object)
    return replace(problem, available=available, prices=matrix)


def whole(basis: Basis, allocation: strategies.Allocation, budget: Decimal) -> strategies.Allocation:
    """`allocation` with what is kept as it was decided: its source, its chance, whether it was control.

    Raises BudgetTooSmall when it then costs more than `budget`: no plan is stored that does.
    """
    kept = basis.kept
    if not len(kept.rows):
        return allocation
    source, propensity = allocation.source.copy(), allocation.propensity.copy()
    is_control, gain = allocation.is_control.copy(), allocation.gain.copy()
    source[kept.rows] = kept.source
    propensity[kept.rows] = [route.propensity for route in kept.routes]
    is_control[kept.rows] = [route.is_control for route in kept.routes]
    gain[kept.rows] = [np.nan if route.gain is None else route.gain for route in kept.routes]
    cost = strategies.to_money(strategies.cost_of(basis.problem, source))
    if cost > budget:
        raise strategies.BudgetTooSmall(budget, cost, KEPT)
    return replace(allocation, source=source, propensity=propensity, is_control=is_control, gain=gain, cost=cost)
