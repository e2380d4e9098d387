"""What runs of labelers cost, of many at once: a few queries however many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, Sum

from annotator.models import Job, Labeler, LedgerEntry, Reservation


class Cost(NamedTuple):
    """`spent` is what its calls did cost, `held` what those under way can cost; the money is its own or its plan's."""

    reservation: Reservation | None
    spent: Decimal
    held: Decimal


class Time(NamedTuple):
    """Of a run's calls; `until` is None while it goes on."""

    since: datetime
    until: datetime | None


class Ended(NamedTuple):
    run: int
    plan: int
    labeler: int
    at: datetime


# A run of a plan in one of these that was not started has had no worker.
NEVER_BEGUN = (Job.State.WAITING, Job.State.CANCELLED)
# A plan's money is shared by its runs: of that a run's own calls are those of its own time (`_times`).
_CALLS = """
SELECT run.id, sum(call.cost)
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS run(id, reservation, since, until)
JOIN annotator_labelercall call ON call.reservation_id = run.reservation
 AND call.created_at >= run.since AND (run.until IS NULL OR call.created_at <= run.until)
WHERE call.status {}
GROUP BY run.id
"""
_HELD, _ENDED = _CALLS.format("= 'in_flight'"), _CALLS.format("<> 'in_flight'")


def costs(project_id: int, runs: Sequence[Job]) -> dict[int, Cost]:
    """By job. Asked every second or two, so of runs with money of their own it reads no calls but those under way."""
    paid = _reservations(project_id, runs)
    own = committed([each for each in paid.values() if each.plan_id is None])
    with_money = [run for run in runs if run.pk in paid]
    times = _times(project_id, with_money)
    held = _calls(_HELD, paid, times)
    ended = _calls(_ENDED, paid, {run: time for run, time in times.items() if paid[run].plan_id})
    nothing = Decimal(0)
    return {
        run.pk: Cost(
            reservation := paid.get(run.pk),
            own.get(reservation.pk, ended.get(run.pk, nothing)) if reservation else nothing,
            held.get(run.pk, nothing),
        )
        for run in runs
    }


def _reservations(project_id: int, runs: Sequence[Job]) -> dict[int, Reservation]:
    """Of each run that has money: its own, or its plan's, which all runs of that plan and labeler share."""
    names = dict(Labeler.objects.filter(project=project_id).values_list("pk", "name"))
    about: dict[int, tuple[int | None, str]] = {}
    for run in runs:
        plan = run.parameters.get("plan")
        about[run.pk] = (plan, names.get(run.parameters.get("labeler"), "")) if plan else (None, f"job:{run.pk}")
    plans, keys = {plan for plan, _ in about.values() if plan}, {key for plan, key in about.values() if not plan}
    rows = Reservation.objects.filter(Q(plan__in=plans) | Q(key__in=keys), account__project=project_id)
    found = {(each.plan_id, each.source) if each.plan_id else (None, each.key): each for each in rows.order_by("-pk")}
    return {pk: found[key] for pk, key in about.items() if key in found}


def _calls(query: str, paid: Mapping[int, Reservation], times: Mapping[int, Time]) -> dict[int, Decimal]:
    if not times:
        return {}
    since, until = zip(*times.values(), strict=True)
    given: list[Any] = [list(times), [paid[run].pk for run in times], list(since), list(until)]
    with connection.cursor() as cursor:
        cursor.execute(query, given)
        return dict(cursor.fetchall())


def _times(project_id: int, runs: Sequence[Job]) -> dict[int, Time]:
    """Of each run that may have made calls: when it made them.

    Of a labeler one run goes on at a time, so what was called before those asked for earlier had ended is theirs.
    """
    begun = [run for run in runs if run.started_at or run.state not in NEVER_BEGUN or not run.parameters.get("plan")]
    earlier = _ended(project_id, {run.parameters["plan"] for run in begun if run.parameters.get("plan")})
    return {run.pk: Time(max([run.created_at, *_before(run, earlier)]), run.ended_at) for run in begun}


def _before(run: Job, ended: Iterable[Ended]) -> list[datetime]:
    """When those asked for before the run, of its plan and labeler, have ended; not those that it overtook."""
    about = run.parameters.get("plan"), run.parameters.get("labeler")
    same = (each.at for each in ended if (each.plan, each.labeler) == about and each.run < run.pk)
    return [at for at in same if run.started_at is None or at <= run.started_at]


def _ended(project_id: int, plans: Collection[int]) -> list[Ended]:
    found = Job.objects.filter(project=project_id, kind=Job.Kind.LABEL, ended_at__isnull=False)
    columns = ("pk", "parameters__plan", "parameters__labeler", "ended_at")
    return [Ended(*row) for row in found.filter(parameters__plan__in=plans).values_list(*columns)] if plans else []


def committed(reservations: Sequence[Reservation]) -> dict[int, Decimal]:
    """What was spent of each, up to now."""
    rows = LedgerEntry.objects.filter(reservation__in=reservations, settled=False).order_by().values("reservation")
    fresh = {row["reservation"]: row["sum"] for row in rows.annotate(sum=Sum("amount"))}
    return {each.pk: each.committed + fresh.get(each.pk, Decimal(0)) for each in reservations}
