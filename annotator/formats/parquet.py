"""Parquet files row by row. A few hundred bytes of one may stand for gigabytes: what a batch takes is bounded first.

A column's dictionary is written once however often its values stand in rows, and repeated values pack to nothing. So a
row group must not claim far more than its size on disk, and a batch has no more rows than fit when each holds the
longest text of every dictionary, and when they reach into the largest pages. Sizes are those of the page headers or
of the footer, whichever are larger: pyarrow unpacks what a page claims whatever the footer says.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.formats import footer, pages

# A longer row is not a row of text for people to judge; in bytes.
LONGEST_ROW = 64 * 2**20
# Rows that are read together, and the bytes that they may take as long as that is more than one row.
BATCH, BATCH_SIZE = 200, 32 * 2**20
# A row group that claims more than so many times its size is an attack, except where it is small.
MOST_UNPACKED = 200
LEAST_UNPACKED = 256 * 2**20
# Bytes of pages that may be unpacked at once, of all columns together: those that are read from, and those that a batch
# is of. Rows are read one by one before that is more.
LARGEST_PAGES = 256 * 2**20
# Bytes that a value of a list takes at least, whatever its type: numbers and nulls that repeat pack to nothing.
LEAST_VALUE = 8
# What a row counts at least: reading an empty one takes as long as a short one.
LEAST_ROW = 64
# Columns of a file, those within structs counted one by one.
MOST_COLUMNS = 1000
# Steps (`pages.Walk`) of a row group, of each of its columns, and of so many bytes that pyarrow unpacks.
GROUP_STEPS, CHUNK_STEPS, UNPACKED_A_STEP = 128, 32, 2048
# Encodings that write what several values share once.
DICTIONARIES = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
PREFIXES = "DELTA_BYTE_ARRAY"


class ParquetRefused(ValueError):
    """The file would take more memory than rows of text do, or holds what Python cannot; the message says where."""


@dataclass(frozen=True)
class Way:
    """How a row group is read: so many rows at once; `shared`: columns whose dictionaries are kept as they are."""

    rows: int
    shared: list[str]


def rows(path: Path, spend: Callable[[int], None]) -> Iterator[tuple[float, dict[str, Any]]]:
    """(share of the file read, row). `spend` is told of bytes before they become rows. Raises ParquetRefused."""
    file = _opened(path)
    walk = pages.Walk(path.stat().st_size, spend)
    total, done = max(file.metadata.num_rows, 1), 0
    for group in range(file.metadata.num_row_groups):
        way = _way(path, file, group, walk)
        reader = _keeping(path, file, way.shared) if way.shared else file
        for batch in reader.iter_batches(way.rows, row_groups=[group]):
            for piece, size in _pieces(batch, done):
                spend(max(size, LEAST_ROW * piece.num_rows))
                for row in _as_rows(piece):
                    done += 1
                    yield done / total, row


def _opened(path: Path) -> Any:
    """The file, its footer read. Raises ParquetRefused."""
    if words := footer.why_not(path):
        raise ParquetRefused(words)
    file = pq.ParquetFile(path, memory_map=True, thrift_container_size_limit=footer.LONGEST_LIST)
    if file.metadata.num_columns > MOST_COLUMNS:
        raise ParquetRefused(f"the file has more than {MOST_COLUMNS:,} columns; keep those of text and judgments")
    return file


def _as_rows(piece: Any) -> list[dict[str, Any]]:
    """Rows of Python. Raises ParquetRefused with the column's name: Parquet's dates go on for far longer than ours."""
    try:
        return piece.to_pylist()  # type: ignore[no-any-return]
    except (OverflowError, ValueError, LookupError) as error:
        raise ParquetRefused(_what_fails(piece) or f"rows cannot be read: {error}") from error


def _what_fails(piece: Any) -> str:
    """The column that cannot become values of Python, in words."""
    for name, column in zip(piece.schema.names, piece.columns, strict=True):
        try:
            column.to_pylist()
        except UnicodeDecodeError as error:
            return f"the column {name} holds text that is not UTF-8: {error}"
        except (OverflowError, ValueError, LookupError) as error:
            if zone := getattr(column.type, "tz", None):
                return f"the times of the column {name} cannot be read; is {zone} a time zone? Write them as text"
            return f"the column {name} ({column.type}) holds a value that cannot be read: {error}; write it as text"
    return ""


def _keeping(path: Path, file: Any, names: list[str]) -> Any:
    """A reader that keeps the dictionaries of these columns instead of writing their values out."""
    return pq.ParquetFile(path, metadata=file.metadata, memory_map=True, read_dictionary=names)


def _way(path: Path, file: Any, group: int, walk: pages.Walk) -> Way:
    facts = file.metadata.row_group(group)
    columns = [(facts.column(place), file.schema.column(place)) for place in range(facts.num_columns)]
    found = _pages(path, group, columns, walk)
    claimed = sum(max(one.total_uncompressed_size, its.size) for (one, _kind), its in zip(columns, found, strict=True))
    claimed += LEAST_VALUE * sum(one.num_values for one, kind in columns if kind.max_repetition_level)
    if claimed > max(LEAST_UNPACKED, MOST_UNPACKED * sum(one.total_compressed_size for one, _kind in columns)):
        raise ParquetRefused(f"row group {group + 1} unpacks to far more than its size; send its rows as JSON Lines")
    with _in_words(group):
        walk.take(claimed // UNPACKED_A_STEP)
    shared = [one for one in columns if one[0].physical_type == "BYTE_ARRAY" and _is_shared(one[0])]
    longest = _longest(path, file, shared, group)
    together = BATCH_SIZE // max(longest, claimed // max(facts.num_rows, 1), 1)
    kept = [one.path_in_schema for one, _kind in shared] if longest > LONGEST_ROW else []
    return Way(_rows_within(found, max(1, min(BATCH, together)), group), kept)


@contextmanager
def _in_words(group: int) -> Iterator[None]:
    try:
        yield
    except pages.PagesBroken as broken:
        raise ParquetRefused(f"row group {group + 1} cannot be read: {broken}") from broken


def _pages(path: Path, group: int, columns: list[tuple[Any, Any]], walk: pages.Walk) -> list[pages.Column]:
    """The pages of each column, none of which claims more than may be held. Raises ParquetRefused."""
    to_count = BATCH_SIZE // max(len(columns), 1)
    found = []
    with _in_words(group), path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk.take(GROUP_STEPS)
        for one, kind in columns:
            walk.take(CHUNK_STEPS)
            levels = kind.max_repetition_level
            found.append(pages.column(data, one, levels, walk, to_count=to_count, most=LARGEST_PAGES))
    if sum(one.largest for one in found) > LARGEST_PAGES:
        raise ParquetRefused(_too_large(group, "unpacks to pages of"))
    return found


def _rows_within(found: list[pages.Column], rows: int, group: int) -> int:
    """So many rows, or as many fewer as keep what they reach into small."""
    while (size := sum(one.touched(rows) for one in found)) > LARGEST_PAGES and rows > 1:
        rows //= 2
    # A row within the bounds may lie across the borders of two pages.
    if size > LARGEST_PAGES + LONGEST_ROW:
        raise ParquetRefused(_too_large(group, "holds a row across pages of"))
    return rows


def _too_large(group: int, what: str) -> str:
    return f"row group {group + 1} {what} more than {LARGEST_PAGES // 2**20} MB; send its rows as JSON Lines"


def _is_shared(column: Any) -> bool:
    return PREFIXES in column.encodings or not DICTIONARIES.isdisjoint(column.encodings)


def _longest(path: Path, file: Any, shared: list[tuple[Any, Any]], group: int) -> int:
    """Bytes that a row takes at most of texts that are written once for many rows."""
    if BATCH * sum(one.total_uncompressed_size * one.num_values for one, _kind in shared) <= BATCH_SIZE:
        return 0
    most = sum(one.total_uncompressed_size for one, _kind in shared if PREFIXES in one.encodings)
    by_name = {one.path_in_schema: kind for one, kind in shared if PREFIXES not in one.encodings}
    keeping = _keeping(path, file, list(by_name))
    flat = [name for name, kind in by_name.items() if not kind.max_repetition_level]
    # A dictionary comes whole with the first row. How often a list repeats its values only the list tells.
    first = next(keeping.iter_batches(1, row_groups=[group], columns=flat), None) if flat else None
    most += sum(map(_longest_of, first.columns)) if first else 0
    for name in by_name.keys() - set(flat):
        table = keeping.read_row_group(group, columns=[name])
        most += sum(max(map(_longest_of, column.chunks), default=0) for column in table.columns)
    return int(most)


def _longest_of(array: Any) -> int:
    """Bytes of the longest text in an array's dictionary; in a list, times the length of the longest list."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return pc.max(pc.binary_length(array.dictionary)).as_py() or 0 if _is_text(kind.value_type) else 0
    if pa.types.is_struct(kind):
        return sum(map(_longest_of, array.flatten()))
    if _is_list(kind):
        return (pc.max(pc.list_value_length(array)).as_py() or 0) * _longest_of(array.values)
    return 0


def _pieces(batch: Any, done: int) -> Iterator[tuple[Any, int]]:
    """The batch in pieces small enough to become rows of Python, each with its bytes; `done`: rows before it."""
    size = sum(map(_size, batch.columns))
    if size <= BATCH_SIZE:
        yield batch, size
        return
    for place in range(batch.num_rows):
        row = batch.slice(place, 1)
        if (size := sum(map(_size, row.columns))) > LONGEST_ROW:
            raise ParquetRefused(f"row {done + place + 1} is longer than {LONGEST_ROW // 2**20} MB")
        yield row, size


def _size(array: Any) -> int:
    """Bytes of an array when its dictionaries are written out."""
    kind = array.type
    if pa.types.is_dictionary(kind) and _is_text(kind.value_type):
        return pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(map(_size, array.flatten()))
    if _is_list(kind):
        return _size(array.flatten()) + LEAST_VALUE * len(array)
    return max(array.nbytes, LEAST_VALUE * len(array))


def _is_text(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind))
