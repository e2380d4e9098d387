"""A file's rows as entries: by the reader that knows them, by the reader somebody chose, or by mapped columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Any

from annotator import formats
from annotator.formats import ai_tables, mapped, native, splits
from annotator.formats.files import FileInvalid, Numbered
from annotator.formats.folders import Folder
from annotator.formats.rows import Entry, RowInvalid

# The reader of columns that somebody said the meaning of.
MAPPED = "mapped"
# It is told what a protocol is to ask for, so it is refused where it says something else.
STRICT = "native"


class ShapeUnknown(FileInvalid):
    """No reader knows the file's rows; its columns can be mapped."""


@dataclass(frozen=True)
class Way:
    """How a file is to be read. `format`: a key of READERS, MAPPED, or "" for whichever reader knows its rows.

    `table`: of a folder with several, the one to read; "" for the one that stands for it. `split`: the published one
    that all rows are of, `config` the set's configuration (or folder) that they are; of a folder its files and its
    table say it.
    """

    format: str = ""
    mapping: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    split: str = ""
    config: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"format": self.format, "mapping": dict(self.mapping), "table": self.table}


@cache
def reader(name: str) -> Any:
    """The reader's module. Raises FileInvalid when there is none of the name."""
    if name not in formats.READERS:
        raise FileInvalid(f"there is no format called {name}; known: {', '.join([*formats.READERS, MAPPED])}")
    return import_module(formats.READERS[name])


def fitting(row: Mapping[str, Any]) -> list[str]:
    """The readers that know the row, the most specific one first."""
    return [name for name in formats.READERS if reader(name).claims(row)]


def place_of(name: str, column: str) -> str:
    """Where the reader `name` puts a column, in words; "" when it stays in the metadata. COLUMNS may hold patterns."""
    columns = reader(name).COLUMNS
    if column in columns:
        return str(columns[column])
    return next((str(words) for pattern, words in columns.items() if fnmatchcase(column, pattern)), "")


class Entries:
    """Iterates (line, entry) of a file's rows; a row that cannot be taken comes as the RowInvalid that says why.

    `format` names the reader of the first row that one knew; `strict` says whether the last row given is held to all
    that the protocol asks, `preset` which one asks for all it holds. Raises ShapeUnknown when no reader knows a row and
    none knew one before it.
    """

    def __init__(self, numbered: Iterable[Numbered], way: Way | None = None) -> None:
        self.way = way or Way()
        self.format = self.way.format
        self.strict = False
        self.preset = ""
        self._folder = numbered if isinstance(numbered, Folder) else None
        # Rows that do not say who judged them may be of a table that does.
        self._labeler = ai_tables.labeler(self._folder.table if self._folder else self.way.config)
        self._numbered = iter(numbered)
        self._only: Any = None
        # Columns and types of the last row, and who read it: asking every reader about every row takes its time.
        self._like: tuple[tuple[Any, ...], str] = ((), "")
        if self.format == MAPPED:
            self._only = mapped.Reader(mapped.checked(self.way.mapping))
        elif self.format:
            self._only = reader(self.format)

    def __iter__(self) -> Iterator[tuple[int, Entry | RowInvalid]]:
        for line, row in self._together():
            try:
                if isinstance(row, RowInvalid):
                    raise row
                split = self._folder.split(line) if self._folder else self.way.split
                yield line, splits.carried(self._read(row), split)
            except RowInvalid as invalid:
                yield line, invalid

    def _together(self) -> Iterator[Numbered]:
        """The rows, those that belong together as one: the first row that can be read says by which reader."""
        first: list[Numbered] = []
        for line, row in self._numbered:
            first.append((line, row))
            if not isinstance(row, RowInvalid):
                self._decide(row)
                break
        numbered = chain(first, self._numbered)
        return self._only.joined(numbered) if hasattr(self._only, "joined") else numbered

    def _decide(self, row: Mapping[str, Any]) -> None:
        knowing = [] if self._only else fitting(row)
        if knowing:
            self.format = knowing[0]
            # Rows of several shapes may stand in one file, but not where rows are read together.
            if hasattr(reader(knowing[0]), "joined"):
                self._only = reader(knowing[0])

    def _read(self, row: Mapping[str, Any]) -> Entry:
        if self._only:
            return self._read_by(self._only, self.format, row)
        name = self._recognised(row)
        if name:
            self.format = self.format or name
            return self._read_by(reader(name), name, row)
        raise RowInvalid("", _unknown(row)) if self.format else ShapeUnknown(f"the rows are {_unknown(row)}")

    def _recognised(self, row: Mapping[str, Any]) -> str:
        """The first reader that knows the row, "" if none does; the one before for columns and types like before."""
        like, name = self._like
        columns = (*row, *map(type, row.values()))
        if columns != like or not reader(name).claims(row):
            name = next(iter(fitting(row)), "")
            self._like = (columns, name) if name else ((), "")
        return name

    def _read_by(self, by: Any, name: str, row: Mapping[str, Any]) -> Entry:
        self.strict, self.preset = name == STRICT, getattr(by, "PRESET", "")
        entry: Entry = by.read(row if name == MAPPED else ai_tables.told(row, self._labeler))
        return entry


def _unknown(row: Mapping[str, Any]) -> str:
    found = ", ".join(sorted(str(name) for name in row)[:12])
    reason = f"in no known shape: it needs an id, a prompt, and responses or response_a and response_b (found: {found})"
    if not row.keys().isdisjoint(native.PROMPT):
        more = ", ".join(sorted(str(name) for name in row.keys() - native.PROMPT_ALONE)[:12])
        reason += f"; a prompt without responses may have nothing beside it but metadata, put into metadata: {more}"
    return reason
