"""Money: reserve before it can be spent, commit what was spent, refund the rest. A project never passes its cap.

Invariants, which `tests/annotator/test_ledger.py` checks under concurrency:
    account.spent + account.reserved <= account.cap                      (a constraint of the database)
    account.reserved = sum over reservations of amount - refunded - committed
    account.spent    = sum of settled entries;  an entry that is not settled yet is still counted as reserved

Locks are taken in the order entry, reservation, account. A caller that also locks comparisons locks these last.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from annotator.models import Account, Judgment, LabelerCall, LedgerEntry, Plan, Project, Reservation
from annotator.models.judgments import JudgmentQuerySet
from annotator.pipeline.work import StepRefused

logger = logging.getLogger(__name__)

# Smallest amount the ledger can hold; prices are rounded up to it.
UNIT = Decimal("0.00000001")
SETTLE_BATCH = 1000


class OverBudget(StepRefused):
    """The money is not there. `missing` says how much more the budget would have to be."""

    def __init__(self, reason: str, missing: Decimal) -> None:
        super().__init__(reason, missing=str(missing))
        self.missing = missing


class ReservationClosed(Exception):
    """The reservation was closed and its rest refunded: nothing more can be committed to it."""


def plan_key(plan_id: int, source: str) -> str:
    """The key of the money an approved plan set aside for `source` ("people" or a labeler's name)."""
    return f"plan:{plan_id}:{source}"


def chain(plan: Plan) -> list[int]:
    """The ids of the plan and of all that it revises: one budget holds for all of them together."""
    ids = [plan.pk]
    while plan.revises is not None and plan.revises_id not in ids:
        plan = plan.revises
        ids.append(plan.pk)
    return ids


def account_of(project: Project) -> Account:
    """The project's account as it is now, made with a cap of 0 when there is none."""
    account, _created = Account.objects.get_or_create(project=project)
    return account


def available(project: Project) -> Decimal:
    """What could still be reserved."""
    account = account_of(project)
    return account.cap - account.spent - account.reserved


def set_cap(project: Project, cap: Decimal) -> Account:
    """Change the hard budget. Raises OverBudget when more than `cap` is already spent or reserved."""
    account = account_of(project)
    within = Account.objects.filter(pk=account.pk, spent__lte=cap - F("reserved"))
    if not within.update(cap=cap):
        account.refresh_from_db()
        used = account.spent + account.reserved
        raise OverBudget(
            _("%(used)s %(currency)s are already spent or reserved; the budget cannot go under that.")
            % {"used": _plain(used), "currency": project.currency},
            used - cap,
        )
    account.refresh_from_db()
    return account


@transaction.atomic
def reserve(project: Project, key: str, amount: Decimal, *, source: str, plan: Plan | None = None) -> Reservation:
    """Set `amount` aside under `key`; the same key again gives the same reservation, whatever its state.

    Raises OverBudget, which says how much is missing, and then nothing has changed.
    """
    amount = _exact(amount)
    account = account_of(project)
    reservation, created = Reservation.objects.get_or_create(
        account=account, key=key, defaults={"amount": amount, "source": source, "plan": plan}
    )
    if created and not _take(account.pk, amount):
        raise _over(account.pk, amount, source)
    return reservation


def commit(
    reservation: Reservation,
    amount: Decimal,
    *,
    judgment: Judgment | None = None,
    call: LabelerCall | None = None,
    note: str = "",
) -> LedgerEntry:
    """Record one cost, once: the same judgment or call again gives the first entry.

    A person's judgment only inserts a row, so annotators never wait for each other. That its price is there is the
    caller's care: it is what the plan reserved for the place that the judgment fills (`judge`). Raises
    ReservationClosed (see `pay` for what to do then).

    A call must have been written by `hold`; it is saved here together with its entry, so give it its new status and
    answer first. Its cost is checked under the reservation's lock: what passes the reservation is taken from the
    project's free money, or OverBudget is raised and nothing is saved.
    """
    if call is not None:
        return _commit_call(reservation, _exact(amount), call, note)
    assert judgment is not None, "an entry needs its cause"
    # KEY SHARE waits for `close` and for nobody else.
    insert = """
        INSERT INTO annotator_ledgerentry
            (account_id, reservation_id, amount, judgment_id, note, created_at, settled)
        SELECT account_id, id, %s, %s, %s, clock_timestamp(), false
        FROM (SELECT id, account_id FROM annotator_reservation WHERE id = %s AND is_open FOR KEY SHARE) AS open
        ON CONFLICT (judgment_id) DO NOTHING
        RETURNING *
    """
    for entry in LedgerEntry.objects.raw(insert, [_exact(amount), judgment.pk, note, reservation.pk]):
        return entry
    if earlier := LedgerEntry.objects.filter(judgment=judgment).first():
        return earlier
    raise ReservationClosed(reservation.key)


def pay(judgment: Judgment, amount: Decimal, *, plan_id: int | None) -> LedgerEntry:
    """Pay a person's judgment from the money its plan reserved, else from what the project has free."""
    if plan_id is not None:
        reservation = Reservation.objects.filter(
            account__project=judgment.project_id, key=plan_key(plan_id, "people"), is_open=True
        ).first()
        if reservation:
            return pay_from(reservation, judgment, amount)
    return pay_surplus(judgment, amount)


def pay_from(reservation: Reservation, judgment: Judgment, amount: Decimal) -> LedgerEntry:
    """Pay a person's judgment from `reservation`, or from free money when that was closed meanwhile."""
    try:
        return commit(reservation, amount, judgment=judgment)
    except ReservationClosed:
        return pay_surplus(judgment, amount)


@transaction.atomic
def pay_surplus(judgment: Judgment, amount: Decimal) -> LedgerEntry:
    """Pay a judgment nobody reserved for (its place was taken meanwhile) from what is left of the budget.

    When nothing is left the entry is zero and its note says "unpaid": the work is kept and the debt is visible.
    """
    if entry := LedgerEntry.objects.filter(judgment=judgment).first():
        return entry
    project = judgment.project
    try:
        with transaction.atomic():
            reservation = reserve(project, f"judgment:{judgment.pk}", amount, source="people", plan=judgment.plan)
    except OverBudget as refusal:
        note = _("unpaid: %(missing)s %(currency)s over the budget") % {
            "missing": _plain(refusal.missing),
            "currency": project.currency,
        }
        return LedgerEntry.objects.create(account=account_of(project), amount=0, judgment=judgment, note=note)
    entry = commit(reservation, amount, judgment=judgment, note=_("surplus"))
    close(reservation)
    return entry


@transaction.atomic
def withdraw(judgment: Judgment, *, onto: Reservation | None = None, at_most: Decimal = Decimal(0)) -> bool:
    """Take back the payment of a judgment undone in its undo window. False when it is settled: then it stays.

    What goes back to a closed reservation is free money; up to `at_most` of it is set aside again in `onto`.
    """
    entry = LedgerEntry.objects.select_for_update().filter(judgment=judgment).first()
    if entry is None:
        return True
    if entry.settled:
        return False
    wanted = [entry.reservation_id, onto.pk if onto else None]
    locked = Reservation.objects.filter(pk__in=[pk for pk in wanted if pk]).order_by("pk").select_for_update()
    by_id = {each.pk: each for each in locked}
    reservation = by_id.get(entry.reservation_id or 0)
    entry.delete()
    if reservation and not reservation.is_open:
        _refund(reservation)
        if onto and onto.pk != reservation.pk:
            _widen(by_id[onto.pk], min(entry.amount, _exact(at_most)))
    return True


@transaction.atomic
def hold(reservation: Reservation, calls: Sequence[LabelerCall]) -> list[LabelerCall]:
    """Write as many of `calls` as in flight as their highest prices (`cost`) fit into the reservation.

    Gives the calls that were written, a prefix of `calls`; an empty list means that the money is used up.
    """
    fresh = _locked(reservation.pk)
    if not fresh.is_open:
        return []
    room = _room(fresh)
    held: list[LabelerCall] = []
    for call in calls:
        call.cost = _exact(call.cost)
        if call.cost > room:
            break
        room -= call.cost
        call.reservation = fresh
        held.append(call)
    return LabelerCall.objects.bulk_create(held)


@transaction.atomic
def top_up(reservation: Reservation, by: Decimal) -> bool:
    """Widen a plan's reservation from what the plan's budget and the project's both have left; False when they do not.

    What was spent under the plans that it revises, or is still in flight there, is gone from its budget.
    A call is held at its highest price, so the last calls of a plan need more than they will cost.
    """
    if reservation.plan_id is None:
        return False
    plan = Plan.objects.select_for_update(no_key=True).get(pk=reservation.plan_id)
    taken = Reservation.objects.filter(plan__in=chain(plan))
    kept = sum((each.amount - each.refunded for each in taken), Decimal(0))
    fresh = _locked(reservation.pk)
    return fresh.is_open and kept + by <= plan.budget and _widen(fresh, _exact(by))


@transaction.atomic
def close(reservation: Reservation) -> Decimal:
    """Refund what was neither committed nor is held by a call in flight; gives the refund. Repeating it is safe."""
    fresh = _locked(reservation.pk)
    Reservation.objects.filter(pk=fresh.pk).update(is_open=False)
    fresh.is_open = False
    return _refund(fresh)


@shared_task(name="annotator.pipeline.ledger.settle")
def settle(limit: int = 50_000) -> int:
    """Count entries in their reservations and accounts, in batches, at most `limit`; gives how many were counted."""
    done, last = 0, 0
    while done < limit:
        with transaction.atomic():
            entries = _unsettled(last)
            if not entries:
                break
            last = entries[-1].pk
            done += _settle_batch(entries)
    return done


def _unsettled(after: int) -> list[LedgerEntry]:
    final = Q(judgment__isnull=True) | JudgmentQuerySet.is_final("judgment__")
    waiting = LedgerEntry.objects.filter(final, settled=False, pk__gt=after).order_by("pk")
    return list(waiting.select_for_update(of=("self",), skip_locked=True)[:SETTLE_BATCH])


def _settle_batch(entries: list[LedgerEntry]) -> int:
    """Move each reservation's entries from reserved to spent, then the accounts, in the order of their ids."""
    by_reservation: dict[int, list[LedgerEntry]] = defaultdict(list)
    settled: list[int] = []
    for entry in entries:
        if entry.reservation_id is None:
            settled.append(entry.pk)
        else:
            by_reservation[entry.reservation_id].append(entry)
    reservations = Reservation.objects.filter(pk__in=by_reservation).order_by("pk").select_for_update(no_key=True)
    spent: dict[int, Decimal] = defaultdict(Decimal)
    for reservation in list(reservations):
        counted = _within(reservation, by_reservation[reservation.pk])
        total = sum((entry.amount for entry in counted), Decimal(0))
        Reservation.objects.filter(pk=reservation.pk).update(committed=F("committed") + total)
        spent[reservation.account_id] += total
        settled += [entry.pk for entry in counted]
    for account_id in sorted(spent):
        total = spent[account_id]
        Account.objects.filter(pk=account_id).update(spent=F("spent") + total, reserved=F("reserved") - total)
    return LedgerEntry.objects.filter(pk__in=settled).update(settled=True)


def _within(reservation: Reservation, entries: list[LedgerEntry]) -> list[LedgerEntry]:
    """The entries the reservation covers, widened from free money should one pass it.

    What even the cap does not cover stays unsettled: it is seen on the ledger and counted once the cap is raised.
    """
    room = reservation.amount - reservation.refunded - reservation.committed
    counted = []
    for entry in entries:
        if entry.amount > room:
            if not _widen(reservation, entry.amount - room):
                logger.error("ledger entry %s passes the budget; raise the project's budget to settle it", entry.pk)
                continue
            room = entry.amount
        room -= entry.amount
        counted.append(entry)
    return counted


@transaction.atomic
def _commit_call(reservation: Reservation, amount: Decimal, call: LabelerCall, note: str) -> LedgerEntry:
    fresh = _locked(reservation.pk)
    if entry := LedgerEntry.objects.filter(call=call).first():
        return entry
    in_flight = LabelerCall.objects.filter(pk=call.pk, reservation=fresh, status=LabelerCall.Status.IN_FLIGHT)
    held = in_flight.values_list("cost", flat=True).first()
    if held is None:
        raise ReservationClosed(f"call {call.pk} is not in flight under {fresh.key}")
    room = _room(fresh) + held
    if amount > room and not _widen(fresh, amount - room):
        raise _over(fresh.account_id, amount - room, fresh.source)
    call.reservation, call.cost = fresh, amount
    call.save()
    entry = LedgerEntry.objects.create(
        account_id=fresh.account_id, reservation=fresh, amount=amount, call=call, note=note
    )
    if not fresh.is_open:
        _refund(fresh)
    return entry


@transaction.atomic
def commit_calls(reservation: Reservation, paid: Sequence[tuple[LabelerCall, Decimal]]) -> None:
    """Record what several calls did cost in one transaction, each as `commit` does.

    Raises OverBudget or ReservationClosed when one of them cannot be recorded so; then none is, and it is for the
    caller to commit them one by one.
    """
    fresh = _locked(reservation.pk)
    calls = [call for call, _cost in paid]
    in_flight = LabelerCall.objects.filter(pk__in=[call.pk for call in calls], reservation=fresh)
    held = dict(in_flight.filter(status=LabelerCall.Status.IN_FLIGHT).values_list("pk", "cost"))
    if len(held) < len(calls):
        raise ReservationClosed(f"a call is not in flight under {fresh.key}")
    total = sum((_exact(cost) for _call, cost in paid), Decimal(0))
    over = total - _room(fresh) - sum(held.values(), Decimal(0))
    if over > 0 and not _widen(fresh, over):
        raise _over(fresh.account_id, over, fresh.source)
    LedgerEntry.objects.bulk_create(
        LedgerEntry(account_id=fresh.account_id, reservation=fresh, amount=_exact(cost), call=call)
        for call, cost in paid
    )
    for call, cost in paid:
        call.reservation, call.cost = fresh, _exact(cost)
        call.save()
    if not fresh.is_open:
        _refund(fresh)


def _locked(reservation_id: int) -> Reservation:
    return Reservation.objects.select_for_update().get(pk=reservation_id)


def _room(reservation: Reservation) -> Decimal:
    """What a locked reservation can still take: committed and unsettled entries and calls in flight count."""
    unsettled = _total(reservation.entries.filter(settled=False), "amount")
    in_flight = _total(reservation.calls.filter(status=LabelerCall.Status.IN_FLIGHT), "cost")
    return reservation.amount - reservation.refunded - reservation.committed - unsettled - in_flight


def _refund(reservation: Reservation) -> Decimal:
    rest = max(_room(reservation), Decimal(0))
    if rest:
        Reservation.objects.filter(pk=reservation.pk).update(refunded=F("refunded") + rest)
        Account.objects.filter(pk=reservation.account_id).update(reserved=F("reserved") - rest)
    return rest


def _take(account_id: int, amount: Decimal) -> int:
    """Reserve from free money. Conditional: of two workers that want the last money one gets it."""
    enough = Account.objects.filter(pk=account_id, cap__gte=F("spent") + F("reserved") + amount)
    return enough.update(reserved=F("reserved") + amount)


def _widen(reservation: Reservation, by: Decimal) -> bool:
    if not _take(reservation.account_id, by):
        return False
    Reservation.objects.filter(pk=reservation.pk).update(amount=F("amount") + by)
    return True


def _over(account_id: int, amount: Decimal, source: str) -> OverBudget:
    account = Account.objects.select_related("project").get(pk=account_id)
    free = account.cap - account.spent - account.reserved
    words = _(
        "%(amount)s %(currency)s for %(source)s cannot be reserved: %(free)s of the budget of %(cap)s is free, "
        "%(missing)s is missing. Raise the budget or plan for less."
    ) % {
        "amount": _plain(amount),
        "currency": account.project.currency,
        "source": source,
        "free": _plain(free),
        "cap": _plain(account.cap),
        "missing": _plain(amount - free),
    }
    return OverBudget(words, amount - free)


def _total(rows: QuerySet[Any], column: str) -> Decimal:
    return rows.aggregate(total=Sum(column))["total"] or Decimal(0)


def _exact(amount: Decimal) -> Decimal:
    return Decimal(amount).quantize(UNIT, ROUND_UP)


def _plain(amount: Decimal) -> str:
    """An amount in words: two places, more only where they are needed."""
    short = amount.quantize(Decimal("0.01"))
    return f"{short if short == amount else amount.normalize():f}"
