from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Plan
from annotator.pipeline import route, work


class Command(BaseCommand):
    help = "Approve a plan: reserve its money, hand its comparisons to people and labelers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("plan", type=int, help="number of the plan")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            plan = Plan.objects.get(project=options["project"], number=options["plan"])
            route.approve(plan, None)
            route.run_routes()  # places and labels, should no worker run
        except (Plan.DoesNotExist, work.StepRefused) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"plan {plan.number} approved; {plan.cost_to_pay:.2f} reserved")
