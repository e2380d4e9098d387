from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.formats import public_sets
from annotator.models import Project
from annotator.pipeline import fetch, work


class Command(BaseCommand):
    help = "Import a public preference set by its name on the hub, or a folder in its layout (see docs/formats.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        known = ", ".join(dict.fromkeys(one.name for one in public_sets.known()))
        parser.add_argument("project", type=int, help="the project's number")
        parser.add_argument("name", help=f"owner/name on the hub, or a folder here. Known to be readable: {known}")
        parser.add_argument("--config", default="", help="a configuration, or a folder of the set")
        parser.add_argument("--split", default="", help="without it the training split, where there is one")
        parser.add_argument("--revision", default="", help="a branch, tag or commit; without it the newest")
        parser.add_argument("--limit", type=int, default=0, help="so many rows at most")
        parser.add_argument("--source", default="", help="where the recorded judgments come from")

    def handle(self, *args: Any, project: int, name: str, **options: Any) -> None:
        found = Project.objects.filter(pk=project).first()
        if found is None:
            raise CommandError(f"there is no project {project}")
        if options["limit"] < 0:
            raise CommandError("--limit must be 1 or more")
        folder = Path(name)
        if name.startswith((".", "/")) and not folder.is_dir():
            raise CommandError(f"there is no folder {folder.absolute()}")
        given = {part: options[part] for part in ("config", "split", "revision", "limit", "source")}
        asked = fetch.Asked(name=folder.resolve().name if folder.is_dir() else name, **given)
        try:
            report = fetch.take(found, asked, folder=folder.resolve() if folder.is_dir() else None)
        except work.StepRefused as refusal:
            for error in refusal.result.get("errors", []):  # type: ignore[attr-defined]
                self.stderr.write(f"row {error['line']}: {error['field'] or 'row'}: {error['reason']}")
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(report))
        for words, times in sorted(report.left.items()):
            self.stdout.write(f"left {times:,} times: {words}")
