"""The loop: when routing learns again, and what becomes of the plan at work. The tick asks; workers do it.

Judgments come in → the performance model is trained anew (`retrain`) → what the plan at work has realised is measured
(`realised`) → where the lead wants it, a plan is made for what is not yet judged. Every step is asked for once: by the
times of the jobs and of what they made, never by a counter that could be lost.

A ROUTE job with {"measure": plan id} goes one round; with "only" it measures and leaves the plan alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator.models import Job, Judgment, Loop, Outcome, PerformanceModel, Plan, Project, Rater, User, Webhook
from annotator.pipeline import work

# As `grounds.ENOUGH_JUDGED`, which is not imported here: the tick would load scikit-learn.
ENOUGH_JUDGED = 100
# A plan at work is measured again after so many judgments that people gave under it.
MEASURE_AFTER = 100
# Money of what is judged above what the plan counted for it that is told as leaving the plan. Below is as it should be:
# plans count the highest price of a call.
DEARER = Decimal("1.1")


def of(project: Project) -> Loop:
    """The project's loop, made with its defaults when there is none."""
    return Loop.objects.get_or_create(project=project)[0]


# What is due


def request_due() -> int:
    """For the tick: refits and measurements that are due, each asked for once; gives how many."""
    scheduled = Loop.objects.exclude(refit_after_judgments=None, refit_every_hours=None)
    loops = scheduled.filter(project__status=Project.Status.ACTIVE).select_related("project")
    refits = [loop.project for loop in loops if refit_is_due(loop)]
    for project in refits:
        Job.objects.request(project, Job.Kind.RETRAIN)
    at_work = Plan.objects.filter(status=Plan.Status.APPROVED, is_seed_set=False)
    active = at_work.filter(project__status=Project.Status.ACTIVE, project__performance_models__isnull=False)
    plans = [plan for plan in active.distinct().select_related("project") if measure_is_due(plan)]
    for plan in plans:
        request_measure(plan)
    return len(refits) + len(plans)


def request_measure(plan: Plan, by: User | None = None) -> Job:
    """Measure what the plan has realised; a person's click measures only, the tick's own goes on with the loop."""
    make = Job.objects.ask if by else Job.objects.request
    return make(plan.project, Job.Kind.ROUTE, key=f"measure:{plan.pk}", by=by, measure=plan.pk, only=by is not None)


def refit_is_due(loop: Loop) -> bool:
    """Enough new judgments of people since the last training began, or long enough ago with any; none under way."""
    trainings = loop.project.jobs.filter(kind=Job.Kind.RETRAIN)
    if trainings.unfinished().exists():  # type: ignore[attr-defined]
        return False
    model = loop.project.performance_models.order_by("-version").first()
    since = _last_training(trainings.order_by("-id").first(), model)
    if model is None and _new_judgments(loop.project, None, ENOUGH_JUDGED) < ENOUGH_JUDGED:
        return False
    wanted = loop.refit_after_judgments
    new = _new_judgments(loop.project, since, wanted or 1)
    if wanted and new >= wanted:
        return True
    every = loop.refit_every_hours
    return bool(every and new and (since is None or since <= now() - timedelta(hours=every)))


def _last_training(job: Job | None, model: PerformanceModel | None) -> datetime | None:
    """From when on judgments are new: when the last training began to read, whatever became of it."""
    began = (job.started_at or job.created_at) if job else None
    by_hand = model is not None and (job is None or job.ended_at is None or model.created_at > job.ended_at)
    return model.created_at if by_hand and model else began


def _new_judgments(project: Project, since: datetime | None, most: int) -> int:
    """How many of people's levels came after `since`, counted up to `most`; an index answers it."""
    people = Rater.objects.people().filter(project=project)
    new = Judgment.objects.effective().filter(rater__in=people, outcome=Outcome.LEVEL)
    return (new.filter(created_at__gt=since) if since else new)[:most].count()


def measure_is_due(plan: Plan) -> bool:
    """A newer performance model, or enough of people's judgments, since the plan was approved or last measured."""
    asked = plan.project.jobs.filter(kind=Job.Kind.ROUTE, key=f"measure:{plan.pk}")
    if asked.unfinished().exists():  # type: ignore[attr-defined]
        return False
    measured = plan.realised.order_by("-id").values_list("created_at", flat=True).first()
    tried = asked.order_by("-id").values_list("created_at", flat=True).first()
    since = max(each for each in (plan.approved_at, measured, tried) if each)
    if plan.project.performance_models.filter(created_at__gt=since).exists():
        return True
    people = Rater.objects.people().filter(project=plan.project)
    new = Judgment.objects.effective().filter(rater__in=people, plan=plan, created_at__gt=since)
    return new[:MEASURE_AFTER].count() == MEASURE_AFTER


# One round


def go_round(job: Job) -> work.Done:
    """Measure the plan the job names; then, unless a person asked, revise it where the lead's policy says so."""
    # Not at the top: they load scikit-learn, which the tick does without.
    from annotator.pipeline import realised

    plan = job.project.plans.get(pk=job.parameters["measure"])
    found = realised.measure(plan, job=job)
    words = _("Plan %(number)s is measured") % {"number": plan.number}
    loop = of(job.project)
    reasons = reasons_for(plan, loop, found.detail)
    if job.parameters.get("only") or loop.replan == Loop.Replan.OFF or not reasons:
        return work.Done(words, {"realised": found.pk})
    try:
        made = replan(plan, "; ".join(reasons.values())[:200], because=list(reasons), job=job)
    except work.StepRefused as refusal:
        return work.Done(f"{words}. {refusal}", {"realised": found.pk})
    told = _("%(words)s; plan %(new)s is made for what is not yet judged") % {"words": words, "new": made.number}
    if loop.replan == Loop.Replan.APPROVE:
        told += ". " + _approve(made, plan)
    return work.Done(told, {"realised": found.pk, "plan": made.number})


