"""Scores of mixtures that were measured outside, from a CSV file: all of it, or nothing and what is wrong where."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotator.models import Mixture, MixtureScore, Project

REQUIRED = ("mixture", "score")
# As `Mixture.key` writes it.
KEY = re.compile(r"M([1-9]\d{0,8})-([1-9]\d{0,8})")
NAME = re.compile(r"[\w][\w .+-]{0,48}")
LARGEST = 5 * 2**20
ROWS = 100_000
# A score is smaller than this: sums of squares of what is stored stay finite.
LARGEST_SCORE = 1e9
# Errors that are told; more are counted.
TOLD = 50


class ScoresInvalid(Exception):
    """`errors`: [{"line", "column", "reason"}, …] of the file, `more` of them not told."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors, self.more = errors[:TOLD], max(0, len(errors) - TOLD)


@dataclass(frozen=True)
class _Row:
    line: int
    mixture: str
    score: float
    seed: int
    name: str


def read(project: Project, content: bytes, filename: str, name: str = "") -> int:
    """Store the scores of a file; gives their number. A score that is there already is replaced.

    Columns: `mixture` (M3-17) and `score`, optionally `seed` (0) and `name` (of the measurement; else `name`, else
    "file"); others are ignored, and so are rows without a score. Raises ScoresInvalid, and nothing has changed, when
    any row is wrong.
    """
    rows, errors = _rows(content, name or "file")
    known = find(project, {row.mixture for row in rows})
    seen: dict[tuple[str, str, int], int] = {}
    for row in rows:
        if row.mixture not in known:
            reason = _("%(value)s is no mixture of this project; ids look like M3-17") % {"value": _short(row.mixture)}
            errors.append(_error(row.line, "mixture", reason))
        first = seen.setdefault((row.mixture, row.name, row.seed), row.line)
        if first != row.line:
            reason = _("the same mixture, name and seed stand in line %(n)s") % {"n": first}
            errors.append(_error(row.line, "seed", reason))
    if not rows and not errors:
        errors.append(_error(1, "score", _("no row has a score")))
    if errors:
        raise ScoresInvalid(sorted(errors, key=lambda error: error["line"]))
    _store([(known[row.mixture], row) for row in rows], filename)
    return len(rows)


def find(project: Project, keys: Iterable[str]) -> dict[str, Mixture]:
    """The project's mixtures by what people call them; those that are not there are missing from the answer."""
    places = {(int(found[1]), int(found[2])) for found in map(KEY.fullmatch, keys) if found}
    rows = Mixture.objects.filter(
        mixture_set__project=project,
        mixture_set__number__in={place[0] for place in places},
        number__in={place[1] for place in places},
    ).select_related("mixture_set")
    return {row.key: row for row in rows if (row.mixture_set.number, row.number) in places}


def _rows(content: bytes, name: str) -> tuple[list[_Row], list[dict[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [], [_error(line, "", _("is not UTF-8: save the file as “CSV UTF-8”"))]
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        named = reader.fieldnames or []
    except csv.Error as error:
        return [], [_error(1, "", _("cannot be read: %(reason)s") % {"reason": error})]
    missing = [column for column in REQUIRED if column not in named]
    if missing:
        return [], [_error(1, column, _("the first line names no such column")) for column in missing]
    return _read(reader, name)


def _read(reader: csv.DictReader[str], name: str) -> tuple[list[_Row], list[dict[str, Any]]]:
    rows: list[_Row] = []
    errors: list[dict[str, Any]] = []
    try:
        for cells in reader:
            if len(rows) + len(errors) >= ROWS:
                errors.append(_error(reader.line_num, "", _("more than %(n)s rows") % {"n": ROWS}))
                break
            wrong = _wrong(reader.line_num, cells)
            errors += wrong
            if not wrong and (cells["score"] or "").strip():
                said = (cells.get("name") or "").strip() or name
                seed = int((cells.get("seed") or "0").strip() or 0)
                score = float(cells["score"])
                rows.append(_Row(reader.line_num, (cells["mixture"] or "").strip(), score, seed, said))
    except csv.Error as error:
        errors.append(_error(reader.line_num, "", _("cannot be read: %(reason)s") % {"reason": error}))
    return rows, errors


def _wrong(line: int, cells: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if None in cells:
        found.append(_error(line, "", _("has more cells than the first line names columns")))
    score, seed = (cells["score"] or "").strip(), (cells.get("seed") or "").strip()
    if score and not _is_finite(score):
        found.append(_error(line, "score", _("%(value)s is no number (write 0.713)") % {"value": _short(score)}))
    if seed and not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
        found.append(_error(line, "seed", _("%(value)s is no whole number from 0 on") % {"value": _short(seed)}))
    name = (cells.get("name") or "").strip()
    if name and not NAME.fullmatch(name):
        reason = _("write up to 49 letters, digits, spaces or . + - _, beginning with a letter or digit")
        found.append(_error(line, "name", reason))
    return found


def _is_finite(text: str) -> bool:
    """Small enough to be squared and summed, too."""
    try:
        return abs(float(text)) < LARGEST_SCORE
    except ValueError:
        return False


def _short(value: str) -> str:
    return f"“{value[:40]}”"


def _error(line: int, column: str, reason: str) -> dict[str, Any]:
    return {"line": line, "column": column, "reason": reason}


def _store(found: list[tuple[Mixture, _Row]], filename: str) -> None:
    with transaction.atomic():
        MixtureScore.objects.bulk_create(
            [
                MixtureScore(
                    mixture=mixture,
                    fidelity=f"{MixtureScore.EXTERNAL}{row.name}",
                    seed=row.seed,
                    score=row.score,
                    detail={"file": filename[-200:], "line": row.line},
                )
                for mixture, row in found
            ],
            update_conflicts=True,
            unique_fields=["mixture", "fidelity", "seed"],
            update_fields=["score", "detail"],
        )
