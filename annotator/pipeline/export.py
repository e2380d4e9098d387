"""Labels and judgments become a data set: files in storage, with a card and a manifest, complete or not there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import Max
from django.utils.module_loading import import_string
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.formats import WRITERS
from annotator.formats.card import card
from annotator.formats.croissant import croissant
from annotator.formats.source import Filters, FormatUnfit, Options, Writer, read_filters, read_options
from annotator.formats.tables import CONTAINERS, Written, sha256_of
from annotator.models import Dataset, Export, Import, Job, Profile, Project, Recipe, User, Webhook
from annotator.pipeline import parts, storing, webhooks, work
from annotator.readings.manifest import digest, manifest
from annotator.readings.snapshot import Snapshot
from annotator.readings.wanted import votes_wanted

logger = logging.getLogger(__name__)

# How often an export is written anew because what it was written by has changed meanwhile: consent, votes
# wanted, versions of its data set.
TIMES = 5
# How far is counted what filters leave out.
COUNTED = 100_000


class Unchanged(work.StepRefused):
    """There is nothing that the version before does not have, byte for byte."""


class Outdated(Exception):
    """What was written must not be published as it is; written anew it may be."""


def writer_for(project: Project, format: str, options: Options) -> Writer:
    """The writer of a format for the project's protocol. Raises StepRefused when the two do not fit."""
    if format not in WRITERS:
        raise work.StepRefused(f"format: {format!r} is none of {', '.join(WRITERS)}")
    definition = protocols.read(project.protocol.definition)
    try:
        return import_string(WRITERS[format])(definition, options)
    except FormatUnfit as reason:
        raise work.StepRefused(str(reason)) from None


def request_export(
    project: Project,
    format: str,
    container: str,
    recipe: Recipe,
    options: Mapping[str, Any],
    by: User | None,
    filters: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
) -> tuple[Export, Job]:
    """Ask for an export, the next version of `dataset` if one is given; asking twice before it has run asks once.

    Raises StepRefused, and stores nothing, when the format does not fit the project's protocol or an option is wrong.
    """
    chosen = _checked(project, format, container, recipe, options, filters or {})
    asked = {**chosen, "recipe": recipe.pk, "dataset": dataset and dataset.pk}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        # Numbers follow each other: one request at a time in a project.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if job := Job.objects.asked_already(project, Job.Kind.EXPORT, key):
            return Export.objects.get(pk=job.parameters["export"]), job
        number = (project.exports.aggregate(last=Max("number"))["last"] or 0) + 1
        export = project.exports.create(number=number, recipe=recipe, dataset=dataset, created_by=by, **chosen)
        job = Job.objects.request(project, Job.Kind.EXPORT, key=key, by=by, export=export.pk)
        transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.EXPORT]))
    return export, job


def _checked(
    project: Project,
    format: str,
    container: str,
    recipe: Recipe,
    options: Mapping[str, Any],
    filters: Mapping[str, Any],
) -> dict[str, Any]:
    """What an export's row says of how it is written, with every option and filter. Raises StepRefused."""
    try:
        checked, chosen = read_options(options), read_filters(filters)
    except ValueError as error:
        raise work.StepRefused(str(error)) from None
    if recipe.project_id != project.pk:
        raise work.StepRefused("recipe: it belongs to another project")
    writer = writer_for(project, format, checked)
    _check_container(writer, container)
    _check_filters(project, writer, chosen)
    return {
        **{"format": format, "container": container},
        **{"options": checked.as_dict(), "filters": chosen.as_dict()},
    }


def _check_container(writer: Writer, container: str) -> None:
    if container not in CONTAINERS:
        raise work.StepRefused(f"file type: {container!r} is none of {', '.join(CONTAINERS)}")
    if container not in writer.containers:
        readable = " or ".join(writer.containers)
        raise work.StepRefused(f"file type: {writer.title} is read as {readable}, not as {container}")


