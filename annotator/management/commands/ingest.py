from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator import formats
from annotator.formats import entries, mapped
from annotator.formats.entries import Way
from annotator.models import Project
from annotator.pipeline import ingest, work
from annotator.pipeline.ingest_report import Check


class Command(BaseCommand):
    help = "Import a file of comparisons, or a folder or zip of them, into a project (see docs/formats.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        known = ", ".join([*formats.READERS, entries.MAPPED])
        parser.add_argument("project", type=int, help="the project's number")
        parser.add_argument("file", type=Path)
        parser.add_argument("--source", default="", help="where the recorded judgments come from")
        parser.add_argument("--format", default="", help=f"read it so, instead of by its columns: {known}")
        parser.add_argument(
            "--map",
            nargs="+",
            action="extend",
            metavar="FIELD=COLUMN",
            help=f"for files with columns of their own: which column is what; fields: {', '.join(mapped.FIELDS)}",
        )
        parser.add_argument(
            "--winner",
            nargs="+",
            action="extend",
            metavar="VALUE=VERDICT",
            help="what the values of the winner's column mean: a, b, tie, neither, or nothing for no judgment",
        )
        parser.add_argument("--by", default="person", choices=mapped.RATERS, help="who gave the mapped judgments")
        parser.add_argument("--table", default="", help="of a folder or zip with several tables, the one to read")
        parser.add_argument("--dry-run", action="store_true", help="check every row and store nothing")

    def handle(self, *args: Any, project: int, file: Path, source: str, dry_run: bool, **options: Any) -> None:
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"there is no project {project}")
        if not file.exists():
            raise CommandError(f"there is no file {file}")
        coming = ingest.Coming(file, file.name, _way(options), source)
        try:
            if dry_run:
                self._check(ingest.check_file(found, coming))
                return
            report = ingest.take_in(found, coming)
        except work.StepRefused as refusal:
            self._tell(refusal.result)
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(report))
        self._left(report.left)

    def _check(self, check: Check) -> None:
        self._tell(check.as_json())
        self._left(check.left)
        if not check.report:
            raise CommandError(str(check))
        self.stdout.write(str(check))

    def _left(self, left: dict[str, int]) -> None:
        for words, times in sorted(left.items()):
            self.stdout.write(f"left {times:,} times: {words}")

    def _tell(self, result: dict[str, Any]) -> None:
        for error in result.get("errors", []):
            place = f"{error['file']}, " if error.get("file") else ""
            self.stderr.write(f"{place}line {error['line']}: {error['field'] or 'row'}: {error['reason']}")
        if result.get("more"):
            self.stderr.write(f"and {result['more']} more")


def _way(options: dict[str, Any]) -> Way:
    columns, winner = _pairs("--map", options["map"]), _pairs("--winner", options["winner"])
    if not columns:
        return Way(options["format"], {}, options["table"])
    return Way(entries.MAPPED, {"columns": columns, "winner": winner, "by": options["by"]}, options["table"])


def _pairs(flag: str, given: list[str] | None) -> dict[str, str]:
    pairs = [one.partition("=") for one in given or []]
    if wrong := [name for name, equals, _value in pairs if not equals]:
        raise CommandError(f"{flag} {wrong[0]}: write NAME=VALUE")
    return {name: value for name, _equals, value in pairs}
