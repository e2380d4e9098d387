"""Files of rows: JSON Lines, JSON lists, CSV (also gzip'ed) and Parquet, told apart by content, read row by row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from annotator.formats import json_lists
from annotator.formats.rows import RowInvalid, no_json

# A longer line is not a row of text for people to judge.
LONGEST_LINE = 64 * 2**20
# Every so many lines, empty ones too, the reader says that it still reads: 30 million empty lines are 29 KB gzip'ed.
SIGN_OF_LIFE = 100_000
# Bytes of the file in the buffer: with Python's 8 KB most lines of some KB are put together from two reads.
READ_AT_ONCE = 2**16
# Of a JSON list so many bytes are read at once, and every so many such pieces are a sign of life.
PIECE, PIECES_ALIVE = 2**18, 16
# What a line counts against a budget at least, in bytes: reading an empty one takes as long as a short one.
LEAST_LINE = 64
# Columns that hold structure; in CSV, and in Parquet where they are text, they are written as JSON.
STRUCTURED = (
    "turns", "context", "responses", "comparisons", "metadata", "prompt_metadata", "judgments",
    "human_labels", "ai_labels", "meta",
)  # fmt: skip

Numbered = tuple[int, dict[str, Any] | RowInvalid]


class FileInvalid(Exception):
    """The file as a whole cannot be read; the message says what to upload instead."""


class BudgetSpent(Exception):
    """As much of the file was read as was allowed, and it goes on."""


class RowFile:
    """Iterates (line, row); a row that cannot be read comes as the RowInvalid that says why. Memory stays flat.

    Lines count from 1; a row of Parquet or of a JSON list has its place in it for a line. `budget`: how many bytes of
    text, unpacked, may be read before BudgetSpent is raised. `on_line(line)` is called every SIGN_OF_LIFE lines of
    text, empty ones too, and of Parquet every few rows and while its pages are looked at.
    """

    def __init__(self, path: Path, *, budget: int | None = None, on_line: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.budget = budget
        self.on_line = on_line
        self.size = max(path.stat().st_size, 1)
        self._raw: IO[bytes] | None = None
        self._share = 0.0
        with path.open("rb") as file:
            start = file.read(4)
        if not start:
            raise FileInvalid("the file is empty")
        self._gzip = start[:2] == b"\x1f\x8b"
        self.container = "parquet" if start == b"PAR1" else self._text_container()

    def share_read(self) -> float:
        """How much of the file is read, 0 to 1."""
        return min(self._raw.tell() / self.size, 1.0) if self._raw and not self._raw.closed else self._share

    def __iter__(self) -> Iterator[Numbered]:
        if self.container == "parquet":
            yield from self._parquet()
            return
        with self.path.open("rb", buffering=READ_AT_ONCE) as self._raw:
            stream = io.BufferedReader(gzip.GzipFile(fileobj=self._raw), READ_AT_ONCE) if self._gzip else self._raw  # type: ignore[type-var]
            try:
                if self.container == "json list":
                    yield from json_lists.rows(self._pieces(stream))  # type: ignore[arg-type]
                else:
                    lines = self._lines(stream)  # type: ignore[arg-type]
                    yield from (_csv if self.container == "csv" else _json_lines)(lines)
            except json_lists.ListBroken as error:
                raise FileInvalid(str(error)) from error
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise FileInvalid(f"the gzip file is damaged or cut off: {error}") from error
        self._share = 1.0

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        """The lines, ends kept. A budget also bounds how much of the line that crosses it is held."""
        line, taken = 0, 0
        left = LONGEST_LINE if self.budget is None else min(LONGEST_LINE, self.budget)
        while raw := stream.readline(left):
            line, taken = line + 1, taken + max(len(raw), LEAST_LINE)
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise FileInvalid(f"line {line} is longer than {LONGEST_LINE // 2**20} MB")
            if self.on_line and line % SIGN_OF_LIFE == 0:
                self.on_line(line)
            if self.budget is not None:
                left = min(LONGEST_LINE, self.budget - taken)
                if left <= 0 and stream.read(1):
                    raise BudgetSpent
            yield raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw

    def _pieces(self, stream: IO[bytes]) -> Iterator[str]:
        """The text of a JSON list. Broken UTF-8 becomes lone surrogates, as in CSV."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        taken = piece = 0
        wanted = PIECE if self.budget is None else min(PIECE, self.budget)
        while raw := stream.read(wanted):
            taken, piece = taken + len(raw), piece + 1
            yield decoder.decode(raw)
            if self.on_line and piece % PIECES_ALIVE == 0:
                self.on_line(piece)
            if self.budget is not None:
                wanted = min(PIECE, self.budget - taken)
                if wanted <= 0 and stream.read(1):
                    raise BudgetSpent
        yield decoder.decode(b"", final=True)

    def _text_container(self) -> str:
        opener = gzip.open if self._gzip else open
        try:
            with opener(self.path, "rb") as file:  # type: ignore[operator]
                start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        except (OSError, EOFError, zlib.error) as error:
            raise FileInvalid(f"the gzip file is damaged or cut off: {error}") from error
        if start.startswith(b"{"):
            return "json lines"
        if start.startswith(b"["):
            return "json list"
        if b"\0" in start[:100] or self.path.suffixes[-1:] in ([".zip"], [".xlsx"]):
            raise FileInvalid("the file is neither JSON Lines, CSV nor Parquet")
        return "csv"

    def _parquet(self) -> Iterator[Numbered]:
        # 50 MB that who reads lines of text can do without.
        import pyarrow as pa

        from annotator.formats import parquet

        left, line = self.budget, 0

        def spend(size: int) -> None:
            nonlocal left
            if self.on_line:
                self.on_line(line)
            if left is not None:
                if left <= 0:
                    raise BudgetSpent
                left -= size

        try:
            for line, (share, row) in enumerate(parquet.rows(self.path, spend), 1):
                self._share = share
                yield line, _opened(row)
        except parquet.ParquetRefused as error:
            raise FileInvalid(str(error)) from error
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            raise FileInvalid(f"the Parquet file cannot be read: {error}") from error


