"""Results of a batch file as they were uploaded: their lines, what is wrong with them, and when they are removed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.files.storage import default_storage
from django.utils.translation import gettext as _

from annotator.models import BatchFile, Job
from annotator.pipeline import work

# Faults of a results file that are told; more are counted.
FAULTS_TOLD = 50


@dataclass
class _Faults:
    """What is wrong with a results file, line by line."""

    told: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0

    def add(self, line: int, name: str, reason: str) -> None:
        if len(self.told) < FAULTS_TOLD:
            self.told.append({"line": line, "field": name, "reason": reason})
        else:
            self.more += 1

    def refuse(self) -> None:
        """Raises StepRefused when there is any: a file is taken in whole or not at all."""
        if self.told:
            words = _("The results do not fit this file: nothing was stored. What has to be mended is listed.")
            raise work.StepRefused(words, errors=self.told, more=self.more)


def check(file: BatchFile, address: str) -> None:
    """Raises StepRefused with every fault of the file."""
    known = set(file.calls.values_list("pk", flat=True))
    faults, seen = _Faults(), {}  # type: ignore[var-annotated]
    with default_storage.open(address) as stored:
        for line, row in rows(stored):
            if not isinstance(row, dict):
                faults.add(line, "", _("is not a JSON object"))
                continue
            pk = number(row)
            if pk not in known:
                faults.add(line, "custom_id", _("is no call of this file"))
            elif pk in seen:
                faults.add(line, "custom_id", _("is also on line %(n)s") % {"n": seen[pk]})
            else:
                seen[pk] = line
                for name, reason in _faults_of(row):
                    faults.add(line, name, reason)
    faults.refuse()


def _faults_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and reason for what a result lacks."""
    said, error = row.get("response"), row.get("error")
    if error is not None and not isinstance(error, dict):
        yield "error", _("is neither null nor an object")
    if said is None and error is None:
        yield "response", _("is missing, and there is no error")
    elif said is not None and (not isinstance(said, dict) or not isinstance(said.get("status_code"), int)):
        yield "response.status_code", _("is no number")
    elif said is not None and said["status_code"] == 200 and not error:
        yield from _faults_of_body(said.get("body"))


def _faults_of_body(body: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(body, dict):
        yield "response.body", _("is not a chat completion")
        return
    choices = body.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("message")):
        yield "response.body.choices", _("has no message")
    usage = body.get("usage")
    tokens = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) and count >= 0 for count in tokens):
        yield "response.body.usage", _("does not tell the tokens, so the cost is not known")


def rows(stored: Any) -> Iterator[tuple[int, Any]]:
    """Line number and what the line holds; None for what is no JSON. Empty lines are left out."""
    for number, line in enumerate(stored, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError:
            yield number, None


def number(row: Mapping[str, Any]) -> int | None:
    word = row.get("custom_id")
    digits = word.removeprefix("call-") if isinstance(word, str) and word.startswith("call-") else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None


def remove_taken() -> int:
    """Remove uploads whose job has ended, however it ended: they hold texts and verdicts. Gives how many.

    Not before: a worker that dies between the two would leave a job that finds nothing to take in.
    """
    over = Job.objects.filter(kind=Job.Kind.LABEL, ended_at__isnull=False, parameters__has_key="results")
    found = list(over)
    for job in found:
        default_storage.delete(job.parameters.pop("results"))
        Job.objects.filter(pk=job.pk).update(parameters=job.parameters)
    return len(found)
