from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Job, Labeler, Plan, Project
from annotator.pipeline import label, scope, work


class Command(BaseCommand):
    help = "Let AI labelers judge: all that cost nothing, or one by name. Waiting runs of the site are done as well."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("labeler", nargs="?", help="name of the labeler; without it, all that run by themselves")
        parser.add_argument("--plan", type=int, help="number of the approved plan whose comparisons it judges")
        parser.add_argument(
            "--on",
            choices=["trial", "people", "everything"],
            default="everything",
            help="without a plan: a few comparisons, those people have judged, or all",
        )
        parser.add_argument("--up-to", type=Decimal, help="the most a run without a plan may cost")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            project = Project.objects.get(pk=options["project"])
            jobs = [self._one(project, options)] if options["labeler"] else label.request_free(project)
        except (Project.DoesNotExist, Labeler.DoesNotExist, Plan.DoesNotExist) as error:
            raise CommandError(f"{error} Look the number or name up on the site.") from error
        work.work(Job.Kind.LABEL, label.label_job)
        for job in jobs:
            job.refresh_from_db()
            self.stdout.write(f"{job}: {job.message}")
        if any(job.state == Job.State.FAILED for job in jobs):
            raise CommandError("a run stopped early; see above")

    def _one(self, project: Project, options: dict[str, Any]) -> Job:
        chosen = project.labelers.judging().get(name=options["labeler"])
        if options["plan"] is not None:
            return label.request_run(chosen, plan_id=project.plans.get(number=options["plan"]).pk)
        comparisons = scope.trial_comparisons(chosen) if options["on"] == "trial" else ()
        return label.request_run(chosen, scope=options["on"], comparisons=comparisons, reserve=options["up_to"])
