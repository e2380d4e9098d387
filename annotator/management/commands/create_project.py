from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator import money, protocols
from annotator.models import Account, Project, Route, User
from annotator.pipeline import start


class Command(BaseCommand):
    help = "Create a project; prints its number."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--lead", required=True, help="user name of its lead")
        parser.add_argument("--preset", default="plain", choices=sorted(protocols.PRESETS))
        parser.add_argument("--description", default="")
        parser.add_argument("--currency", default="USD")
        parser.add_argument("--price", default="0", help="of one person's judgment")
        parser.add_argument("--votes", type=int, default=1, help="people a comparison")
        parser.add_argument("--cap", default="0", help="hard budget")

    def handle(self, *args: Any, name: str, lead: str, **options: Any) -> None:
        user = User.objects.filter(username=lead).first()
        if user is None:
            raise CommandError(f"there is no user {lead}; `manage.py createsuperuser` makes one")
        try:
            price = money.amount(options["price"], money.largest(Project, "price_per_judgment"))
            cap = money.amount(options["cap"], money.largest(Account, "cap"))
        except ValueError as refusal:
            raise CommandError(str(refusal)) from None
        if price * options["votes"] > (most := money.largest(Route, "price")):
            raise CommandError(f"--votes of --price cost more than {most} a comparison, the most that a plan can store")
        project = start.create_project(
            name,
            lead=user,
            preset=options["preset"],
            description=options["description"],
            currency=options["currency"],
            price_per_judgment=price,
            votes=options["votes"],
            cap=cap,
        )
        self.stdout.write(str(project.pk))
