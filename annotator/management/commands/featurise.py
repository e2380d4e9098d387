from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Project
from annotator.pipeline import featurise, work


class Command(BaseCommand):
    help = "Compute the features of every comparison of a project."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = featurise.featurise(Project.objects.get(pk=options["project"]))
        except (Project.DoesNotExist, work.StepRefused) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{made} comparisons featurised")
