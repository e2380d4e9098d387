"""What runs of labelers cost, of many at once: a few queries however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


# A plan's money is shared by its runs: of that a run's own calls are those since it was asked for.
_CALLS = """
SELECT run.id, sum(call.cost)
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS run(id, reservation, since)
JOIN annotator_labelercall call ON call.reservation_id = run.reservation AND call.created_at >= run.since
WHERE call.status {}
GROUP BY run.id
"""
_HELD, _ENDED = _CALLS.format("= 'in_flight'"), _CALLS.format("<> 'in_flight'")


def costs(project_id: int, runs: Sequence[Job]) -> dict[int, Cost]:
    """By job. Asked every second or two, so of runs with money of their own it reads no calls but those under way."""
    paid = _reservations(project_id, runs)
    own = committed([each for each in paid.values() if each.plan_id is None])
    with_money = [run for run in runs if run.pk in paid]
    held = _calls(_HELD, with_money, paid)
    ended = _calls(_ENDED, [run for run in with_money if paid[run.pk].plan_id], paid)
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


def _calls(query: str, runs: Sequence[Job], paid: Mapping[int, Reservation]) -> dict[int, Decimal]:
    if not runs:
        return {}
    given: list[Any] = [[run.pk for run in runs], [paid[run.pk].pk for run in runs], [run.created_at for run in runs]]
    with connection.cursor() as cursor:
        cursor.execute(query, given)
        return dict(cursor.fetchall())


def committed(reservations: Sequence[Reservation]) -> dict[int, Decimal]:
    """What was spent of each, up to now."""
    rows = LedgerEntry.objects.filter(reservation__in=reservations, settled=False).order_by().values("reservation")
    fresh = {row["reservation"]: row["sum"] for row in rows.annotate(sum=Sum("amount"))}
    return {each.pk: each.committed + fresh.get(each.pk, Decimal(0)) for each in reservations}