def reasons_for(plan: Plan, loop: Loop, detail: dict[str, Any]) -> dict[str, str]:
    """Why the plan should be revised, in words, by kind and source; what it was revised for before is left out.

    "model:3": version 3 was trained since. "labeler:name" and "money": see `departures`.
    """
    from annotator.pipeline import basis

    found = {}
    model = basis.model_in_use(plan.project, loop)
    # One that was there already was used, could not be, or was left aside by the lead.
    if model and model.created_at > plan.created_at:
        found[f"model:{model.version}"] = _("performance model %(version)s was trained") % {"version": model.version}
    found |= departures(detail)
    known = {key for told in plan.revisions.values_list("summary", flat=True) for key in told.get("because", [])}
    return {key: words for key, words in found.items() if key not in known}


def departures(detail: dict[str, Any]) -> dict[str, str]:
    """What is not as the plan said, in words, by kind and source: labelers worse than promised, calls that cost more.

    `detail`: "labelers" and "spending" of `Realised.detail`.
    """
    found = {
        f"labeler:{row['source']}": _("%(name)s is right in %(now)s of cases, not in %(promised)s")
        % {"name": row["source"], "now": f"{row['value']:.0%}", "promised": f"{row['promised']:.0%}"}
        for row in detail["labelers"]
        if row["promised"] is not None and row["high"] is not None and row["high"] < row["promised"]
    }
    planned, paid = (Decimal(detail["spending"][name]) for name in ("planned", "paid"))
    if paid > DEARER * planned > 0:
        share = f"{float(paid / planned):.0%}"
        found["money"] = _("labelers cost %(share)s of what the plan counted for them") % {"share": share}
    return found


def replan(
    plan: Plan, occasion: str, *, because: Sequence[str] = (), by: User | None = None, job: Job | None = None
) -> Plan:
    """A draft for what is not yet judged, under the plan's own budget, of which what was spent is gone.

    Raises StepRefused when all is judged, or as `route.make_plan`.
    """
    from annotator.pipeline import basis, route

    if not plan.routes.exclude(pk__in=basis.judged(plan).values("pk")).exists():
        raise work.StepRefused(_("All that plan %(number)s routes is judged: there is nothing to revise.") % vars(plan))
    return route.make_plan(
        plan.project,
        plan.budget,
        strategy=plan.summary.get("asked", "auto"),
        seed=plan.seed,
        by=by,
        job=job,
        revises=plan,
        occasion=occasion,
        because=because,
    )


def _approve(made: Plan, former: Plan) -> str:
    """Put the new plan to work if `former` still is; what hinders it is told, and it stays a draft."""
    from annotator.pipeline import route

    try:
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(pk=made.project_id)
            former.refresh_from_db()
            if former.status != Plan.Status.APPROVED:
                raise work.StepRefused(_("Another plan was approved meanwhile; this one stays a draft."))
            route.approve(made, None)
    except work.StepRefused as refusal:
        return str(refusal)
    return _("It is approved.")


def restore(plan: Plan, by: User | None = None) -> Plan:
    """A draft that decides as `plan` did. What was judged since under the plan at work keeps its source.

    Its budget is what was spent with what is still to be paid, where that is more than `plan` had. Raises StepRefused
    for a seed set: with what other plans decided in it, it would no longer be drawn at random.
    """
    from annotator.pipeline import route

    if plan.is_seed_set:
        raise work.StepRefused(_("Plan %(number)s is a seed set and cannot be restored: draw a new one.") % vars(plan))
    with transaction.atomic():
        project = Project.objects.select_for_update(no_key=True).get(pk=plan.project_id)
        at_work = project.plans.filter(status=Plan.Status.APPROVED).first()
        again = Plan.objects.create(
            project=project,
            number=route.next_number(project),
            strategy=plan.strategy,
            budget=plan.budget,
            performance_model=plan.performance_model,
            predicted=plan.predicted,
            low=plan.low,
            high=plan.high,
            summary=plan.summary | {"restores": plan.number, "because": []},
            seed=plan.seed,
            revises=at_work,
            occasion=_("plan %(number)s restored") % {"number": plan.number},
            created_by=by,
        )
        _copy(again, plan, at_work)
        route.announce(again, Webhook.Event.PLANNED)
    return again


def _copy(again: Plan, plan: Plan, at_work: Plan | None) -> None:
    """The routes of `again`, what they cost, and a budget that holds."""
    from annotator.pipeline import basis, handout, route

    kept = list(basis.judged(at_work)) if at_work else []
    others = plan.routes.exclude(comparison__in={each.comparison_id for each in kept})
    before = set(basis.judged(plan).values_list("pk", flat=True))
    route.store_routes(route.kept_route(again, each) for each in kept)
    route.store_routes(route.kept_route(again, each, is_kept=each.pk in before) for each in others)
    again.cost = again.routes.aggregate(total=Sum("price"))["total"] or Decimal(0)
    again.cost_to_pay = sum((amount for _source, amount in handout.to_pay(again)), Decimal(0))
    spent = basis.spent(at_work) if at_work else Decimal(0)
    # Never less than it costs in full: what was there before anything was paid counts too.
    needed = max(again.cost, spent + again.cost_to_pay)
    again.budget = max(plan.budget, needed.quantize(Decimal("0.000001"), ROUND_UP))
    again.save(update_fields=["cost", "cost_to_pay", "budget"])