def _check_filters(project: Project, writer: Writer, filters: Filters) -> None:
    if writer.is_lossless and filters != Filters():
        raise work.StepRefused(f"filters: {writer.title} holds everything and takes none; choose another format")
    if filters.plan is not None and not project.plans.filter(number=filters.plan).exists():
        raise work.StepRefused(f"plan: this project has no plan {filters.plan}")
    if filters.protocol is not None and not project.protocols.filter(version=filters.protocol).exists():
        raise work.StepRefused(f"protocol: this project has no version {filters.protocol} of its protocol")


def _next_version(dataset: Dataset) -> int:
    """Versions are counted as they are published, so that there are no holes."""
    return (dataset.versions.aggregate(last=Max("version"))["last"] or 0) + 1


def write_export(export: Export, job: Job | None = None) -> Export:
    """Write the export's files and publish them together; a finished export is left as it is.

    Until the end nothing is in storage and nothing can be downloaded; a run that died is gone on with
    (`pipeline.parts`). Raises StepRefused when there is nothing to write, JobCancelled when cancelled.
    """
    export.refresh_from_db()
    if export.completed_at:
        return export
    make = partial(writer_for, export.project, export.format, read_options(export.options))
    with parts.aside(export, job) as aside:
        for _time in range(TIMES):
            try:
                _write(export, aside, make, job)
            except Outdated as reason:
                logger.info("%s is written anew: %s", export, reason)
                (aside / "checkpoint.json").unlink(missing_ok=True)
            else:
                return export
        raise work.StepRefused(_("What may be published changed again and again while it was written. Ask again."))


def _write(export: Export, aside: Path, make: Callable[[], Writer], job: Job | None) -> None:
    """Raises as `write_export` does, and Outdated."""
    begun = parts.Parts.begin(export, aside, make, job)
    files = begun.write(job)
    writer = make()
    writer.left_out.update(begun.left_out)
    _refuse_empty(export, files, writer)
    _refuse_unchanged(export, files)
    if export.dataset:
        export.version = _next_version(export.dataset)
    folder = aside / "set"
    facts = manifest(export, begun.snapshot, writer, read_options(export.options), files)
    _add_extra(folder, writer, files)
    _write_json(folder / "manifest.json", facts)
    _write_json(folder / "croissant.json", croissant(facts, writer))
    (folder / "README.md").write_text(card(facts, writer))
    _publish(export, folder, begun.snapshot, files, facts, job)


def _refuse_empty(export: Export, files: list[Written], writer: Writer) -> None:
    # The lossless store always has tables such as the protocol's; without judgments it is still empty.
    main = writer.configs[0].name
    if any(file.config == main for file in files) or (files and not writer.is_lossless):
        return
    reasons = [f"{number:,} × {reason}" for reason, number in sorted(writer.left_out.items())]
    if read_filters(export.filters) != Filters() and (number := _without_filters(export)):
        more = "more than " if number == COUNTED else ""
        reasons.append(f"by the filters, without which {more}{number:,} comparisons could go out")
    raise work.StepRefused(
        f"There is nothing to export. Left out: {'; '.join(reasons)}."
        if reasons
        else "There is nothing to export yet: no comparison has a judgment that this recipe counts."
    )


def _without_filters(export: Export) -> int:
    assert export.recipe is not None
    return Snapshot.about(export.project, export.recipe, Filters(), COUNTED)


