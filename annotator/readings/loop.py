"""Where a project's loop stands, what comes next, and its history: what the loop's page reads. No writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef

from annotator.models import (
    Assignment,
    Job,
    Judgment,
    Loop,
    Outcome,
    PerformanceModel,
    Plan,
    Project,
    Rater,
    Realised,
)
from annotator.readings.performance import Observed

HISTORY = 40


@dataclass(frozen=True)
class SeedSet:
    """The newest seed set: how many comparisons are drawn, wait for people, are with somebody, and are judged."""

    plan: Plan
    drawn: int
    waiting: int
    leased: int
    judged: int
    # Labelers asked about the same slice: [{"name", "judged", "hindrance", "most"}].
    labelers: list[dict[str, Any]]
    told: dict[str, Any]

    @property
    def is_draft(self) -> bool:
        return self.plan.status == Plan.Status.DRAFT

    @property
    def is_judged(self) -> bool:
        return self.judged >= self.drawn

    @property
    def share(self) -> float:
        return self.judged / self.drawn if self.drawn else 0.0


@dataclass(frozen=True)
class Standing:
    """The loop as it stands. `at_work` is the approved plan, `draft` the newest one that waits for approval."""

    seed: SeedSet | None
    model: PerformanceModel | None
    new_judgments: int
    at_work: Plan | None
    draft: Plan | None
    realised: Realised | None
    busy: list[Job]

    @property
    def next_step(self) -> str:
        """What the lead does next: a key of the page's buttons."""
        if self.seed is not None and self.seed.is_draft:
            return "approve_seed"
        if self.seed is None and self.model is None and self.at_work is None:
            return "draw"
        if self.seed is not None and self.at_work == self.seed.plan and not self.seed.is_judged:
            return "judge"
        if self.model is None:
            return "train"
        if self.draft is not None:
            return "review"
        if self.at_work is None or self.at_work.is_seed_set:
            return "plan"
        return "measure"


@dataclass(frozen=True)
class Event:
    """One line of the run history: a plan or a performance model, newest first."""

    made_at: datetime
    plan: Plan | None = None
    model: PerformanceModel | None = None
    realised: Realised | None = None
    is_used: bool = False

    @property
    def difference(self) -> float | None:
        """Realised less predicted accuracy."""
        known = self.plan and self.realised and self.plan.predicted is not None and self.realised.accuracy is not None
        return self.realised.accuracy - self.plan.predicted if known else None  # type: ignore[union-attr, operator]


def standing(project: Project) -> Standing:
    model = project.performance_models.order_by("-version").first()
    at_work = project.plans.filter(status=Plan.Status.APPROVED).select_related("performance_model").first()
    drafts = project.plans.filter(status=Plan.Status.DRAFT, is_seed_set=False).order_by("-number")
    draft = drafts.filter(number__gt=at_work.number).first() if at_work else drafts.first()
    kinds = (Job.Kind.RETRAIN, Job.Kind.ROUTE)
    return Standing(
        seed=seed_set(project),
        model=model,
        new_judgments=_new_judgments(project, model),
        at_work=at_work,
        draft=draft,
        realised=at_work.realised.order_by("-pk").first() if at_work else None,
        busy=list(project.jobs.unfinished().filter(kind__in=kinds).order_by("id")),  # type: ignore[attr-defined]
    )


def _new_judgments(project: Project, model: PerformanceModel | None) -> int:
    people = Rater.objects.people().filter(project=project)
    new = Judgment.objects.effective().filter(rater__in=people, outcome=Outcome.LEVEL)
    return (new.filter(created_at__gt=model.created_at) if model else new).count()


def seed_set(project: Project) -> SeedSet | None:
    plan = project.plans.filter(is_seed_set=True).order_by("-number").first()
    if plan is None:
        return None
    here = {"comparison": OuterRef("comparison")}
    voted = Judgment.objects.effective().filter(**here, rater__kind=Rater.Kind.PERSON)
    leased = Assignment.objects.filter(**here, state=Assignment.State.LEASED)
    told = plan.summary.get("seed_set", {})
    return SeedSet(
        plan=plan,
        drawn=plan.routes.count(),
        waiting=plan.routes.filter(comparison__places_open__gt=0).count() if plan.approved_at else 0,
        leased=plan.routes.filter(Exists(leased)).count(),
        judged=plan.routes.filter(Exists(voted), comparison__places_open=0).count(),
        labelers=[{**each, "judged": _answered(plan, each["labeler"])} for each in told.get("labelers", [])],
        told=told,
    )


