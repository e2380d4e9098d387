"""Record: judgments that were made elsewhere, of comparisons that are here already, come in as a file's do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.formats.entries import Way
from annotator.models import Comparison, Project, User
from annotator.pipeline import ingest, work
from annotator.pipeline.ingest_report import Errors, IngestReport
from annotator.pipeline.ingest_tables import PATIENCE

# Comparisons read at a time.
CHUNK = 500


def record(project: Project, rows: Sequence[dict[str, Any]], by: User | None = None) -> IngestReport:
    """Store `rows`, each a judgment of docs/formats.md with a comparison's external id in `comparison`.

    All of them, or nothing: raises StepRefused with result {"errors": [{"line", "field", "reason"}], "more": n}, where
    `line` is the place in `rows`, from 1.
    """
    places = _places(rows)
    with tempfile.NamedTemporaryFile(mode="w", suffix=".jsonl", encoding="utf-8") as file:
        for row in _whole_rows(project, rows, places):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        coming = ingest.Coming(Path(file.name), "judgments", Way("native"), by=by)
        try:
            return ingest.take_in(project, coming, patience=PATIENCE)
        except work.StepRefused as refusal:
            raise _by_row(refusal, list(places.values())) from None


def _places(rows: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """{external id: places of its judgments in `rows`, from 1}."""
    places: dict[str, list[int]] = {}
    odd = []
    for place, row in enumerate(rows, 1):
        named = row.get("comparison")
        if isinstance(named, str) or (isinstance(named, int) and not isinstance(named, bool)):
            places.setdefault(str(named), []).append(place)
        else:
            odd.append(place)
    _refuse(odd, "needs the external id of the comparison that was judged")
    return places


def _whole_rows(project: Project, rows: Sequence[dict[str, Any]], places: dict[str, list[int]]) -> Any:
    """One row of Switchyard's own shape for each comparison, with its judgments."""
    names = list(places)
    found: dict[str, Comparison] = {}
    for start in range(0, len(names), CHUNK):
        known = project.comparisons.filter(external_id__in=names[start : start + CHUNK])
        known = known.select_related("prompt", "response_a", "response_b").prefetch_related("candidates__response")
        found.update({comparison.external_id: comparison for comparison in known})
    _refuse(
        [place for name, taken in places.items() if name not in found for place in taken],
        "is of no comparison of this project",
    )
    for name, taken in places.items():
        yield {**_stored(found[name]), "judgments": [{**rows[place - 1], "comparison": name} for place in taken]}


def _stored(comparison: Comparison) -> dict[str, Any]:
    prompt = comparison.prompt
    further = [each.response for each in sorted(comparison.candidates.all(), key=lambda each: each.place)]
    named = {
        "id": comparison.external_id,
        "a": comparison.response_a.external_id,
        "b": comparison.response_b.external_id,
        "others": [response.external_id for response in further],
        "criterion": comparison.criterion,
    }
    return {
        "id": comparison.external_id,
        "prompt_id": prompt.external_id,
        "prompt": prompt.turns,
        "context": prompt.context,
        "responses": [
            {"id": response.external_id, "text": response.text, "model": response.model}
            for response in (comparison.response_a, comparison.response_b, *further)
        ],
        "comparisons": [{key: value for key, value in named.items() if value}],
    }


def _refuse(places: list[int], reason: str) -> None:
    if places:
        errors = Errors()
        for place in places:
            errors.add(place, "comparison", reason)
        errors.refuse()


def _by_row(refusal: work.StepRefused, groups: list[list[int]]) -> work.StepRefused:
    """The refusal with what is wrong named by the caller's rows, not by the lines that were made of them."""
    errors: Any = refusal.result.get("errors") or []
    moved = Errors(more=int(str(refusal.result.get("more") or 0)))
    for error in errors:
        taken = groups[error["line"] - 1]
        head, _dot, rest = error["field"].partition(".")
        inner = head.removeprefix("judgments[").removesuffix("]")
        place = taken[int(inner)] if inner.isdecimal() and int(inner) < len(taken) else taken[0]
        moved.add(place, rest if inner.isdecimal() else error["field"], error["reason"])
    try:
        moved.refuse()
    except work.StepRefused as said:
        return said
    return refusal
