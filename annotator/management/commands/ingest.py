from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.models import Project
from annotator.pipeline import ingest, work


class Command(BaseCommand):
    help = "Import a file of comparisons into a project (JSON Lines, CSV, Parquet; see docs/formats.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", type=int, help="the project's number")
        parser.add_argument("file", type=Path)
        parser.add_argument("--source", default="", help="where the recorded judgments come from")

    def handle(self, *args: Any, project: int, file: Path, source: str, **options: Any) -> None:
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"there is no project {project}")
        if not file.is_file():
            raise CommandError(f"there is no file {file}")
        try:
            report = ingest.ingest_file(found, file, source=source)
        except work.StepRefused as refusal:
            self._tell(refusal)
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(report))

    def _tell(self, refusal: work.StepRefused) -> None:
        errors: Any = refusal.result.get("errors", [])
        for error in errors:
            self.stderr.write(f"line {error['line']}: {error['field'] or 'row'}: {error['reason']}")
        if refusal.result.get("more"):
            self.stderr.write(f"and {refusal.result['more']} more")
