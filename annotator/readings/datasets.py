"""Data sets for their pages: versions with what their manifests say, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, Q
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from annotator.formats import WRITERS
from annotator.models import Dataset, Export, Job, Profile, Project, Push


def title(format: str) -> str:
    """What people call a format; its name when it is no longer there."""
    return str(import_string(WRITERS[format]).title) if format in WRITERS else format


def of(project: Project) -> list[Dataset]:
    """The project's data sets by name, each with `written`, `newest` (a version) and `written_at`."""
    finished = Q(versions__completed_at__isnull=False)
    return list(
        project.datasets.annotate(
            written=Count("versions", filter=finished),
            newest=Max("versions__version", filter=finished),
            written_at=Max("versions__completed_at"),
        ).order_by("name")
    )


@dataclass(frozen=True)
class Version:
    """One export of a data set. `facts`: (what, value) of its manifest; `job`: what writes it."""

    export: Export
    bytes: int
    files: int
    facts: list[tuple[str, str]]
    pushes: list[Push]
    job: Job | None


def versions(dataset: Dataset) -> list[Version]:
    """The newest first: those written, and those that a job still writes."""
    exports = list(dataset.versions.select_related("created_by").prefetch_related("pushes").order_by("-version"))
    written_by = _jobs(dataset.project_id, Job.Kind.EXPORT, "export", [export.pk for export in exports])
    found = []
    for export in exports:
        job = written_by.get(export.pk)
        if export.completed_at or job:
            pushes = [push for push in export.pushes.all() if push.completed_at]
            size = sum(file["bytes"] for file in export.files)
            facts = list(_facts(export.manifest)) if export.completed_at else []
            found.append(Version(export, size, len(export.files), facts, pushes, job))
    return found


def _jobs(project: int, kind: str, name: str, ids: list[int]) -> dict[int, Job]:
    """The newest job of a kind by what its parameter `name` points at."""
    jobs = Job.objects.filter(project=project, kind=kind, **{f"parameters__{name}__in": ids}).order_by("pk")
    return {job.parameters[name]: job for job in jobs}


def push_jobs(pushes: list[Push]) -> dict[int, Job]:
    """The newest job of each push."""
    if not pushes:
        return {}
    return _jobs(pushes[0].export.project_id, Job.Kind.PUSH, "push", [push.pk for push in pushes])


def pushes(export: Export) -> list[tuple[Push, Job | None]]:
    """Where it was pushed or is being pushed, the newest first, with the job of each."""
    found = list(export.pushes.select_related("export", "created_by").order_by("-pk"))
    jobs = push_jobs(found)
    return [(each, jobs.get(each.pk)) for each in found]


def published(export: Export) -> list[tuple[str, str]]:
    """(what, value) that somebody who publishes an export has to have seen: texts' licences, people, what is left."""
    facts = export.manifest
    counted = facts["counted"]
    consenting = Profile.objects.filter(
        rater__project=export.project_id, consented_at__isnull=False, withdrawn_at__isnull=True
    )
    found = [(what, value) for what, value in _facts(facts) if what in (_("comparisons"), _("judgments"))]
    for part, name in (("prompt", _("licences of prompts")), ("response", _("licences of responses"))):
        stated = counted.get("licences", {}).get(part, {})
        found.append((name, _counts({licence or _("not stated"): number for licence, number in stated.items()})))
    found.append((_("people, under pseudonyms"), str(counted["people"])))
    found.append((_("people who agreed to publish their profile"), str(consenting.count())))
    if facts["project"]["provenance"]:
        found.append((_("not collected in the field"), facts["project"]["provenance"]))
    return found


def differing(before: Export, after: Export) -> list[tuple[str, str, str]]:
    """(what, before, after) of every fact of the two manifests that is not the same."""
    old, new = dict(_facts(before.manifest)), dict(_facts(after.manifest))
    names = dict.fromkeys([*old, *new])
    return [(name, old.get(name, "–"), new.get(name, "–")) for name in names if old.get(name) != new.get(name)]


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a version came from, in words that can be compared."""
    counted, plan = manifest["counted"], manifest["plan"]
    yield _("comparisons"), str(sum(counted["comparisons_by_source"].values()))
    yield _("judgments"), _counts(counted["judgments_by_source"])
    yield _("people"), str(counted["people"])
    yield _("protocol versions"), ", ".join(str(each["version"]) for each in manifest["protocols"]) or "–"
    yield _("guidelines version"), str(manifest["guidelines"]["version"])
    yield _("AI labelers"), ", ".join(f"{each['name']} {each['digest'][:12]}" for each in manifest["labelers"]) or "–"
    yield _("plan"), str(plan["number"]) if plan else "–"
    yield _("performance model"), str(((plan or {}).get("performance_model") or {}).get("version") or "–")
    yield _("filters"), _chosen(manifest["filters"].get("chosen") or {})
    yield _("options"), _chosen(manifest["options"])
    yield _("left out"), _counts(manifest["filters"]["left_out"])
    yield _("price of a person's judgment"), f"{manifest['prices']['person_judgment']} {manifest['prices']['currency']}"
    yield _("costs"), _chosen(counted["cost_by_source"])
    for part, found in counted.get("licences", {}).items():
        name = _("licences of prompts") if part == "prompt" else _("licences of responses")
        yield name, _counts({licence or _("not stated"): number for licence, number in found.items()})
    yield _("software"), f"{manifest['software']['name']} {manifest['software']['version']}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "–"


def _chosen(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value not in (None, "", {}, [])) or "–"


def tables(before: Export, after: Export) -> list[tuple[str, str, int | None, int | None]]:
    """(config, split, rows before, rows after): what can be said of formats that do not name their comparisons."""
    old, new = _rows(before), _rows(after)
    return [(*key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]


def _rows(export: Export) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for file in export.manifest["files"]:
        key = (file["config"], file["split"])
        counts[key] = counts.get(key, 0) + file["rows"]
    return counts
