"""One run of a labeler as its lead sees it: how far, how fast, what it cost, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotator.models import Job, Labeler, Reservation
from annotator.readings import run_costs

# By `labelers.base.Failure`.
KINDS: dict[str, str | Promise] = {
    "busy": _("too many requests (429, 503)"),
    "server": _("the endpoint's own fault (5xx)"),
    "timeout": _("no answer in time"),
    "connection": _("no connection"),
    "garbage": _("not an answer of a model"),
    "refused": _("refused (4xx)"),
    "unparsed": _("no single verdict in the answer"),
    "truncated": _("the answer was cut at its most tokens"),
    "fault": _("a fault of this program"),
    "other": _("other"),
}


@dataclass(frozen=True)
class Failed:
    words: str | Promise
    calls: int
    example: str


@dataclass(frozen=True)
class Whole:
    """What all runs of a plan have done with the labeler's share of its money."""

    judged: int
    spent: Decimal


@dataclass(frozen=True)
class Run:
    """`rate` is comparisons a minute over the last two minutes, `left` the minutes to the end at that rate; None
    while unknown. `spent` is what its calls did cost, `held` what those under way can cost, `set_aside` all its money.
    A run of a plan shares that with the plan's other runs: `plan` is what they did together.
    """

    job: Job
    labeler: Labeler | None
    judged: int
    unparsed: int
    given_up: int
    lost: int
    rate: float | None
    left: int | None
    spent: Decimal
    held: Decimal
    set_aside: Decimal | None
    plan: Whole | None
    is_of_checks: bool
    failures: list[Failed]

    @property
    def failed_calls(self) -> int:
        return sum(failed.calls for failed in self.failures)


def of_job(job: Job) -> Run:
    told = job.result.get("run") or {}
    failures = told.get("failures") or {}
    rate = _rate(told.get("marks") or []) if job.state == Job.State.RUNNING else None
    reservation, spent, held = run_costs.costs(job.project_id, [job])[job.pk]
    return Run(
        job=job,
        labeler=job.project.labelers.filter(pk=job.parameters.get("labeler")).first(),
        judged=told.get("judged", 0),
        unparsed=told.get("unparsed", 0),
        given_up=failures.get("given_up", 0),
        lost=told.get("lost", 0),
        rate=rate,
        left=ceil((job.total - job.progress) / rate) if rate else None,
        spent=spent,
        held=held,
        set_aside=reservation.amount - reservation.refunded if reservation else None,
        plan=_of_plan(job, reservation),
        # `pipeline.probes.SCOPE`
        is_of_checks=job.parameters.get("scope") == "checks",
        failures=failed(job),
    )


def failed(job: Job) -> list[Failed]:
    """Of a run of any labeler, judge or generator: its calls that failed, by kind, the most frequent first."""
    failures = (job.result.get("run") or {}).get("failures") or {}
    examples = failures.get("examples", {})
    kinds = [Failed(KINDS.get(kind, kind), n, examples.get(kind, "")) for kind, n in failures.get("calls", {}).items()]
    return sorted(kinds, key=lambda each: -each.calls)


def _rate(marks: list[tuple[float, int]]) -> float | None:
    if len(marks) < 2:
        return None
    (began, first), (ended, last) = marks[0], marks[-1]
    return 60 * (last - first) / (ended - began) if last > first and ended > began else None


def _of_plan(job: Job, reservation: Reservation | None) -> Whole | None:
    """Each run has told how much it judged, so no judgment is counted."""
    if reservation is None or not reservation.plan_id:
        return None
    about = {"parameters__plan": reservation.plan_id, "parameters__labeler": job.parameters["labeler"]}
    told = job.project.jobs.filter(kind=Job.Kind.LABEL, **about).values_list("result__run__judged", flat=True)
    return Whole(sum(judged or 0 for judged in told), run_costs.committed([reservation])[reservation.pk])
