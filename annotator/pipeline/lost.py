"""Calls whose run has died: counted as paid, at their most, and what was set aside for their run goes back."""

from __future__ import annotations

import contextlib

from django.db.models import QuerySet
from django.utils.timezone import now

from annotator.models import Job, Labeler, LabelerCall, Reservation
from annotator.pipeline import ledger

Status = LabelerCall.Status


def count_lost(labeler: Labeler) -> int:
    """Calls of any version that earlier runs left in flight when they died: counted as paid, at their most.

    Of a labeler one job runs at a time, so a call that is in flight when a run begins has nobody who waits for it. Not
    so those of a batch file: a lead brings back what became of them.
    """
    return count_as_paid(LabelerCall.objects.filter(labeler_version__labeler=labeler, batch_file=None))


def count_as_paid(calls: QuerySet[LabelerCall]) -> int:
    """Take those of `calls` that are in flight for lost; gives how many."""
    lost = list(calls.filter(status=Status.IN_FLIGHT).select_related("reservation"))
    for call in lost:
        call.status, call.ended_at = Status.LOST, now()
        call.error = "the worker died while it waited for the answer"
        if call.reservation is None:
            call.save()
        else:
            # Closed: whoever waited for it lives after all and has recorded it meanwhile.
            with contextlib.suppress(ledger.ReservationClosed):
                ledger.commit(call.reservation, call.cost, call=call)
    return len(lost)


def return_money() -> int:
    """Close what a run had set aside when its worker died and nobody took it up again; gives how many.

    Calls that were in flight count as paid, as everywhere.
    """
    open_ones = Reservation.objects.filter(is_open=True, plan=None, key__startswith="job:").select_related("account")
    by_job = {int(reservation.key.removeprefix("job:")): reservation for reservation in open_ones}
    alive = set(Job.objects.unfinished().filter(pk__in=by_job).values_list("pk", flat=True)) if by_job else set()
    over = [reservation for pk, reservation in by_job.items() if pk not in alive]
    for reservation in over:
        count_as_paid(LabelerCall.objects.filter(reservation=reservation))
        ledger.close(reservation)
    return len(over)
