from __future__ import annotations

import shutil
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError

from annotator.formats import WRITERS
from annotator.formats.source import CHOICES, STATUSES
from annotator.formats.tables import CONTAINERS
from annotator.models import Export, Job, Project, Recipe
from annotator.pipeline import aggregate, export, work


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _given(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}


class Command(BaseCommand):
    help = "Export a project as a data set and wait for it; with --to, copy its files into a folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="number of the project")
        parser.add_argument("format", choices=WRITERS)
        parser.add_argument("--file-type", default="parquet", choices=CONTAINERS)
        parser.add_argument("--judgments", default="routed", choices=Recipe.Source.values, help="whose count")
        for name, values in CHOICES.items():
            parser.add_argument(f"--{name}", choices=values)
        parser.add_argument("--good", type=float, help="least mean rating of a good response, 0 to 4")
        parser.add_argument("--bad", type=float, help="highest mean rating of a bad response, 0 to 4")
        parser.add_argument("--validation", type=float, help="share of prompts in the validation split, 0 to 0.5")
        parser.add_argument("--seed", type=int, help="of the split")
        filters = parser.add_argument_group("which comparisons")
        filters.add_argument("--agreement", type=float, help="least agreement of the label, 0 to 1")
        filters.add_argument("--votes", type=int, help="fewest votes behind the label")
        filters.add_argument("--status", choices=STATUSES, help="settled: by a reviewer, or by as many as are wanted")
        filters.add_argument("--plan", type=int, metavar="NUMBER", help="those that this plan routed")
        filters.add_argument("--protocol", type=int, metavar="VERSION", help="people's answers to this version")
        filters.add_argument(
            "--metadata", action="append", type=_pair, metavar="NAME=VALUE", help="of prompt or comparison; repeatable"
        )
        parser.add_argument("--to", type=Path, help="an empty or new folder")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(pk=options["project"]).first()
        if project is None:
            raise CommandError(f"there is no project {options['project']}")
        folder: Path | None = options["to"]
        if folder and folder.exists() and any(folder.iterdir()):
            raise CommandError(f"{folder} is not empty")
        asked = _given(options, (*CHOICES, "good", "bad", "validation", "seed"))
        filters = _given(options, ("agreement", "votes", "status", "plan", "protocol", "metadata"))
        if "metadata" in filters:
            filters["metadata"] = dict(filters["metadata"])
        try:
            made, job = export.request_export(
                project,
                options["format"],
                options["file_type"],
                aggregate.recipe(project, options["judgments"]),
                asked,
                None,
                filters,
            )
        except work.StepRefused as refusal:
            raise CommandError(str(refusal)) from None
        self._wait(job)
        made.refresh_from_db()
        self._show(made, folder)

    def _wait(self, job: Job) -> None:
        """Run it here, or wait for the worker that has it."""
        while job.state in (Job.State.WAITING, Job.State.RUNNING):
            if not export.run_exports():
                time.sleep(0.2)
            job.refresh_from_db()
        if job.state != Job.State.DONE:
            raise CommandError(job.message or f"the export was {job.get_state_display().lower()}")

    def _show(self, made: Export, folder: Path | None) -> None:
        for file in made.files:
            if folder:
                target = folder / file["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                with default_storage.open(file["address"]) as stored, target.open("wb") as copy:
                    shutil.copyfileobj(stored, copy)
            self.stdout.write(f"{file['bytes']:>12}  {folder / file['name'] if folder else file['address']}")
        self.stdout.write(f"export {made.number}: {made.rows} rows, sha256 {made.sha256}")
