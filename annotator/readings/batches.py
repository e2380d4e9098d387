"""A labeler's batch files: how many of their calls are out, came back or failed, and what they hold and cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q, Sum

from annotator.models import BatchFile, Labeler


@dataclass(frozen=True)
class Row:
    file: BatchFile
    calls: int
    out: int
    answered: int
    failed: int
    cost: Decimal
    held: Decimal


def rows(labeler: Labeler) -> list[Row]:
    """The newest first."""
    out = Q(calls__status="in_flight")
    files = BatchFile.objects.filter(labeler_version__labeler=labeler).select_related("requested_by")
    counted = files.annotate(
        number=Count("calls"),
        out=Count("calls", filter=out),
        answered=Count("calls", filter=Q(calls__status__in=("ok", "unparsed"))),
        failed=Count("calls", filter=Q(calls__status__in=("failed", "lost"))),
        paid=Sum("calls__cost", filter=~out),
        held=Sum("calls__cost", filter=out),
    )
    nothing = Decimal(0)
    return [
        Row(file, file.number, file.out, file.answered, file.failed, file.paid or nothing, file.held or nothing)
        for file in counted.order_by("-id")
    ]
