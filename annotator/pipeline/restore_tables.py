"""The tables of a lossless store on their way into a project: checked row by row, copied batch by batch, in order.

Ids of the store become those of the database as each batch is copied, so memory holds a batch, and of the whole store
only its raters, protocol versions and plans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any

import psycopg
from django.db import connection, models
from django.utils.timezone import now

from annotator.formats import store_rows
from annotator.formats.rows import RowInvalid
from annotator.formats.store import Beat, Store
from annotator.formats.store_rows import PERSON, Values
from annotator.models import (
    Candidate,
    Comparison,
    Judgment,
    Labeler,
    LabelerVersion,
    Plan,
    Project,
    Prompt,
    Protocol,
    Rater,
    Response,
    Route,
)

# Rows and characters of a batch.
BATCH, BATCH_SIZE = 2000, 16 * 2**20
# What memory holds of the whole store.
MOST_RATERS = 100_000
RECORDED = "recorded"
# Where people of a store come from; those without names need a source of their own each.
SOURCE = "restored"


class StoreInvalid(Exception):
    """A row that cannot be restored: its table, file, row and field."""

    def __init__(self, table: str, file: str, row: int, field_name: str, reason: str) -> None:
        super().__init__(f"table {table}, row {row}, {field_name}: {reason}")
        self.error = {"line": row, "field": field_name, "reason": reason, "file": f"{file}, {row}"}


@dataclass
class Restored:
    """The project being filled, and what rows of later tables point at."""

    project: Project
    counts: dict[str, int] = field(default_factory=dict)
    protocols: dict[int, int] = field(default_factory=dict)
    # Pseudonym -> (id, whether a person).
    raters: dict[str, tuple[int, bool]] = field(default_factory=dict)
    labelers: dict[str, Labeler] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    price: Decimal = Decimal(0)
    highest_guidelines: int = 0

    def plan(self, number: int) -> Plan:
        """A plan that is history; nothing is reserved for it."""
        if number not in self.plans:
            self.plans[number] = Plan.objects.create(
                project=self.project, number=number, status=Plan.Status.SUPERSEDED, strategy=SOURCE, budget=0
            )
        return self.plans[number]

    def labeler(self, name: str, kind: str = "") -> Labeler:
        """The labeler as recorded, so that nothing is asked; one of the name that the project had becomes it."""
        if name not in self.labelers:
            made = {"kind": RECORDED, "restored_kind": kind, "enabled": True, "credential": None}
            self.labelers[name], is_new = Labeler.objects.update_or_create(
                project=self.project, name=name, defaults=made
            )
            if not is_new:
                Rater.objects.filter(labeler_version__labeler=self.labelers[name]).delete()
                self.labelers[name].versions.all().delete()
        return self.labelers[name]


@dataclass(frozen=True)
class Placed:
    """A checked row, and where it stood."""

    file: str
    number: int
    values: Values


def restore(store: Store, restored: Restored, beat: Callable[[str, float], None]) -> None:
    """Copy every table, inside the caller's transaction. Raises StoreInvalid, FileInvalid, JobCancelled."""
    for table, take in STEPS:
        restored.counts[table] = 0
        for batch in _batches(store, table, lambda share, table=table: beat(table, share)):  # type: ignore[misc]
            take(restored, table, batch)
            restored.counts[table] += len(batch)
    _routed_labelers(restored)


def _batches(store: Store, table: str, beat: Beat) -> Iterator[list[Placed]]:
    batch: list[Placed] = []
    size = 0
    for file, (number, row) in store.rows(table, beat):
        try:
            if isinstance(row, RowInvalid):
                raise row
            batch.append(Placed(file, number, store_rows.checked(table, row)))
        except RowInvalid as invalid:
            raise StoreInvalid(table, file, number, invalid.field or "row", invalid.reason) from None
        size += sum(len(value) for value in batch[-1].values.values() if isinstance(value, str))
        if len(batch) == BATCH or size > BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _copy(model: type[models.Model], table: str, batch: Sequence[Placed], given: Sequence[Values]) -> None:
    """COPY one row of `model` for each of the batch, in order. What `given` does not name has its default.

    `given` holds what the columns hold: JSON as text, ids of other rows under the column's name ("prompt_id").
    """
    columns = [(str(each.column), _default(each)) for each in model._meta.concrete_fields if not each.primary_key]
    names = ", ".join(f'"{name}"' for name, _default in columns)
    with connection.cursor() as cursor:
        try:
            with cursor.copy(f"COPY {model._meta.db_table} ({names}) FROM STDIN") as copy:
                for values in given:
                    copy.write_row([values.get(name, default) for name, default in columns])
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise _refused(table, batch, error) from error


def _default(column: models.Field[Any, Any]) -> Any:
    if getattr(column, "auto_now_add", False):
        return now()
    return column.get_db_prep_save(column.get_default(), connection)


def _refused(table: str, batch: Sequence[Placed], error: psycopg.Error) -> StoreInvalid:
    """The row that the database would not take; what it says of it names our columns."""
    line = re.search(r"line (\d+)", error.diag.context or "")
    placed = batch[int(line[1]) - 1] if line else batch[0]
    names, words = UNIQUE.get(
        error.diag.constraint_name or "", ("row", f"cannot be stored: {error.diag.message_primary}")
    )
    return StoreInvalid(table, placed.file, placed.number, names, words)


