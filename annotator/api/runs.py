"""Runs of labelers: ask for one within a price, follow what it did and cost, cancel it. A run is a job of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema, Status

from annotator import access, money
from annotator.api.auth import FOLLOW, LABEL, STOP, project_of
from annotator.api.exports import Strict, whole
from annotator.api.jobs import cancelled
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.api.problems import Refused
from annotator.forms.runs import RunFilter
from annotator.models import Job, Labeler, Project
from annotator.pipeline import disclosures, label, ledger, scope, versions
from annotator.readings import filters, run_costs
from annotator.readings.labelers import names

router = Router(tags=["labelers"])
SAME = (
    *("id", "state", "progress", "total", "message", "cancel_requested"),
    *("created_at", "started_at", "ended_at"),
)


class RunOut(Schema):
    """`id`: the job's, too. `on`: trial, people, filter, everything; plan, checks or file for one asked for otherwise.

    `judged` … `failed_calls` as it told them last. `spent`: what its calls did cost; `held`: what those under way can
    cost; `set_aside`: all its money, null where it needs none. Runs of one plan share that.
    """

    id: int
    labeler: int | None
    on: str
    plan: int | None
    state: str
    progress: int
    total: int
    message: str
    judged: int
    unparsed: int
    given_up: int
    failed_calls: int
    spent: Decimal
    held: Decimal
    set_aside: Decimal | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def shown(project: Project, jobs: Sequence[Job]) -> list[RunOut]:
    """A few queries for all of them."""
    costs = run_costs.costs(project.pk, jobs)
    named = {job.parameters.get("plan") for job in jobs} - {None}
    plans = dict(project.plans.filter(pk__in=named).values_list("pk", "number")) if named else {}
    return [_shown(job, costs[job.pk], plans.get(job.parameters.get("plan"))) for job in jobs]


def _shown(job: Job, cost: run_costs.Cost, plan: int | None) -> RunOut:
    told = job.result.get("run") or {}
    failures = told.get("failures") or {}
    reservation = cost.reservation
    return RunOut(
        **{name: getattr(job, name) for name in SAME},
        labeler=job.parameters.get("labeler"),
        on=_on(job.parameters),
        plan=plan,
        judged=told.get("judged", 0),
        unparsed=told.get("unparsed", 0),
        given_up=failures.get("given_up", 0),
        failed_calls=sum(failures.get("calls", {}).values()),
        spent=cost.spent,
        held=cost.held,
        set_aside=reservation.amount - reservation.refunded if reservation else None,
    )


def _on(parameters: dict[str, Any]) -> str:
    if parameters.get("plan"):
        return "plan"
    return "file" if parameters.get("batch_file") else parameters.get("scope") or "everything"


def _runs(project: Project) -> Any:
    return project.jobs.filter(kind=Job.Kind.LABEL)


@router.get("/projects/{project_id}/runs", auth=FOLLOW, response=Page[RunOut])
def list_runs(
    request: HttpRequest,
    project_id: Number,
    after: After = 0,
    limit: Limit = 100,
    labeler: Number | None = None,
    state: Job.State | None = None,
) -> dict[str, Any]:
    """Runs of the project's labelers by id, those of plans and those that began by themselves too."""
    project = project_of(request, project_id)
    asked = {name: value for name, value in (("parameters__labeler", labeler), ("state", state)) if value}
    found = page(_runs(project).filter(**asked), "id", after, limit, lambda job: job)
    return {**found, "items": shown(project, found["items"])}


@router.get("/projects/{project_id}/runs/{run_id}", auth=FOLLOW, response=RunOut)
def get_run(request: HttpRequest, project_id: Number, run_id: Number) -> RunOut:
    """One run. It has ended when `state` is done, failed or cancelled."""
    project = project_of(request, project_id)
    return shown(project, [get_object_or_404(_runs(project), pk=run_id)])[0]


class RunFilterIn(Strict):
    """The fields of the comparisons page, all of which must fit; `plan` is whose routes `source` and `control` mean."""

    q: Annotated[str, Field(max_length=200)] = ""
    source: str = ""
    judged: Literal["", "yes", "no", "stuck"] = ""
    votes: Literal["", "disagree", "waiting"] = ""
    people: Literal["", "yes", "no"] = ""
    not_judged_by: whole(ge=1, le=2**31 - 1) | None = None  # type: ignore[valid-type]
    flagged: Annotated[bool, Field(strict=True)] = False
    control: Annotated[bool, Field(strict=True)] = False
    plan: whole(ge=1, le=2**31 - 1) | None = None  # type: ignore[valid-type]
    domain: str = ""
    language: Literal["", "english", "other"] = ""


