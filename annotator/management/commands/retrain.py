from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Project
from annotator.pipeline import retrain, work


class Command(BaseCommand):
    help = "Train the performance model of a project from what is judged so far."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            model = retrain.retrain(Project.objects.get(pk=options["project"]), seed=options["seed"])
        except (Project.DoesNotExist, work.StepRefused) as error:
            raise CommandError(str(error)) from error
        nested = model.metrics["nested"]
        self.stdout.write(
            f"performance model {model.version}: {model.kind}, rank correlation on unseen mixtures "
            f"{nested['spearman']:.2f} [{nested['spearman_low']:.2f}, {nested['spearman_high']:.2f}]"
        )
