"""Add somebody to a project, or make a new account for them and print the link that sets its password."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from annotator.models import Project, Role
from annotator.pipeline import members
from annotator.pipeline.work import StepRefused


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", type=int, help="the project's number, as in its address")
        parser.add_argument("name", help="user name or e-mail address")
        parser.add_argument("--role", choices=Role.values, default=Role.ANNOTATOR)
        parser.add_argument("--site", default="http://localhost:8000", help="what the printed link begins with")

    def handle(self, *args: Any, project: int, name: str, role: str, site: str, **options: Any) -> None:
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"There is no project {project}.")
        try:
            if user := members.find(name):
                members.add(found, user, role)
                self.stdout.write(f"{user.username} takes part in “{found}” as {role}.")
                return
            user, _membership = members.invite(found, name, role)
        except StepRefused as refusal:
            raise CommandError(str(refusal)) from None
        key = [user_pk_to_url_str(user), default_token_generator.make_token(user)]
        self.stdout.write(f"{user.username} was invited to “{found}” as {role}. They choose a password here, once:")
        self.stdout.write(site.rstrip("/") + reverse("account_reset_password_from_key", args=key))
