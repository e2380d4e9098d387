"""Route: under a budget, who judges what. A plan is made, looked at, approved; approving hands its comparisons out.

What a plan is made from is in `basis`, what its page shows (`Plan.summary`) in `forecast`, its places in `handout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
from celery import shared_task
from django.db import transaction
from django.db.models import Max
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Job, Plan, Project, Route, User, Webhook
from annotator.pipeline import (
    aggregate,
    allocations,
    basis,
    budget_curve,
    forecast,
    handout,
    label,
    ledger,
    moved,
    seed_set,
    webhooks,
    work,
)
from annotator.pipeline.basis import Basis
from annotator.pipeline.explain import Reasons
from annotator.readings import report_lines
from routing import planning, strategies

BATCH = 2000


@shared_task(name=work.TASKS[Job.Kind.ROUTE])
def run_routes() -> int:
    return work.work(Job.Kind.ROUTE, _job)


def _job(job: Job) -> str | work.Done:
    """A ROUTE job makes a plan, which may revise the one with number "revises"; with "seed_set" that of a seed set of
    this size.

    With "relabel" it hands out the places of an approved one and recounts the labels; with "measure" it measures what a
    plan has realised and revises it where the lead wants that (`loop`).
    """
    asked = job.parameters
    if "relabel" in asked:
        handout.finish(job.project.plans.get(pk=asked["relabel"]), job)
        recounted = aggregate.relabel(job.project, job=job)
        return ngettext("%(n)s label recounted", "%(n)s labels recounted", recounted) % {"n": recounted}
    if "measure" in asked:
        # Not at the top: the loop knows this step.
        from annotator.pipeline import loop

        return loop.go_round(job)
    job.beat(0, 1, _("comparing plans"))
    seed, by = int(asked.get("seed", 0)), job.requested_by
    if "seed_set" in asked:
        plan = seed_set.draw(job.project, int(asked["seed_set"]), seed=seed, by=by, job=job)
    else:
        revises = job.project.plans.get(number=asked["revises"]) if asked.get("revises") else None
        named = {"strategy": asked.get("strategy", "auto"), "occasion": asked.get("occasion", "")}
        budget = Decimal(asked["budget"])
        plan = make_plan(job.project, budget, seed=seed, by=by, job=job, revises=revises, **named)
    return work.Done(_("Plan %(number)s is ready") % {"number": plan.number}, {"plan": plan.number})


def make_plan(
    project: Project,
    budget: Decimal,
    *,
    strategy: str = "auto",
    seed: int = 0,
    by: User | None = None,
    job: Job | None = None,
    revises: Plan | None = None,
    occasion: str = "",
    because: Sequence[str] = (),
) -> Plan:
    """A draft plan that costs at most `budget`, with its routes, forecast and reasons.

    `strategy`: one of `allocations.NAMES`, or "auto": the cheapest plan that the performance model cannot tell from the
    best. `revises`: the plan whose judged comparisons keep their source; what was spent under it counts against
    `budget`. Without one, what people judged of the seed set is kept. `occasion`, `because`: what made the plan by
    itself, in words and by the keys of `loop.reasons_for`.

    Raises StepRefused when the strategy is unknown, the budget too small, or there is nothing to route; JobCancelled,
    and nothing is stored, when `job` was cancelled or taken over meanwhile.
    """
    if strategy != "auto" and strategy not in allocations.NAMES:
        known = ", ".join(("auto", *allocations.NAMES))
        raise work.StepRefused(
            _("There is no strategy “%(name)s”; there are: %(known)s.") % {"name": strategy, "known": known}
        )
    made_from = basis.load(project, revises)
    try:
        choice = _choose(made_from, budget, strategy, seed)
    except (strategies.BudgetTooSmall, ValueError) as refusal:
        raise work.StepRefused(str(refusal)) from refusal
    summary = forecast.summary(made_from, choice, seed, job) | {"asked": strategy, "because": list(because)}
    fields = {"budget": budget, "summary": summary, "seed": seed, "created_by": by, "occasion": occasion}
    return _store(made_from, choice, job, fields)


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
        _refuse_overtaken(plan)
        _refuse_switched_off(plan)
        due = handout.to_pay(plan)
        _refuse_beyond_budget(plan, sum((amount for _source, amount in due), Decimal(0)))
        _supersede(project)
        plan.cost_to_pay = _reserve(project, plan, due)
        plan.status, plan.approved_by, plan.approved_at = Plan.Status.APPROVED, by, now()
        plan.save(update_fields=["status", "approved_by", "approved_at", "cost_to_pay"])
        _request_handout(plan, by)  # before the labelers, so that places and labels do not wait for them
        for labeler in handout.asked(plan):
            label.request_run(labeler, plan_id=plan.pk, by=by)
        if plan.is_seed_set:
            seed_set.ask_labelers(plan, by)
        announce(plan, Webhook.Event.APPROVED)
    handout.begin(plan)
    return plan


def _request_handout(plan: Plan, by: User | None) -> None:
    Job.objects.request(plan.project, Job.Kind.ROUTE, key=f"relabel:{plan.pk}", by=by, relabel=plan.pk)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.ROUTE]))


def _refuse_overtaken(plan: Plan) -> None:
    """A revision counts what was spent under plans at work when it was made, and not under one approved since.

    Raises StepRefused.
    """
    former = plan.revises
    if former is None:  # it was made for all comparisons, and stands alone
        return
    gone = not former.is_seed_set and former.status != Plan.Status.APPROVED
    if not gone and not plan.project.plans.filter(approved_at__gt=plan.created_at).exists():
        return
    raise work.StepRefused(
        _(
            "Another plan was put to work since this one was made, which does not count what is spent under it. Make "
            "it again for what is not yet judged now."
        )
    )


def _refuse_switched_off(plan: Plan) -> None:
    """Money would be set aside for labelers that judge nothing. Raises StepRefused, which names them."""
    if off := handout.switched_off(plan):
        raise work.StepRefused(
            _(
                "This plan sends comparisons to labelers that are switched off: %(names)s. Switch them on, or make a "
                "new plan without them."
            )
            % {"names": str(report_lines.COMMA).join(labeler.name for labeler in off)}
        )


def _refuse_beyond_budget(plan: Plan, due: Decimal) -> None:
    """A plan for what is not yet judged was made when less was spent: its budget holds for all of it together.

    Raises StepRefused.
    """
    if plan.revises is None or plan.is_seed_set:
        return
    over = basis.spent(plan.revises) + due - plan.budget
    if over > 0:
        raise work.StepRefused(
            _(
                "Since this plan was made, %(over)s %(currency)s more were spent than its budget has left. Make it "
                "again for what is not yet judged now."
            )
            % {"over": f"{over:.2f}", "currency": plan.project.currency}
        )


def _choose(made_from: Basis, budget: Decimal, strategy: str, seed: int) -> planning.Choice:
    left = budget - made_from.kept.lost
    if left < 0:
        raise strategies.BudgetTooSmall(budget, made_from.kept.lost, _("what was spent already"))
    if strategy == "auto" and made_from.problem.labelers:
        choice = planning.choose_plan(
            made_from.problem,
            left,
            made_from.model,
            made_from.bins,
            seed=seed,
            control_share=made_from.project.control_share,
            caps=made_from.caps or None,
        )
        allocation = basis.whole(made_from, choice.best.allocation, left)
        return replace(choice, best=replace(choice.best, allocation=allocation))
    by_itself = strategy == "auto"
    allocation = allocations.allocate(made_from, "all_people" if by_itself else strategy, left, seed)
    prediction = planning.predict(made_from.model, made_from.problem, made_from.bins, [allocation])[0]
    if by_itself:
        return planning.Choice(prediction, False, _("There is only one kind of source."))
    skill = bool(made_from.model and made_from.model.skill_)
    return planning.Choice(prediction, skill, _("The strategy was chosen by hand."))


# What is stored


def _store(made_from: Basis, choice: planning.Choice, job: Job | None, fields: dict[str, Any]) -> Plan:
    allocation, project = choice.best.allocation, made_from.project
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        plan = Plan.objects.create(
            project=project,
            number=next_number(project),
            strategy=allocation.strategy,
            cost=allocation.cost,
            performance_model=made_from.stored,
            revises=made_from.revises,
            **budget_curve.interval(made_from, choice.best),
            **fields,
        )
        _store_routes(made_from, plan, allocation)
        moved.keep(plan)
        announce(plan, Webhook.Event.PLANNED)
        if job:
            job.still_mine()
    count_due(plan)
    return plan


def announce(plan: Plan, event: str) -> None:
    """Tell the project's webhooks. In the transaction that makes the plan, or approves it."""
    data = {"plan": plan.number, "url": f"/api/v1/projects/{plan.project_id}/plans/{plan.number}"}
    webhooks.announce(plan.project, event, data)


