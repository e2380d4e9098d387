from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Project
from annotator.pipeline import aggregate


class Command(BaseCommand):
    help = "Bring labels up to date with new judgments; with --project, recount all labels of a project."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--project", type=int, help="number of a project whose labels are all recounted")

    def handle(self, *args: Any, project: int | None, **options: Any) -> None:
        taken = aggregate.run_aggregates()
        self.stdout.write(f"{taken} new judgments taken in")
        if project is None:
            return
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"there is no project {project}")
        self.stdout.write(f"{aggregate.relabel(found)} comparisons recounted")
