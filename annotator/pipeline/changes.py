"""Changes: two versions of a data set compared by a worker, once; exports never change, so neither does the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celery import shared_task
from django.db import transaction
from django.utils.translation import gettext as _

from annotator import stored
from annotator.formats import changes
from annotator.models import Export, Job, User
from annotator.pipeline import work

# The table of the lossless store that says what became of each comparison.
LABELS = "labels"


def request_changes(before: Export, after: Export, by: User | None) -> Job:
    """Ask for the changes between two finished versions of one data set; what is known is not computed again.

    Raises StepRefused when the two cannot be compared.
    """
    if before.dataset_id is None or before.dataset_id != after.dataset_id or before.pk == after.pk:
        raise work.StepRefused(_("Choose two versions of one data set."))
    if not before.completed_at or not after.completed_at:
        raise work.StepRefused(_("One of these versions is not written yet."))
    if done := known(before, after):
        return done
    job = Job.objects.ask(
        before.project, Job.Kind.CHANGES, key=_key(before, after), by=by, before=before.pk, after=after.pk
    )
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.CHANGES]))
    return job


def known(before: Export, after: Export) -> Job | None:
    """The finished job that compared these two."""
    return _jobs(before, after).filter(state=Job.State.DONE).last()


def latest(before: Export, after: Export) -> Job | None:
    """The newest job that compares these two, whatever became of it."""
    return _jobs(before, after).last()


def _jobs(before: Export, after: Export) -> Any:
    same = {"project": before.project_id, "kind": Job.Kind.CHANGES, "key": _key(before, after)}
    return Job.objects.filter(**same).order_by("pk")


def _key(before: Export, after: Export) -> str:
    return f"{before.pk}-{after.pk}"


def main_table(export: Export) -> list[dict[str, Any]]:
    """The manifest's files of the table whose rows are compared: labels where there are any, else the first."""
    files = export.manifest["files"]
    names = [name for name in export.manifest["configs"] if any(file["config"] == name for file in files)]
    main = LABELS if LABELS in names else names[0]
    return [file for file in files if file["config"] == main]


def compare(before: Export, after: Export, job: Job | None = None) -> changes.Changes:
    """The changes between two exports; without a column that names comparisons only an empty `key`."""
    with contextlib.ExitStack() as stack:
        old, new = ([*_local(stack, export)] for export in (before, after))
        key = changes.key_of(old[0])
        if not key or key != changes.key_of(new[0]):
            return changes.Changes()
        # Each is read twice: for digests, and for examples.
        total = 2 * sum(file["rows"] for export in (before, after) for file in main_table(export))
        return changes.compare(old, new, key, lambda rows: job.beat(rows, total) if job else None)


def _local(stack: contextlib.ExitStack, export: Export) -> Sequence[Path]:
    addresses = {file["name"]: file["address"] for file in export.files}
    return [stack.enter_context(stored.local(addresses[file["name"]])) for file in main_table(export)]


def _changes_job(job: Job) -> work.Done:
    asked = [job.parameters[name] for name in ("before", "after")]
    exports = Export.objects.filter(project=job.project_id).in_bulk(asked)
    before, after = (exports.get(pk) for pk in asked)
    if before is None or after is None:
        raise work.StepRefused(_("One of the two versions is gone."))
    found = compare(before, after, job)
    words = _("%(added)s added, %(removed)s removed, %(changed)s changed") % vars(found)
    return work.Done(words, asdict(found))


@shared_task(name=work.TASKS[Job.Kind.CHANGES])
def run_changes() -> int:
    """Compare the versions that were asked for."""
    return work.work(Job.Kind.CHANGES, _changes_job)
