"""A look at the start of a file that is to be imported: how it is read, what fits, what is left. Stores nothing."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.formats import entries, folders, mapped, store, store_rows
from annotator.formats.entries import Entries, Way
from annotator.formats.files import BudgetSpent, FileInvalid, Numbered
from annotator.formats.folders import Folder
from annotator.formats.rows import Entry, RowInvalid, RowLeft
from annotator.models import Import, Project
from annotator.pipeline import ingest_reading, restore, restore_tables
from annotator.pipeline.ingest_report import Errors
from annotator.pipeline.ingest_taking import Taking
from annotator.uploads import arriving_folder

# Bytes of text that a preview reads: somebody waits for the page, and a small gzip file may hold gigabytes.
PREVIEW_SIZE = 64 * 2**20
# Rows looked at in each table of a lossless store.
STORE_ROWS = 100
# Characters of a cell shown as an example.
EXAMPLE = 80


@dataclass
class Column:
    """A column of the file: the start of its first value, and where its content goes ("" for the metadata)."""

    name: str
    example: str = ""
    place: str = ""


@dataclass
class Preview:
    """What a look at the start of a file found."""

    way: Way
    container: str = ""
    entries: list[Entry] = field(default_factory=list)
    rows_checked: int = 0
    errors: Errors = field(default_factory=Errors)
    problem: str = ""
    # How many of the rows hold a prompt and no comparison.
    alone: int = 0
    # The rest was not looked at, because it is long, not because enough rows were.
    cut_short: bool = False
    # The reader's name, and the others that know the first row as well.
    format: str = ""
    fitting: list[str] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    # The mapping that is used or guessed, and the values of its winner, each with what it means (None: not known).
    mapping: dict[str, Any] = field(default_factory=dict)
    winners: dict[str, str | None] = field(default_factory=dict)
    # Of a folder: its tables, and the one that is read.
    tables: list[str] = field(default_factory=list)
    table: str = ""
    # Why the columns have to be mapped: no reader knows the rows.
    unknown: str = ""
    # A lossless store, which is restored whole.
    is_store: bool = False

    @property
    def can_import(self) -> bool:
        return bool(self.rows_checked and not self.problem and not self.errors.shown)


def preview(project: Project, path: Path, way: Way | None = None, *, rows: int = 1000, shown: int = 10) -> Preview:
    """Check the first `rows` rows without storing anything, and keep the first `shown` entries to look at.

    Reads PREVIEW_SIZE at most. Without a `way` the reader is found; rows that none knows are mapped by a guess.
    """
    if restore.is_store(path):
        return _store(project, path)
    way = way or Way()
    to_guess = way.format == entries.MAPPED and not way.mapping.get("columns")
    seen = _look(project, path, Way(table=way.table) if to_guess else way, rows, shown)
    if to_guess or seen.unknown and not way.format:
        guessed = {"columns": mapped.guess(seen.columns)}
        return _look(project, path, Way(entries.MAPPED, guessed, way.table), rows, shown, unknown=seen.unknown)
    return seen


def _store(project: Project, path: Path) -> Preview:
    """The first rows of each table of a lossless store."""
    seen = Preview(Way(), is_store=True)
    try:
        found = restore.opened(path)
        seen.container = found.container
        for table, _take in restore_tables.STEPS:
            _look_at_table(seen, found, table)
    except FileInvalid as invalid:
        seen.problem = str(invalid)
    if not restore.is_free(project) and not Import.objects.filter(project=project, format=store.FORMAT).exists():
        seen.problem = restore.not_free()
    return seen


def _look_at_table(seen: Preview, found: store.Store, table: str) -> None:
    with contextlib.closing(found.rows(table, lambda _share: None, PREVIEW_SIZE)) as rows:
        try:
            for _file, (line, row) in islice(rows, STORE_ROWS):
                seen.rows_checked += 1
                try:
                    if isinstance(row, RowInvalid):
                        raise row
                    store_rows.checked(table, row)
                except RowInvalid as invalid:
                    seen.errors.add(line, f"{table}.{invalid.field}", invalid.reason)
        except BudgetSpent:
            seen.cut_short = True


def _look(project: Project, path: Path, way: Way, rows: int, shown: int, *, unknown: str = "") -> Preview:
    seen = Preview(way, mapping=dict(way.mapping), unknown=unknown)
    first: list[dict[str, Any]] = []
    try:
        file = ingest_reading.opened(path, way, arriving_folder(), budget=PREVIEW_SIZE)
        seen.container = file.container
        if isinstance(file, Folder):
            seen.tables, seen.table, seen.errors.where = (
                list(file.tables),
                file.table,
                partial(folders.where, file.began),
            )
        _check(seen, project, Entries(_noted(file, seen, first, rows), way), shown)
    except entries.ShapeUnknown as invalid:
        seen.problem = seen.unknown = str(invalid)
    except mapped.MappingInvalid as invalid:  # before a row was read, whose columns are to be chosen from
        seen.problem = str(invalid)
        with contextlib.suppress(FileInvalid, BudgetSpent):
            deque(_noted(file, seen, first, rows), maxlen=0)
    except FileInvalid as invalid:
        seen.problem = str(invalid)
    except BudgetSpent:
        seen.cut_short = True
    if seen.cut_short and not seen.rows_checked:
        seen.problem = _("there is no row in the first %(size)s MB of the file") % {"size": PREVIEW_SIZE // 2**20}
    if not seen.rows_checked and not seen.problem:
        seen.problem = "the file holds no rows"
    _recognise(seen, way, first)
    return seen


def _noted(numbered: Iterable[Numbered], seen: Preview, first: list[dict[str, Any]], rows: int) -> Iterator[Numbered]:
    """The first `rows` rows, passed on; their columns and values of a winner are noted."""
    for line, row in numbered:
        if seen.rows_checked == rows:
            return
        seen.rows_checked += 1
        if not isinstance(row, RowInvalid):
            first[:] = first or [row]
            _note(seen, row)
        yield line, row


def _note(seen: Preview, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        column = seen.columns.setdefault(name, Column(name))
        if not column.example and value not in ("", None):
            column.example = _start_of(value)
    winner = row.get((seen.mapping.get("columns") or {}).get("winner") or "")
    if mapped.is_answer(winner) and len(seen.winners) < mapped.MOST_VALUES and len(str(winner)) <= EXAMPLE:
        seen.winners.setdefault(mapped.value_of(winner), None)


def _start_of(value: Any) -> str:
    return beginning(_in_words(value).encode(errors="replace").decode().replace("\0", ""))


def beginning(words: str) -> str:
    """The start of a text, for one line of a page."""
    return words if len(words) <= EXAMPLE else words[:EXAMPLE].rstrip() + "…"


def _in_words(value: Any) -> str:
    """A cell as who reads no JSON understands it, where that can be; else as JSON."""
    if isinstance(value, str):
        return value
    texts = [turn.get("content") for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []
    if texts and len(texts) == len(value) and all(isinstance(text, str) for text in texts):
        words = ngettext("%(count)s turn: %(start)s", "%(count)s turns: %(start)s", len(texts))
        return words % {"count": len(texts), "start": texts[0]}
    return json.dumps(value, ensure_ascii=False, default=str)


def _check(seen: Preview, project: Project, read: Entries, shown: int) -> None:
    taking = Taking(project.protocol.definition, read)
    try:
        for line, entry in read:
            try:
                taken, _answers = taking.take(entry)
            except RowLeft:
                continue
            except RowInvalid as invalid:
                seen.errors.add(line, invalid.field, invalid.reason)
                continue
            seen.alone += not taken.comparisons
            if len(seen.entries) < shown:
                seen.entries.append(taken)
    finally:
        seen.left, seen.format = taking.left, read.format


def _recognise(seen: Preview, way: Way, first: list[dict[str, Any]]) -> None:
    """Which readers would do, and where each column goes."""
    seen.fitting = entries.fitting(first[0]) if first else []
    seen.format = seen.format or way.format
    if seen.format == entries.MAPPED:
        chosen, winner = seen.mapping.get("columns") or {}, seen.mapping.get("winner") or {}
        models = {str(row.get(chosen.get(f"model_{side}", ""))) for row in first for side in "ab"}
        seen.winners = {
            value: winner.get(value, mapped.verdict_of(value, chosen)) for value in seen.winners if value not in models
        }
    elif seen.format:
        for column in seen.columns.values():
            column.place = entries.place_of(seen.format, column.name)