def _refuse_unchanged(export: Export, files: list[Written]) -> None:
    """A data set gets no version with the bytes of the one before."""
    if export.dataset is None:
        return
    before = export.dataset.versions.filter(completed_at__isnull=False).order_by("version").last()
    if before and before.sha256 == digest(files):
        reason = _("Nothing has changed since version %(n)s; no new one was written.") % {"n": before.version}
        raise Unchanged(reason, export=export.number, unchanged_since=before.version)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _add_extra(folder: Path, writer: Writer, files: list[Written]) -> None:
    """The files that the format's trainer wants beside the data, such as LLaMA-Factory's `dataset_info.json`."""
    written: dict[str, list[str]] = {}
    for file in files:
        written.setdefault(file.config, []).append(file.name)
    for name, text in writer.files(written).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _publish(
    export: Export, folder: Path, snapshot: Snapshot, files: list[Written], facts: dict[str, Any], job: Job | None
) -> None:
    """Put the folder into storage under an address of its own content, then show it: the row is what makes it so.

    Raises Outdated, and then nothing is shown and nothing stays in storage.
    """
    main = next(name for name in facts["configs"] if any(file.config == name for file in files))
    with storing.storing(export, job) as shelf:
        stored = [
            {**facts, "address": shelf.put(address, path)}
            for address, path, facts in _to_store(export, folder, snapshot, files, job)
        ]
        with transaction.atomic():
            _still_wanted(snapshot)
            _still_said(snapshot)
            _still_agreed(snapshot)
            _still_next(export)
            Export.objects.filter(pk=export.pk, completed_at=None).update(
                version=export.version,
                files=stored,
                manifest=facts,
                sha256=digest(files),
                rows=sum(file.rows for file in files if file.config == main),
                completed_at=now(),
            )
            export.refresh_from_db()
            _announce(export, job)
            if job:
                job.still_mine()


def _to_store(
    export: Export, folder: Path, snapshot: Snapshot, files: list[Written], job: Job | None
) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(address, path, what the export's row says of it) of each file, with a sign of life before each."""
    known = {file.name: file for file in files}
    base = storing.folder(export, sha256_of(folder / "manifest.json"))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if job:
            job.beat(snapshot.passed, snapshot.passed, "storing")
        name = path.relative_to(folder).as_posix()
        facts = {
            "name": name,
            "bytes": path.stat().st_size,
            "sha256": known[name].sha256 if name in known else sha256_of(path),
            "rows": known[name].rows if name in known else None,
        }
        yield f"{base}/{name}", path, facts


def _still_agreed(snapshot: Snapshot) -> None:
    """Raises Outdated when somebody whose profile was written has withdrawn it; until the commit nobody can."""
    told = snapshot.tally.profiles
    if not told:
        return
    agreed = Profile.objects.agreed().filter(rater__in=told, consented_at__lte=snapshot.seen)
    still = set(agreed.order_by("pk").select_for_update().values_list("rater_id", flat=True))
    if still != told:
        raise Outdated("consent was withdrawn")


def _still_wanted(snapshot: Snapshot) -> None:
    """Raises Outdated when other votes are wanted now than when it began: its parts may have read either."""
    if snapshot.wanted and snapshot.wanted != votes_wanted(snapshot.project.pk, snapshot.last["comparisons"]):
        raise Outdated("other votes are wanted")


def _still_said(snapshot: Snapshot) -> None:
    """Raises Outdated when an import has told more of comparisons that were there, which filters may ask about."""
    later = Import.objects.filter(project=snapshot.project, pk__gt=snapshot.last_import, report__supplemented__gt=0)
    if snapshot.filters.metadata and later.exists():
        raise Outdated("metadata were added")


def _still_next(export: Export) -> None:
    """Raises Outdated when its data set got a version meanwhile; until the commit it gets none."""
    if export.dataset_id is None:
        return
    dataset = Dataset.objects.select_for_update(no_key=True).get(pk=export.dataset_id)
    if _next_version(dataset) != export.version:
        raise Outdated("the data set got a version")


def _announce(export: Export, job: Job | None) -> None:
    data = {
        **{"export": export.number, "dataset": export.dataset_id, "version": export.version, "rows": export.rows},
        **{"sha256": export.sha256, "job": job and job.pk},
        "url": f"/api/v1/projects/{export.project_id}/exports/{export.number}",
    }
    webhooks.announce(export.project, Webhook.Event.EXPORTED, data)


def _export_job(job: Job) -> work.Done:
    export = Export.objects.select_related("project", "recipe").get(pk=job.parameters["export"])
    try:
        write_export(export, job)
    except Unchanged as same:
        # Its row stays, because a number that was told to somebody must never be another export's.
        return work.Done(str(same), same.result)
    return work.Done(f"export {export.number}: {export.rows:,} rows", {"export": export.number})


@shared_task(name=work.TASKS[Job.Kind.EXPORT])
def run_exports() -> int:
    """Write the exports that were asked for."""
    return work.work(Job.Kind.EXPORT, _export_job)