UNIQUE = {
    "prompt_external_id_once": ("prompt_id", "is there twice"),
    "response_external_id_once": ("response_id", "is there twice for this prompt"),
    "comparison_external_id_once": ("comparison_id", "is there twice"),
    "candidate_place_once": ("further_response_ids", "are there twice"),
    "judgment_restored_once": ("judgment_id", "is there twice"),
    "judgment_revision_once": ("revision", "is there twice for this rater, comparison and round"),
    "judgment_one_current": ("is_current", "is true for two revisions of this rater, comparison and round"),
    "route_once_a_plan": ("comparison_id", "has two routes"),
}


def _found(table: str, placed: Placed, name: str, known: dict[Any, Any], key: Any, of: str) -> Any:
    """What a row of the store points at. Raises StoreInvalid when it is not there."""
    if key not in known:
        shown = key[1] if isinstance(key, tuple) else key
        raise StoreInvalid(table, placed.file, placed.number, name, f"{shown!r} is in no row of the table {of}")
    return known[key]


def _protocols(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    """In place of what a project without comparisons asked for: nobody has answered it."""
    if not restored.protocols:
        restored.project.protocols.all().delete()
    for placed in batch:
        version = placed.values["version"]
        if version in restored.protocols:
            raise StoreInvalid(table, placed.file, placed.number, "version", "is there twice")
        _copy(Protocol, table, [placed], [{**placed.values, "project_id": restored.project.pk}])
        restored.protocols[version] = restored.project.protocols.get(version=version).pk


def _raters(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    names = [placed.values["rater"] for placed in batch]
    members = Rater.objects.people().filter(project=restored.project, pseudonym__in=names)
    taken = set(members.values_list("pseudonym", flat=True)) - restored.raters.keys()
    for placed in batch:
        values = placed.values
        if values["rater"] in taken:
            reason = "is what exports of this project call one of its members; restore it in a new project"
            raise StoreInvalid(table, placed.file, placed.number, "rater", reason)
        if values["rater"] in restored.raters:
            raise StoreInvalid(table, placed.file, placed.number, "rater", "is there twice")
        if len(restored.raters) == MOST_RATERS:
            raise StoreInvalid(table, placed.file, placed.number, "rater", f"is beyond the {MOST_RATERS:,} allowed")
        is_person = values["kind"] == PERSON
        made = _person(restored, values) if is_person else _version(restored, table, placed)
        rater = Rater.objects.create(project=restored.project, kind=values["kind"], **made)
        restored.raters[values["rater"]] = rater.pk, is_person


def _person(restored: Restored, values: Values) -> dict[str, Any]:
    name = values["rater"]
    known = {"pseudonym": name, "was_expert": values["is_expert"]}
    if values["is_anonymous"]:
        return {**known, "source": f"{SOURCE} {name}", "external_id": ""}
    return {**known, "source": SOURCE, "external_id": name}


def _version(restored: Restored, table: str, placed: Placed) -> dict[str, Any]:
    values = placed.values
    labeler = restored.labeler(values["labeler"], values["labeler_kind"])
    if labeler.restored_kind != values["labeler_kind"]:
        reason = f"is not that of its other versions, {labeler.restored_kind!r}"
        raise StoreInvalid(table, placed.file, placed.number, "labeler_kind", reason)
    version = LabelerVersion(
        labeler=labeler,
        digest=values["digest"],
        parameters=json.loads(values["parameters"]),
        accepted_at=(values["accepted_at"] or now()) if values["is_accepted"] else None,
        # What nobody took into use there is not offered here.
        discarded_at=None if values["is_accepted"] else now(),
    )
    version.save()
    return {"labeler_version": version}


def _prompts(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    _copy(Prompt, table, batch, [{**placed.values, "project_id": restored.project.pk} for placed in batch])


def _responses(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    prompts = _prompt_ids(restored.project, {placed.values["prompt_id"] for placed in batch})
    given = [
        {**placed.values, "prompt_id": _found(table, placed, "prompt_id", prompts, placed.values["prompt_id"], PROMPTS)}
        for placed in batch
    ]
    _copy(Response, table, batch, given)


PROMPTS, RESPONSES, COMPARISONS = "prompts", "responses", "comparisons"


def _comparisons(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    prompts = _prompt_ids(restored.project, {placed.values["prompt_id"] for placed in batch})
    responses = _response_ids(prompts, batch)
    made, candidates = [], []
    for nth, placed in enumerate(batch, restored.counts[table] + 1):
        values = dict(placed.values)
        prompt = values["prompt_id"] = _found(table, placed, "prompt_id", prompts, values["prompt_id"], PROMPTS)
        for name in ("response_a_id", "response_b_id"):
            values[name] = _found(table, placed, name, responses, (prompt, values[name]), RESPONSES)
        further = [
            _found(table, placed, "further_response_ids", responses, (prompt, key), RESPONSES)
            for key in values.pop("further")
        ]
        candidates += [(placed, place, response) for place, response in enumerate(further, 2)]
        own = {"project_id": restored.project.pk, "candidates_count": len(further), "queue_order": nth}
        made.append({**values, **own})
    _copy(Comparison, table, batch, made)
    _candidates(restored.project, table, candidates)


def _candidates(project: Project, table: str, candidates: list[tuple[Placed, int, int]]) -> None:
    """(row of the comparison, place, id of the response) of those that are ranked with A and B."""
    ids = _comparison_ids(project, {placed.values["external_id"] for placed, *_rest in candidates})
    given = [
        {"comparison_id": ids[placed.values["external_id"]], "place": place, "response_id": response}
        for placed, place, response in candidates
    ]
    if given:
        _copy(Candidate, table, [placed for placed, *_rest in candidates], given)


def _routes(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    comparisons = _comparison_ids(restored.project, {placed.values["comparison_id"] for placed in batch})
    given = []
    for placed in batch:
        values = dict(placed.values)
        comparison = _found(table, placed, "comparison_id", comparisons, values["comparison_id"], COMPARISONS)
        plan = restored.plan(values.pop("plan"))
        if len(restored.plans) > 1:
            raise StoreInvalid(table, placed.file, placed.number, "plan", "is another: only one plan is approved")
        labeler = None if values["source"] == Route.PEOPLE else restored.labeler(values["source"]).pk
        restored.price += values["price"]
        given.append({**values, "comparison_id": comparison, "plan_id": plan.pk, "labeler_id": labeler})
    _copy(Route, table, batch, given)
    Plan.objects.filter(project=restored.project).update(
        status=Plan.Status.APPROVED, approved_at=now(), budget=restored.price, cost=restored.price
    )


def _judgments(restored: Restored, table: str, batch: Sequence[Placed]) -> None:
    comparisons = _comparison_ids(restored.project, {placed.values["comparison_id"] for placed in batch})
    given = []
    for placed in batch:
        values = dict(placed.values)
        comparison = _found(table, placed, "comparison_id", comparisons, values["comparison_id"], COMPARISONS)
        rater, is_person = _found(table, placed, "rater", restored.raters, values.pop("rater"), "raters")
        if is_person != (values.pop("rater_kind") == PERSON):
            raise StoreInvalid(table, placed.file, placed.number, "rater_kind", "is not that of the table raters")
        protocol, plan = values.pop("protocol_version"), values.pop("plan")
        if protocol is not None:
            protocol = _found(table, placed, "protocol_version", restored.protocols, protocol, "protocols")
        restored.highest_guidelines = max(restored.highest_guidelines, values["guidelines_version"] or 0)
        own = {"project_id": restored.project.pk, "comparison_id": comparison, "rater_id": rater}
        plan_id = None if plan is None else restored.plan(plan).pk
        given.append({**values, **own, "protocol_id": protocol, "plan_id": plan_id})
    _copy(Judgment, table, batch, given)


# Later tables point at earlier ones. Labels are counted anew (`pipeline.aggregate`).
STEPS: tuple[tuple[str, Callable[[Restored, str, Sequence[Placed]], None]], ...] = (
    ("protocols", _protocols),
    ("raters", _raters),
    (PROMPTS, _prompts),
    (RESPONSES, _responses),
    (COMPARISONS, _comparisons),
    ("routes", _routes),
    ("judgments", _judgments),
)


def _routed_labelers(restored: Restored) -> None:
    """Labelers of the plan that have judged nothing get the version that recorded ones have."""
    for name, labeler in restored.labelers.items():
        if not labeler.versions.exists():
            digest = sha256(f"recorded:{name}".encode()).hexdigest()
            version = LabelerVersion.objects.create(labeler=labeler, digest=digest, parameters={"judge": name})
            Rater.objects.create(project=restored.project, kind=Rater.Kind.LABELER, labeler_version=version)


def _prompt_ids(project: Project, keys: set[str]) -> dict[str, int]:
    return dict(Prompt.objects.filter(project=project, external_id__in=keys).values_list("external_id", "pk"))


def _comparison_ids(project: Project, keys: set[str]) -> dict[str, int]:
    return dict(Comparison.objects.filter(project=project, external_id__in=keys).values_list("external_id", "pk"))


def _response_ids(prompts: dict[str, int], batch: Sequence[Placed]) -> dict[tuple[int, str], int]:
    """Ids of the responses that comparisons name, by prompt and name."""
    asked = [
        (prompts[placed.values["prompt_id"]], key)
        for placed in batch
        if placed.values["prompt_id"] in prompts
        for key in _named(placed.values)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.prompt_id, r.external_id, r.id FROM unnest(%s::bigint[], %s::text[]) asked(prompt_id, key)"
            " JOIN annotator_response r ON r.prompt_id = asked.prompt_id AND r.external_id = asked.key",
            [[prompt for prompt, _key in asked], [key for _prompt, key in asked]],
        )
        return {(prompt, key): pk for prompt, key, pk in cursor.fetchall()}


def _named(values: Values) -> list[str]:
    return [values["response_a_id"], values["response_b_id"], *values["further"]]
