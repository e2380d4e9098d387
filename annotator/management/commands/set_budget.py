"""Set a project's hard budget: people and AI together never cost more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotator import money
from annotator.models import Account, Project
from annotator.pipeline import ledger


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", type=int, help="the project's number, as in its address")
        parser.add_argument("cap", help="money in the project's currency, e.g. 1000 or 12.50")

    def handle(self, *args: Any, project: int, cap: str, **options: Any) -> None:
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"There is no project {project}.")
        try:
            amount = money.amount(cap, money.largest(Account, "cap"))
        except ValueError as refusal:
            raise CommandError(str(refusal)) from None
        try:
            account = ledger.set_cap(found, amount)
        except ledger.OverBudget as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"“{found}” may cost {account.cap} {found.currency} in all.")