def next_number(project: Project) -> int:
    """For a new plan; to be called while the project is locked."""
    return (project.plans.aggregate(newest=Max("number"))["newest"] or 0) + 1


def count_due(plan: Plan) -> None:
    """Store what approving the plan would set aside now."""
    plan.cost_to_pay = sum((amount for _name, amount in handout.to_pay(plan)), Decimal(0))
    plan.save(update_fields=["cost_to_pay"])


def _store_routes(made_from: Basis, plan: Plan, allocation: strategies.Allocation) -> None:
    reasons = Reasons(made_from.problem, allocation, made_from.bins)
    kept = made_from.kept.at()
    rows = np.flatnonzero(allocation.source >= 0)
    for start in range(0, len(rows), BATCH):
        Route.objects.bulk_create(
            kept_route(plan, kept[row]) if row in kept else _route(made_from, plan, allocation, reasons, row)
            for row in rows[start : start + BATCH].tolist()
        )


def store_routes(routes: Iterable[Route]) -> None:
    Route.objects.bulk_create(routes, batch_size=BATCH)


def kept_route(plan: Plan, route: Route, *, is_kept: bool = True) -> Route:
    """The same decision in another plan, which keeps what somebody judged before it was made."""
    same = ("comparison_id", "source", "labeler_id", "votes", "price", "propensity", "is_control", "gain", "values")
    return Route(plan=plan, reason=route.reason, is_kept=is_kept, **{name: getattr(route, name) for name in same})


def _route(made_from: Basis, plan: Plan, allocation: strategies.Allocation, reasons: Reasons, row: int) -> Route:
    column = int(allocation.source[row])
    source = made_from.problem.sources[column]
    return Route(
        plan=plan,
        comparison_id=int(made_from.known.ids[row]),
        source=Route.PEOPLE if source.is_people else source.name,
        labeler=made_from.labeler(column),
        votes=source.votes,
        price=strategies.to_money(int(made_from.problem.units[row, column])),
        propensity=float(allocation.propensity[row]),
        is_control=bool(allocation.is_control[row]),
        gain=None if np.isnan(allocation.gain[row]) else float(allocation.gain[row]),
        values=reasons.values(row),
        reason=reasons.of(row),
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
