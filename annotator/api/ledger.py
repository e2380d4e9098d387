"""Money: the project's account, and every cost that was paid."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from annotator.api.auth import READ, project_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Account, LedgerEntry

router = Router(tags=["ledger"])


class AccountOut(Schema):
    currency: str
    # The hard budget; spent and reserved together never pass it.
    cap: Decimal
    spent: Decimal
    reserved: Decimal
    available: Decimal


class EntryOut(Schema):
    id: int
    amount: Decimal
    # What it paid: a judgment of a person, or a call of a labeler about a comparison or a prompt.
    source: str
    judgment_id: int | None
    call_id: int | None
    note: str
    settled: bool
    created_at: datetime


@router.get("/projects/{project_id}/budget", auth=READ, response=AccountOut)
def get_budget(request: HttpRequest, project_id: Number) -> AccountOut:
    """The account as it is now."""
    project = project_of(request, project_id)
    account = Account.objects.filter(project=project).first() or Account(project=project)
    amounts = {name: Decimal(getattr(account, name)) for name in ("cap", "spent", "reserved")}
    left = amounts["cap"] - amounts["spent"] - amounts["reserved"]
    return AccountOut(currency=project.currency, available=left, **amounts)


@router.get("/projects/{project_id}/ledger", auth=READ, response=Page[EntryOut])
def list_entries(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Costs by id; none is ever changed."""
    rows = LedgerEntry.objects.filter(account__project=project_of(request, project_id)).select_related("reservation")
    return page(rows, "id", after, limit, _shown)


def _shown(entry: LedgerEntry) -> EntryOut:
    same = ("id", "amount", "judgment_id", "call_id", "note", "settled", "created_at")
    source = entry.reservation.source if entry.reservation else "people"
    return EntryOut(**{name: getattr(entry, name) for name in same}, source=source)
