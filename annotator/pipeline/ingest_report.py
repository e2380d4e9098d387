"""What an import says when it is over: what is wrong with the file, or how much of it was new."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.pipeline import work

ERRORS_SHOWN = 100
# What of a report says that something was not there before.
NEW = ("prompts", "responses", "comparisons", "candidates", "golds", "judgments", "supplemented")


def _line(error: dict[str, Any]) -> int:
    return int(error["line"])


@dataclass
class Errors:
    """A hundred things that are wrong, in the order of the file, and how many more there are."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0
    # Where a line is to be found, where lines count on over several files.
    where: Callable[[int], str] | None = None

    def add(self, line: int, field_name: str, reason: str) -> None:
        if len(self.shown) < ERRORS_SHOWN:
            place = {"file": self.where(line)} if self.where else {}
            # What contradicts stored rows is found a batch later than what is wrong with a row itself.
            insort(self.shown, {"line": line, "field": field_name, "reason": reason, **place}, key=_line)
        else:
            self.more += 1

    def refuse(self) -> None:
        """Raise StepRefused when anything was wrong."""
        if self.shown:
            words = ngettext(
                "Nothing was imported: there is a problem on line %(line)s (%(field)s: %(reason)s)."
                " Correct the file and import it again.",
                "Nothing was imported: there are %(count)s problems, the first on line %(line)s"
                " (%(field)s: %(reason)s). Correct the file and import it again.",
                len(self.shown) + self.more,
            )
            first = self.shown[0]
            raise work.StepRefused(
                words % {**first, "field": first["field"] or _("row"), "count": len(self.shown) + self.more},
                errors=self.shown,
                more=self.more,
            )


@dataclass(frozen=True)
class IngestReport:
    """How much was new, and how many comparisons of the file existed already.

    `supplemented` counts those of them whose metadata lacked something.
    """

    prompts: int
    responses: int
    comparisons: int
    candidates: int
    golds: int
    judgments: int
    skipped_existing: int
    # Rows that held a prompt and no comparison.
    alone: int
    rows: int = 0
    supplemented: int = 0
    # What could not be carried, in words, and how often.
    left: dict[str, int] = field(default_factory=dict)
    # How it ended, where a whole project was restored.
    words: str = ""

    @property
    def anything_new(self) -> bool:
        return any(getattr(self, name) for name in NEW)

    def __str__(self) -> str:
        if self.words:
            return self.words
        words = _("%(comparisons)s comparisons of %(prompts)s new prompts and %(judgments)s judgments imported")
        if self.alone:
            words += "; " + _("%(alone)s rows hold a prompt without responses")
        if self.skipped_existing:
            words += "; " + _("%(skipped_existing)s comparisons existed already")
        if self.supplemented:
            words += "; " + _("%(supplemented)s of them got metadata that they lacked")
        if self.left:
            words += "; " + _("%(left)s parts of the file could not be carried")
        return words % {**asdict(self), "left": sum(self.left.values())}


@dataclass
class Check:
    """What a dry run found: the report the import would have (None where rows do not fit), and what is wrong."""

    rows: int
    errors: Errors
    left: dict[str, int]
    report: IngestReport | None = None

    def __str__(self) -> str:
        if not self.report:
            count = len(self.errors.shown) + self.errors.more
            words = ngettext(
                "%(rows)s rows were checked: there is %(count)s problem",
                "%(rows)s rows were checked: there are %(count)s problems",
                count,
            )
            return words % {"rows": self.rows, "count": count}
        words = _("All %(rows)s rows fit: %(comparisons)s comparisons would be new, %(existing)s exist already")
        if self.left:
            words += "; " + _("%(left)s parts of the file could not be carried")
        return words % {
            "rows": self.rows,
            "comparisons": self.report.comparisons,
            "existing": self.report.skipped_existing,
            "left": sum(self.left.values()),
        }

    def as_json(self) -> dict[str, Any]:
        counts = asdict(self.report) if self.report else {}
        said = {"errors": self.errors.shown, "more": self.errors.more, "rows": self.rows, "left": self.left}
        return {**counts, **said, "dry_run": True}
