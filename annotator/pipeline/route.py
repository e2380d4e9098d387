"""Route: under a budget, who judges what. A plan is made, looked at, approved; approving hands its comparisons out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from celery import shared_task
from django.db import transaction
from django.db.models import Max
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Job, Labeler, PerformanceModel, Plan, Project, Route, User
from annotator.pipeline import aggregate, handout, label, ledger, retrain, signals, work
from annotator.pipeline.explain import Reasons
from routing import mixtures, planning, strategies, traits
from routing.performance import Chosen

BATCH = 2000
# Points of the curve of accuracy against budget.
CURVE = 7
# z of the 90% interval that predictions carry.
Z = 1.645


@dataclass
class Setting:
    """Everything a plan is made from."""

    project: Project
    known: signals.Signals
    problem: strategies.Problem
    labelers: list[Labeler]
    stored: PerformanceModel | None
    model: Chosen | None
    bins: mixtures.Bins
    # Why a performance model that is there cannot be used, in words.
    outdated: str = ""

    @property
    def sampling_error(self) -> float:
        return float(self.stored.metrics["sampling_error"]) if self.stored else 0.0


@shared_task(name=work.TASKS[Job.Kind.ROUTE])
def run_routes() -> int:
    return work.work(Job.Kind.ROUTE, _job)


def _job(job: Job) -> str | work.Done:
    """A ROUTE job makes a plan; with "relabel" it hands out the places of an approved one and recounts the labels."""
    asked = job.parameters
    if "relabel" in asked:
        handout.finish(job.project.plans.get(pk=asked["relabel"]), job)
        return _("%(n)s labels recounted") % {"n": aggregate.relabel(job.project, job=job)}
    job.beat(0, 1, _("comparing plans"))
    plan = make_plan(
        job.project,
        Decimal(asked["budget"]),
        strategy=asked.get("strategy", "auto"),
        seed=int(asked.get("seed", 0)),
        by=job.requested_by,
        job=job,
    )
    return work.Done(_("Plan %(number)s is ready") % {"number": plan.number}, {"plan": plan.number})


def make_plan(
    project: Project,
    budget: Decimal,
    *,
    strategy: str = "auto",
    seed: int = 0,
    by: User | None = None,
    job: Job | None = None,
) -> Plan:
    """A draft plan that costs at most `budget`, with its routes, forecast and reasons.

    `strategy`: a key of `routing.strategies.STRATEGIES`, or "auto": the best lower bound of predicted performance.
    Raises StepRefused when the strategy is unknown, the budget too small, or there is nothing to route; JobCancelled,
    and nothing is stored, when `job` was cancelled or taken over meanwhile.
    """
    if strategy != "auto" and strategy not in strategies.STRATEGIES:
        known = ", ".join(("auto", *strategies.STRATEGIES))
        raise work.StepRefused(
            _("There is no strategy “%(name)s”; there are: %(known)s.") % {"name": strategy, "known": known}
        )
    setting = _setting(project)
    try:
        choice = _choose(setting, budget, strategy, seed)
    except strategies.BudgetTooSmall as refusal:
        raise work.StepRefused(str(refusal)) from refusal
    summary = _summary(setting, choice, seed)
    return _store(setting, budget, choice, summary, seed, by, job)


def approve(plan: Plan, by: User | None) -> Plan:
    """Put a draft to work: reserve its money, ask its labelers; a job opens places for people and recounts labels.

    The first places are open at once. Approving it again only asks for that job again, should it have been cancelled.
    Raises ledger.OverBudget or StepRefused, and then nothing has changed.
    """
    with transaction.atomic():
        # Nobody undoes a judgment from here on, so what is there stays there until it is reserved for.
        project = Project.objects.select_for_update(no_key=True).get(pk=plan.project_id)
        plan.refresh_from_db()
        if plan.status == Plan.Status.APPROVED:
            _request_handout(plan, by)
            return plan
        if plan.status != Plan.Status.DRAFT:
            raise work.StepRefused(_("This plan was replaced by a later one; make a new plan."))
        due = handout.to_pay(plan)
        _supersede(project)
        plan.cost_to_pay = _reserve(project, plan, due)
        plan.status, plan.approved_by, plan.approved_at = Plan.Status.APPROVED, by, now()
        plan.save(update_fields=["status", "approved_by", "approved_at", "cost_to_pay"])
        _request_handout(plan, by)  # before the labelers, so that places and labels do not wait for them
        for labeler in handout.asked(plan):
            label.request_run(labeler, plan_id=plan.pk, by=by)
    handout.begin(plan)
    return plan


def _request_handout(plan: Plan, by: User | None) -> None:
    Job.objects.request(plan.project, Job.Kind.ROUTE, key=f"relabel:{plan.pk}", by=by, relabel=plan.pk)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.ROUTE]))


# What is known


def _setting(project: Project) -> Setting:
    """The newest performance model counts when its labelers and features are still there; else there is none.

    Raises StepRefused while comparisons have no features: the plan would leave them out.
    """
    known = signals.load(project)
    if missing := project.comparisons.count() - project.golds.teaching().count() - len(known.ids):
        raise work.StepRefused(
            ngettext(
                "%(n)s comparison has no features yet: wait for the features job.",
                "%(n)s comparisons have no features yet: wait for the features job.",
                missing,
            )
            % {"n": missing}
        )
    names = [labeler.name for labeler in known.labelers]
    stored = project.performance_models.select_related("feature_set").order_by("-version").first()
    outdated = _outdated(stored, known, names) if stored else ""
    if outdated:
        stored = None
    chosen = stored.metrics["sources"][1:] if stored else names
    labelers = [known.labelers[names.index(name)] for name in chosen]
    problem = retrain.problem_of(project, known, labelers)
    if stored:
        learnt = retrain.load(stored)
        model, bins = learnt.chosen, learnt.bins
    else:
        model, bins = None, mixtures.Bins.fit(problem.described, traits.NAMES)
    return Setting(project, known, problem, labelers, stored, model, bins, outdated)


def _outdated(stored: PerformanceModel, known: signals.Signals, names: list[str]) -> str:
    """Why the model cannot be used with what is there today; empty when it can."""
    gone = sorted(set(stored.metrics["sources"][1:]) - set(names))
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


def _choose(setting: Setting, budget: Decimal, strategy: str, seed: int) -> planning.Choice:
    if strategy == "auto":
        return planning.choose_plan(
            setting.problem,
            budget,
            setting.model,
            setting.bins,
            seed=seed,
            control_share=setting.project.control_share,
        )
    allocation = _allocate(setting, strategy, budget, seed)
    prediction = planning.predict(setting.model, setting.problem, setting.bins, [allocation])[0]
    skill = bool(setting.model and setting.model.skill_)
    return planning.Choice(prediction, skill, _("The strategy was chosen by hand."))


def _allocate(setting: Setting, strategy: str, budget: Decimal, seed: int) -> strategies.Allocation:
    return strategies.STRATEGIES[strategy](
        setting.problem, budget, seed=seed, control_share=setting.project.control_share
    )


# What the page shows


def _summary(setting: Setting, choice: planning.Choice, seed: int) -> dict[str, Any]:
    allocation = choice.best.allocation
    reasons = Reasons(setting.problem, allocation, setting.bins)
    return {
        "shares": _shares(setting, allocation),
        "baselines": _baselines(setting, seed),
        "curve": _curve(setting, allocation.strategy, seed) if choice.skill else [],
        "reasons": reasons.summary(),
        "skill": choice.skill,
        "skill_text": " ".join([setting.outdated or choice.text, *allocation.notes]),
        "model": _model_words(setting),
        "control": int(allocation.is_control.sum()),
        "left_out": int((allocation.source < 0).sum()),
    }


def _shares(setting: Setting, allocation: strategies.Allocation) -> list[dict[str, Any]]:
    rows = []
    for column, source in enumerate(setting.problem.sources):
        count = int((allocation.source == column).sum())
        if count:
            cost = setting.problem.units[allocation.source == column, column].sum()
            rows.append(
                {
                    "source": source.name,
                    "count": count,
                    "price_each": str(source.price),
                    "cost": str(strategies.to_money(cost)),
                    "votes": setting.project.votes if source.is_people else 1,
                }
            )
    return rows


def _baselines(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """Each labeler for everything, and people for everything, whatever they cost."""
    named = [
        (_("all %(name)s") % {"name": setting.problem.sources[column].name}, "all_ai", column)
        for column in setting.problem.labelers
    ]
    rows = []
    for name, strategy, column in [*named, (_("all people"), "all_people", None)]:
        allocation = strategies.STRATEGIES[strategy](setting.problem, _enough(setting), seed=seed, source=column)
        rows.append({"name": name, "cost": str(allocation.cost), **_predicted(setting, allocation)})
    return rows


def _enough(setting: Setting) -> Decimal:
    """Money for the dearest source everywhere."""
    return strategies.to_money(int(setting.problem.units.max(axis=1).sum()))


def _curve(setting: Setting, strategy: str, seed: int) -> list[dict[str, Any]]:
    """The chosen strategy and a random mixture at budgets from the cheapest source for all to people for all."""
    strategy = strategy if strategy in ("random", "disagreement") else "disagreement"
    least = strategies.to_money(int(setting.problem.units.min(axis=1).sum()))
    budgets = np.geomspace(max(float(least), 0.02 * float(_enough(setting))), float(_enough(setting)), CURVE)
    rows = []
    for amount in budgets:
        budget = max(least, Decimal(f"{amount:.2f}"))
        here = _allocate(setting, strategy, budget, seed)
        rows.append(
            {
                "budget": str(budget),
                "people_share": float((here.source == setting.problem.people).mean()),
                "random": _predicted(setting, _allocate(setting, "random", budget, seed))["predicted"],
                **_predicted(setting, here),
            }
        )
    return rows


def _predicted(setting: Setting, allocation: strategies.Allocation) -> dict[str, float | None]:
    return _interval(setting, planning.predict(setting.model, setting.problem, setting.bins, [allocation])[0])


def _interval(setting: Setting, prediction: planning.Prediction) -> dict[str, float | None]:
    """The prediction with its interval, widened by what all mixtures share: accuracy was measured on a sample."""
    if np.isnan(prediction.predicted):
        return {"predicted": None, "low": None, "high": None}
    shared = Z * setting.sampling_error
    below = float(np.hypot(max(0.0, prediction.predicted - prediction.low), shared))
    above = float(np.hypot(max(0.0, prediction.high - prediction.predicted), shared))
    return {
        "predicted": float(prediction.predicted),
        "low": max(0.0, float(prediction.predicted) - below),
        "high": min(1.0, float(prediction.predicted) + above),
    }


def _model_words(setting: Setting) -> dict[str, str]:
    if setting.stored is None:
        return {}
    nested = setting.stored.metrics["nested"]
    low, high = nested["spearman_low"], nested["spearman_high"]
    return {
        "kind": setting.stored.kind,
        "rank correlation on unseen mixtures": f"{nested['spearman']:.2f} [{low:.2f}, {high:.2f}]",
        "comparisons": str(setting.stored.metrics["comparisons"]),
    }


# What is stored


def _store(
    setting: Setting,
    budget: Decimal,
    choice: planning.Choice,
    summary: dict[str, Any],
    seed: int,
    by: User | None,
    job: Job | None,
) -> Plan:
    allocation = choice.best.allocation
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=setting.project.pk)
        newest = setting.project.plans.aggregate(newest=Max("number"))["newest"] or 0
        plan = Plan.objects.create(
            project=setting.project,
            number=newest + 1,
            strategy=allocation.strategy,
            budget=budget,
            cost=allocation.cost,
            performance_model=setting.stored,
            summary=summary,
            seed=seed,
            created_by=by,
            **_interval(setting, choice.best),
        )
        _store_routes(setting, plan, allocation)
        if job:
            job.still_mine()
    plan.cost_to_pay = sum((amount for _name, amount in handout.to_pay(plan)), Decimal(0))
    plan.save(update_fields=["cost_to_pay"])
    return plan


def _store_routes(setting: Setting, plan: Plan, allocation: strategies.Allocation) -> None:
    reasons = Reasons(setting.problem, allocation, setting.bins)
    sources, units = setting.problem.sources, setting.problem.units
    rows = np.flatnonzero(allocation.source >= 0)
    for start in range(0, len(rows), BATCH):
        Route.objects.bulk_create(
            Route(
                plan=plan,
                comparison_id=int(setting.known.ids[row]),
                source=sources[column].name,
                labeler=None if sources[column].is_people else setting.labelers[column - 1],
                votes=setting.project.votes if sources[column].is_people else 1,
                price=strategies.to_money(int(units[row, column])),
                propensity=float(allocation.propensity[row]),
                is_control=bool(allocation.is_control[row]),
                gain=None if np.isnan(allocation.gain[row]) else float(allocation.gain[row]),
                values=reasons.values(int(row)),
                reason=reasons.of(int(row)),
            )
            for row in rows[start : start + BATCH].tolist()
            for column in [int(allocation.source[row])]
        )


# Approval


def _reserve(project: Project, plan: Plan, due: list[tuple[str, Decimal]]) -> Decimal:
    total = Decimal(0)
    for source, amount in due:
        ledger.reserve(project, ledger.plan_key(plan.pk, source), amount, source=source, plan=plan)
        total += amount
    return total


def _supersede(project: Project) -> None:
    """The plan before gives back what it has not spent. Leases that are open stay and are paid from what is free."""
    for former in project.plans.filter(status=Plan.Status.APPROVED).select_for_update(no_key=True):
        for reservation in former.reservations.filter(is_open=True).order_by("pk"):
            ledger.close(reservation)
        project.plans.filter(pk=former.pk).update(status=Plan.Status.SUPERSEDED)