def _answered(plan: Plan, labeler: int) -> int:
    said = Judgment.objects.filter(comparison=OuterRef("comparison"), rater__labeler_version__labeler=labeler)
    return plan.routes.filter(Exists(said)).count()


def comparisons_to_draw(project: Project) -> int:
    return project.comparisons.count() - project.golds.teaching().count()


def differing(project: Project) -> float | None:
    """How often labelers say something else than people, where a plan has counted it; None before one has."""
    newest = project.plans.filter(summary__has_key="promised").order_by("-number").first()
    promised = newest.summary["promised"] if newest else []
    return max((1 - float(row["accuracy"]) for row in promised), default=None)


# Stopping


@dataclass(frozen=True)
class Worth:
    """What the next stop of the plan's curve is predicted to add, with a 90% interval where it is stored.

    `money`: what lies between that stop and the one before; `left`: what the plan has left.
    """

    gain: float
    low: float | None
    high: float | None
    money: Decimal
    left: Decimal
    point_price: Decimal

    @property
    def point_cost(self) -> Decimal | None:
        """What a point (0.01) costs on the way to the next stop; None where none is expected."""
        return self.money / (Decimal(str(self.gain)) * 100) if self.gain > 0 else None

    @property
    def should_stop(self) -> bool:
        return self.point_cost is None or self.point_cost > self.point_price


def worth(plan: Plan, spent: Decimal, loop: Loop) -> Worth | None:
    """By the plan's stored curve; None without a price of a point, a curve, or money left.

    Money spent so far is no point of that curve: it bought whatever was judged first. So only what lies ahead is
    weighed, from one stop to the next, and not an average over all that the plan has left.
    """
    rows, left = plan.summary.get("curve", []), plan.budget - spent
    if loop.point_price is None or len(rows) < 2 or left <= 0:
        return None
    stops = [Decimal(row["budget"]) for row in rows]
    ahead = next((number for number in range(1, len(rows)) if stops[number] > spent), None)
    if ahead is None or stops[ahead - 1] >= plan.budget:
        return None
    step = rows[ahead].get("step") or {}
    gain = step.get("value", rows[ahead]["predicted"] - rows[ahead - 1]["predicted"])
    money = stops[ahead] - stops[ahead - 1]
    return Worth(gain, step.get("low"), step.get("high"), money, left, loop.point_price)


# History


def history(project: Project) -> list[Event]:
    """Plans and performance models in one timeline, newest first."""
    loop = Loop.objects.filter(project=project).first()
    models = list(project.performance_models.order_by("-version")[:HISTORY])
    used = loop.performance_model_id if loop and loop.performance_model_id else (models[0].pk if models else None)
    made = list(project.plans.select_related("performance_model", "revises").order_by("-number")[:HISTORY])
    measured = {each.plan_id: each for each in Realised.objects.filter(plan__in=made).order_by("pk")}
    lines = [Event(model.created_at, model=model, is_used=model.pk == used) for model in models]
    lines += [
        Event(plan.created_at, plan=plan, realised=measured.get(plan.pk), is_used=plan.status == Plan.Status.APPROVED)
        for plan in made
    ]
    return sorted(lines, key=lambda line: line.made_at, reverse=True)[:HISTORY]


def measurements(project: Project) -> list[Realised]:
    """Every measurement of a plan that had been promised something, oldest first."""
    found = Realised.objects.filter(plan__project=project, plan__predicted__isnull=False, accuracy__isnull=False)
    return list(found.select_related("plan").order_by("pk"))


def observed(rows: list[Realised]) -> list[Observed]:
    """Measurements as the diagram of predicted against measured takes them."""
    return [
        Observed(each.plan.predicted, each.accuracy, each.plan.low, each.plan.high)  # type: ignore[arg-type]
        for each in rows
    ]
