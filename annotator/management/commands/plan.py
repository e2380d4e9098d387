from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator import money
from annotator.models import Plan, Project
from annotator.pipeline import route, work


class Command(BaseCommand):
    help = "Make a plan under a budget in the project's currency: who judges what. `approve` puts it to work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("budget", help="money, e.g. 250.00")
        parser.add_argument("--strategy", default="auto")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            budget = money.amount(options["budget"], money.largest(Plan, "budget"))
        except ValueError as refusal:
            raise CommandError(str(refusal)) from None
        try:
            project = Project.objects.get(pk=options["project"])
            plan = route.make_plan(project, budget, strategy=options["strategy"], seed=options["seed"])
        except (Project.DoesNotExist, work.StepRefused) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"plan {plan.number} ({plan.strategy}): {plan.cost:.2f} of {plan.budget:.2f}")
        for share in plan.summary["shares"]:
            self.stdout.write(f"  {share['source']}: {share['count']} comparisons, {float(share['cost']):.2f}")
        self.stdout.write(f"  {plan.summary['skill_text']}")
