"""Data sets for their pages: versions with what their manifests say, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Max, Q
from django.utils.formats import number_format
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.formats import WRITERS, store
from annotator.models import Dataset, Export, Job, Project, Push
from annotator.readings import consent

# What was chosen, {name of an option or filter: value}, for people to read.
Said = Callable[[Mapping[str, Any]], str]


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
    """One export of a data set, without its manifest; `job`: what writes it."""

    export: Export
    bytes: int
    files: int
    pushes: list[Push]
    job: Job | None


def versions(dataset: Dataset, before: int | None, most: int) -> tuple[list[Version], int | None]:
    """Up to `most` versions, the newest first, older than `before`; and the version to go on before, None at the end.

    Those written, and those that a job still writes.
    """
    exports = dataset.versions.defer("manifest").select_related("created_by").prefetch_related("pushes")
    numbered = exports.filter(version__isnull=False)
    page = list((numbered if before is None else numbered.filter(version__lt=before)).order_by("-version")[: most + 1])
    shown = page[:most]
    if before is None:
        # They get their version when they are written.
        newer = exports.filter(version=None, number__gt=page[0].number if page else 0)
        shown = [*newer.order_by("-number")[:most], *shown]
    written_by = _jobs(dataset.project_id, Job.Kind.EXPORT, "export", [export.pk for export in shown])
    found = [_version(export, written_by.get(export.pk)) for export in shown]
    asked = [each for each in found if each.export.completed_at or (each.job and each.job.state != Job.State.DONE)]
    return asked, shown[-1].version if page[most:] else None


def _version(export: Export, job: Job | None) -> Version:
    pushes = [push for push in export.pushes.all() if push.completed_at]
    return Version(export, sum(file["bytes"] for file in export.files), len(export.files), pushes, job)


def facts_of(dataset: Dataset, version: int, said: Said) -> list[Fact]:
    """The facts of one version, its choices as `said` puts them; none where it is not there or not written."""
    export = dataset.versions.filter(version=version, completed_at__isnull=False).first()
    return [Fact(key, value) for key, value in facts(export.manifest, said).items()] if export else []


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


class Fact(NamedTuple):
    """What a version came from, `key` by `key`: templates/datasets/_fact.html has the words."""

    key: str
    value: str


class Difference(NamedTuple):
    key: str
    before: str
    after: str


def published(export: Export) -> list[Fact]:
    """What somebody who publishes an export has to have seen: texts' licences, people, what is left."""
    manifest = export.manifest
    known = facts(manifest)
    # Exports tell of licences since manifests have them.
    stated = [Fact(key, known.get(key, "–")) for key in ("licences_of_prompts", "licences_of_responses")]
    found = [Fact(key, known[key]) for key in ("comparisons", "judgments")] + stated
    found.append(Fact("people_by_pseudonym", known["people"]))
    found.append(Fact("profiles", str(len(consent.told(export)))))
    if manifest["project"]["provenance"]:
        found.append(Fact("provenance", manifest["project"]["provenance"]))
    return found


def differing(before: Export, after: Export, said: Said) -> list[Difference]:
    """Every fact of the two manifests that is not the same."""
    old, new = facts(before.manifest, said), facts(after.manifest, said)
    names = dict.fromkeys([*old, *new])
    return [Difference(key, old.get(key, "–"), new.get(key, "–")) for key in names if old.get(key) != new.get(key)]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value not in (None, "", {}, [])) or "–"


def facts(manifest: Mapping[str, Any], said: Said = _listed) -> dict[str, str]:
    """What a version came from, in values that can be compared; options and filters as `said` puts them."""
    counted, plan = manifest["counted"], manifest["plan"]
    versions = ", ".join(str(each["version"]) for each in manifest["protocols"])
    labelers = ", ".join(f"{each['name']} {each['digest'][:12]}" for each in manifest["labelers"])
    return {
        **_held(manifest),
        "protocols": versions or "–",
        "guidelines": str(manifest["guidelines"]["version"]),
        "labelers": labelers or "–",
        "plan": str(plan["number"]) if plan else "–",
        "performance_model": str(((plan or {}).get("performance_model") or {}).get("version") or "–"),
        "filters": said(manifest["filters"].get("chosen") or {}),
        "options": said(manifest["options"]),
        "left_out": _counts(manifest["filters"]["left_out"]),
        "price": f"{_price(manifest['prices']['person_judgment'])} {manifest['prices']['currency']}",
        "costs": _listed(counted["cost_by_source"]),
        **{f"licences_of_{part}s": _licences(found) for part, found in counted.get("licences", {}).items()},
        "software": f"{manifest['software']['name']} {manifest['software']['version']}",
    }


def _held(manifest: Mapping[str, Any]) -> dict[str, str]:
    """How much it holds. A lossless store is copied table by table, so its tables are counted."""
    counted = manifest["counted"]
    if manifest["format"] != store.FORMAT:
        return {
            "comparisons": _number(sum(counted["comparisons_by_source"].values())),
            "judgments": _counts(counted["judgments_by_source"]),
            "people": _number(counted["people"]),
        }
    rows = dict.fromkeys(("comparisons", "judgments", "raters"), 0)
    for file in manifest["files"]:
        if file["config"] in rows:
            rows[file["config"]] += file["rows"]
    raters = ngettext("%(n)s rater, a person or AI", "%(n)s raters, people and AI", rows["raters"])
    return {
        "comparisons": _number(rows["comparisons"]),
        "judgments": _number(rows["judgments"]),
        "people": raters % {"n": _number(rows["raters"])},
    }


def _price(text: str) -> str:
    """With two places at least, and no zeros beyond them."""
    places = -int(Decimal(text).normalize().as_tuple().exponent)
    return f"{Decimal(text):.{max(places, 2)}f}"


def _licences(found: Mapping[str, int]) -> str:
    return _counts({licence or _("not stated"): number for licence, number in found.items()})


def _number(value: int) -> str:
    return number_format(value, use_l10n=True, force_grouping=True)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {_number(number)}" for name, number in counts.items()) or "–"


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