class RunIn(Strict):
    """`most`: what it may cost at most, in the project's currency; needed where the labeler has a price."""

    on: Literal["trial", "people", "filter", "everything"]
    filter: RunFilterIn | None = None
    most: Annotated[str, Field(pattern=r"^[0-9]{1,8}(\.[0-9]{1,6})?$", examples=["1.50"])] | None = None

    def chosen(self, project: Project) -> dict[str, Any]:
        """What `scope.of_filter` takes. Raises Refused for a filter that the page would not take either."""
        if (self.filter is None) == (self.on == "filter"):
            reason = "is needed with on = filter, and with nothing else"
            raise Refused(422, f"filter {reason}.", [{"field": "filter", "reason": reason}])
        given = {name: value for name, value in (self.filter or RunFilterIn()).dict().items() if value}
        labelers = names(project)
        sources = ["people", *(name for _pk, name in labelers)]
        form = RunFilter({**given, "on": self.on}, sources, labelers, has_languages=filters.has_languages(project))
        wrong = {name: found[0] for name, found in form.errors.items()}
        if missing := set(given) - set(form.fields):
            wrong.update(dict.fromkeys(missing, "cannot be asked for in this project"))
        if wrong:
            faults = [{"field": f"filter.{name}", "reason": str(reason)} for name, reason in wrong.items()]
            raise Refused(422, f"{faults[0]['field']}: {faults[0]['reason']}", faults)
        return form.filter()


@router.post("/projects/{project_id}/labelers/{labeler_id}/runs", auth=LABEL, response={202: RunOut})
def create_run(request: HttpRequest, project_id: Number, labeler_id: Number, asked: RunIn) -> Status[RunOut]:
    """Ask for a run on what the labeler has not judged yet. The same, asked for before it has ended, gives that run,
    unless that can cost more than `most`.

    As much as it can cost at most, which is less than `most` as a rule, is set aside when it begins.
    """
    project = project_of(request, project_id, access.LEADS)
    labeler = get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)
    _refuse_unless_it_runs(labeler)
    chosen = asked.chosen(project)
    # It holds the money that would be missing for a second one.
    job = label.under_way(labeler, asked.on, chosen)
    if job:
        _refuse_dearer(labeler, asked, Decimal(job.parameters.get("reserve") or 0))
    return Status(202, shown(project, [job or _begun(request, labeler, asked, chosen)])[0])


def _begun(request: HttpRequest, labeler: Labeler, asked: RunIn, chosen: dict[str, Any]) -> Job:
    ids, comparisons = scope.asked(labeler, asked.on, chosen)
    expected = scope.estimate(labeler, comparisons, look_up=False)
    if not expected.number:
        raise Refused(409, _("There is nothing of this that it has not judged yet."))
    _refuse_cost(labeler.project, labeler, asked, expected.most)
    return label.request_run(
        labeler,
        scope=asked.on,
        comparisons=ids,
        filter=chosen,
        reserve=None if labeler.is_free else expected.most,
        by=request.user,  # type: ignore[arg-type]
    )


def _refuse_unless_it_runs(labeler: Labeler) -> None:
    """Raises Refused for one that nobody runs, StepRefused where no lead has allowed its texts to leave."""
    if labeler.kind in (versions.RECORDED, versions.PROXY):
        raise Refused(409, _("There is nothing to run here: its verdicts come with the data or from votes."))
    if labeler.kind == versions.ENSEMBLE:
        raise Refused(409, _("An ensemble judges what its members have judged: ask for runs of those."))
    if not labeler.enabled:
        raise Refused(409, _("The labeler is disabled."))
    version = versions.in_use(labeler)
    if version is None:
        raise Refused(409, _("The labeler has no version yet that could judge."))
    disclosures.refuse_unless_allowed(version)


def _refuse_dearer(labeler: Labeler, asked: RunIn, most: Decimal) -> None:
    """Raises Refused when it can cost more than was allowed."""
    if not labeler.is_free and Decimal(asked.most or 0) < most:
        reason = _("It can cost %(most)s %(currency)s at most, and `most` allows less.")
        words = reason % {"most": money.plain(most), "currency": labeler.project.currency}
        raise Refused(409, words, [{"field": "most", "reason": words}])


def _refuse_cost(project: Project, labeler: Labeler, asked: RunIn, most: Decimal) -> None:
    """Raises Refused when it can cost more than was allowed, or than the budget has."""
    _refuse_dearer(labeler, asked, most)
    if labeler.is_free:
        return
    free = ledger.available(project)
    if most > free:
        words = _(
            "The budget does not cover it: it can cost %(most)s %(currency)s at most, and %(free)s are neither spent"
            " nor set aside. Raise the budget in the settings, wait until what runs has ended, or order less."
        )
        amounts = {"most": money.plain(most), "free": money.plain(free.normalize())}
        raise Refused(409, words % {**amounts, "currency": project.currency})


@router.post("/projects/{project_id}/runs/{run_id}/cancel", auth=STOP, response=RunOut)
def cancel_run(request: HttpRequest, project_id: Number, run_id: Number) -> RunOut:
    """Cancel a run. What it had judged stays and is paid; calls under way are still waited for."""
    project = project_of(request, project_id, access.LEADS)
    return shown(project, [cancelled(get_object_or_404(_runs(project), pk=run_id))])[0]