def _json_lines(lines: Iterator[bytes]) -> Iterator[Numbered]:
    for line, raw in enumerate(lines, 1):
        if not raw.isspace():
            yield line, _json_row(raw)


def _json_row(raw: bytes) -> dict[str, Any] | RowInvalid:
    try:
        row = JSON.decode(raw.decode())
    except UnicodeDecodeError as error:
        return RowInvalid("", f"is not valid UTF-8 at byte {error.start + 1}")
    except (ValueError, RecursionError) as error:
        return RowInvalid("", no_json(error))
    return row if isinstance(row, dict) else RowInvalid("", "is not a JSON object")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads would make one a row.
JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _csv(lines: Iterator[bytes]) -> Iterator[Numbered]:
    csv.field_size_limit(LONGEST_LINE)
    # Broken UTF-8 becomes lone surrogates here, which the check of each text reports with its row and column.
    texts = (raw.decode(errors="surrogateescape") for raw in lines)
    # Lines may also end in a bare carriage return, which the bytes were not split at.
    reader = csv.reader((line for text in texts for line in io.StringIO(text, newline="")), strict=True)
    line = 1
    try:
        header = next(reader, [])
        if any("\udc80" <= letter <= "\udcff" for name in header for letter in name):
            raise FileInvalid("the first line is not UTF-8; save the file as UTF-8")
        if len(set(header)) != len(header):
            raise FileInvalid("two columns of the CSV file have the same name")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield line, _csv_row(header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise FileInvalid(f"the CSV file cannot be read from line {line} on: {error}") from error


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any] | RowInvalid:
    if len(cells) != len(header):
        return RowInvalid("", f"has {len(cells)} cells where the first line names {len(header)} columns")
    return _opened({name: cell for name, cell in zip(header, cells, strict=True) if cell != ""})


def _opened(row: dict[str, Any]) -> dict[str, Any] | RowInvalid:
    """The row with its JSON cells parsed; absent and null are the same."""
    opened = {name: value for name, value in row.items() if value is not None}
    for name in STRUCTURED:
        if isinstance(opened.get(name), str):
            try:
                opened[name] = JSON.decode(opened[name])
            except (ValueError, RecursionError) as error:
                return RowInvalid(name, no_json(error))
    return opened
