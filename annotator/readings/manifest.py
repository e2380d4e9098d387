"""The facts that travel with an export: enough to say years later what was exported, from what and how."""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cache
from typing import Any

import pyarrow as pa
from django.conf import settings
from django.db.models import Count, Min, Q, Sum

from annotator import money
from annotator.formats.source import Options, Writer
from annotator.formats.tables import Written
from annotator.models import Export, Import, LabelerVersion, PerformanceModel, Plan, Protocol, Rater
from annotator.readings.raters import pseudonym, public
from annotator.readings.snapshot import Snapshot

MANIFEST_VERSION = 3
# Files that are listed one by one.
LISTED = 200


@cache
def software_version() -> str:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def digest(files: list[Written]) -> str:
    """One hash for a file set: equal exactly when names and bytes of all data files are."""
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(lines.encode()).hexdigest()


def manifest(
    export: Export, snapshot: Snapshot, writer: Writer, options: Options, files: list[Written]
) -> dict[str, Any]:
    """Everything in JSON types. Of unchanged data only `snapshot`, `export` and `dataset` differ in two exports."""
    return {
        **_identity(export),
        **_choices(export, snapshot, writer, options),
        **_inputs(snapshot),
        **_origins(snapshot),
        "counted": _counted(snapshot),
        "configs": [config.name for config in writer.configs],
        "files": [vars(file) for file in files],
        "data_sha256": digest(files),
    }


def _identity(export: Export) -> dict[str, Any]:
    """Which export of which project this is, and what wrote it."""
    project = export.project
    return {
        "manifest_version": MANIFEST_VERSION,
        "software": {"name": "Switchyard", "version": software_version(), "pyarrow": pa.__version__},
        "project": {"name": project.name, "provenance": project.provenance, "currency": project.currency},
        "export": export.number,
        "dataset": export.dataset and {"name": export.dataset.name, "version": export.version},
    }


def _choices(export: Export, snapshot: Snapshot, writer: Writer, options: Options) -> dict[str, Any]:
    """What was asked for, and what that left out."""
    return {
        "format": export.format,
        "container": export.container,
        "options": {name: value for name, value in options.as_dict().items() if name in writer.heeds},
        "recipe": _recipe(snapshot),
        "filters": {
            "judgments": "current revisions whose undo window was over",
            "chosen": snapshot.filters.chosen(),
            # {votes: comparisons that want so many}, where the filter `settled` held people's judgments against it.
            **_wanted(snapshot),
            "left_out": _sorted(writer.left_out),
        },
    }


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _wanted(snapshot: Snapshot) -> dict[str, Any]:
    counts = {votes: number for votes, (number, _sign) in snapshot.wanted.items()}
    return {"votes_wanted": counts} if counts else {}


def _recipe(snapshot: Snapshot) -> dict[str, Any]:
    recipe = snapshot.recipe
    return {"name": recipe.name, "version": recipe.version, "source": recipe.source, "method": recipe.method}


def _inputs(snapshot: Snapshot) -> dict[str, Any]:
    """The files that came into the project, the first `LISTED` each with the hash of its content.

    The others, and what came through the program interface batch by batch, are counted, with one hash over theirs.
    """
    columns = ("filename", "origin", "format", "sha256", "bytes", "rows")
    imports = Import.objects.filter(project=snapshot.project, pk__lte=snapshot.last_import).order_by("pk")
    files = imports.exclude(filename=Import.PROGRAM)[:LISTED]
    listed = list(files.values_list("pk", flat=True))
    others = imports.exclude(pk__in=listed)
    hashes = hashlib.sha256()
    for sha256 in others.values_list("sha256", flat=True).iterator():
        hashes.update(f"{sha256}\n".encode())
    counted = others.order_by().aggregate(number=Count("pk"), rows=Sum("rows"), bytes=Sum("bytes"))
    return {
        "inputs": list(files.values(*columns)),
        "further_inputs": {**counted, "sha256_of_sha256": hashes.hexdigest()} if counted["number"] else None,
    }


def _origins(snapshot: Snapshot) -> dict[str, Any]:
    """The moment, and the versions under which counted judgments came about at that moment, with their prices."""
    project = snapshot.project
    return {
        "snapshot": {"seen": snapshot.seen.isoformat(), "last_ids": snapshot.last},
        "protocols": _protocols(snapshot),
        "guidelines": _guidelines(snapshot),
        "labelers": _labelers(snapshot),
        "plan": _plan(snapshot.plan_id),
        "prices": {"person_judgment": money.plain(project.price_per_judgment), "currency": project.currency},
    }


def _guidelines(snapshot: Snapshot) -> dict[str, Any]:
    """The version in force, and those that counted judgments answered (none where their source does not say)."""
    project = snapshot.project
    answered = project.guidelines_versions.filter(version__in=snapshot.tally.guidelines).order_by("version")
    texts = {version.version: version.text for version in answered}
    if project.guidelines_version in snapshot.tally.guidelines:
        texts[project.guidelines_version] = project.guidelines
    return {
        "version": project.guidelines_version,
        "sha256": _text_hash(project.guidelines),
        "answered": [{"version": version, "sha256": _text_hash(text)} for version, text in sorted(texts.items())],
    }


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _protocols(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The versions that counted judgments answered."""
    answered = Protocol.objects.filter(pk__in=snapshot.tally.protocols).order_by("version")
    return [
        {
            "version": each.version,
            "preset": each.preset,
            "definition": each.definition,
            "sha256": _hash(each.definition),
        }
        for each in answered
    ]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _labelers(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The exact versions of AI labelers whose judgments counted."""
    versions = LabelerVersion.objects.filter(pk__in=snapshot.tally.versions).select_related("labeler").order_by("pk")
    return [
        {
            "name": version.labeler.name,
            "kind": version.labeler.kind,
            "digest": version.digest,
            "parameters": public(version.parameters),
            "price_per_call": money.plain(version.labeler.price_per_call),
            "price_per_million_input": money.plain(version.labeler.price_per_million_input),
            "price_per_million_output": money.plain(version.labeler.price_per_million_output),
        }
        for version in versions
    ]


def _plan(plan_id: int | None) -> dict[str, Any] | None:
    """The approved plan the routed recipe followed."""
    plan = Plan.objects.filter(pk=plan_id or 0).select_related("performance_model__feature_set").first()
    if plan is None:
        return None
    return {
        "number": plan.number,
        "strategy": plan.strategy,
        "budget": money.plain(plan.budget),
        "cost": money.plain(plan.cost),
        "seed": plan.seed,
        # Comparisons drawn at random for people, and the least chance with which any route was drawn.
        "routes": plan.routes.aggregate(
            all=Count("pk"), control=Count("pk", filter=Q(is_control=True)), least_propensity=Min("propensity")
        ),
        "performance_model": plan.performance_model and _performance_model(plan.performance_model),
    }


def _performance_model(model: PerformanceModel) -> dict[str, Any]:
    return {
        "version": model.version,
        "kind": model.kind,
        "sha256": model.artifact_sha256,
        "seed": model.seed,
        "feature_set": {"version": model.feature_set.version, "digest": model.feature_set.digest},
    }


def _profiles(snapshot: Snapshot) -> list[str]:
    """Pseudonyms of the people in the data of whom it may tell what they said of themselves."""
    told = Rater.objects.filter(pk__in=snapshot.tally.profiles & snapshot.tally.people)
    return sorted(pseudonym(rater) for rater in told.select_related("labeler_version__labeler"))


def _counted(snapshot: Snapshot) -> dict[str, Any]:
    tally = snapshot.tally
    return {
        "comparisons_by_source": _sorted(tally.comparisons),
        "judgments_by_source": _sorted(tally.votes),
        # Of the lossless store: all in its table, whatever the recipe of its labels counts.
        **({"held_by_source": _sorted(tally.held)} if tally.held else {}),
        "cost_by_source": {name: money.plain(cost.normalize()) for name, cost in sorted(tally.cost.items())},
        "people": len(tally.people),
        # Who would have to agree for this export to be published; see `readings.consent`.
        "profiles": _profiles(snapshot),
        "languages": dict(tally.languages.most_common()),
        "licences": {
            part: {name: number for (of, name), number in tally.licences.most_common() if of == part}
            for part in ("prompt", "response")
        },
        "imported_judgments_of_people": tally.imported,
        "pairs_of_people": tally.pairs,
        "agreeing_pairs": tally.agreeing,
    }
