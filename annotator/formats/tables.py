"""Writing rows to Parquet or JSON Lines through Arrow, a batch at a time: memory does not grow with the data.

Batches are packed and written by a thread, in the order of their rows, while the next are being read.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from annotator.formats.source import Config, Row

CONTAINERS = {"parquet": ".parquet", "jsonl": ".jsonl", "jsonl.gz": ".jsonl.gz"}
BATCH_ROWS = 2000
BATCH_CHARACTERS = 16 * 2**20
# Batches that are being written or wait for it.
AHEAD = 2
# Text packs nearly as well as at 6, in a third of the time.
GZIP_LEVEL = 1
CHUNK = 2**20


class Damaged(Exception):
    """Files of parts that were finished are missing or not as they were written."""


@dataclass(frozen=True)
class Written:
    """One finished file of a data set; `name` is its path in the set's folder."""

    name: str
    config: str
    split: str
    rows: int
    bytes: int
    sha256: str


class _ParquetFile:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> tuple[int, Any]:
        """Size and hash of the file."""
        try:
            self._writer.close()
        finally:
            self._file.close()
        return _hashed(self._path)


class _Growing:
    """A file that is written to at its end, hashed on the way."""

    def __init__(self, path: Path, size: int, hash: Any) -> None:
        self._file = path.open("ab")
        self.size, self.hash = size, hash

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _JsonLinesFile:
    """Every key in every row, null where there is no value: a missing key would change a column's type.

    Packed, a part is one gzip member: readers take members that follow each other as one file.
    """

    def __init__(self, path: Path, size: int, hash: Any) -> None:
        self._file = _Growing(path, size, hash)
        self._lines: Any = _member(self._file) if path.suffix == ".gz" else self._file

    def write(self, table: pa.Table) -> None:
        # Through Arrow, so that a wrong type stops here as it does for Parquet.
        lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in table.to_pylist())
        self._lines.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> tuple[int, Any]:
        """Size and hash of the file so far."""
        try:
            self._lines.close()
        finally:
            self._file.close()
        return self._file.size, self._file.hash


def _member(file: _Growing) -> gzip.GzipFile:
    """Without time and name in its header: the same rows give the same bytes."""
    return gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)  # type: ignore[call-overload,no-any-return]


class _Writing:
    """A thread that does what it is given one after the other, no more than AHEAD ahead.

    Arrow, zlib and hashes compute outside of the interpreter's lock, and the rest while the database is waited for.
    """

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "writing")
        self._begun: deque[Future[None]] = deque()
        return self

    def begin(self, write: Callable[..., None], *given: object) -> None:
        """Raises what an earlier one raised."""
        self._wait(AHEAD - 1)
        self._begun.append(self._thread.submit(write, *given))

    def finish(self) -> None:
        """Until everything is done. Raises what one of them raised."""
        self._wait(0)

    def _wait(self, left: int) -> None:
        while len(self._begun) > left:
            self._begun.popleft().result()

    def __exit__(self, *_error: object) -> None:
        """After an error what waits is dropped, and what is under way is over: files can be closed."""
        self._thread.shutdown(cancel_futures=True)


class _Table:
    """One open file and the rows waiting for it."""

    def __init__(self, file: _ParquetFile | _JsonLinesFile, schema: pa.Schema, writing: _Writing) -> None:
        self.file = file
        self.rows = 0
        self._schema, self._writing = schema, writing
        self._waiting: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, values: dict[str, Any]) -> None:
        self._waiting.append(values)
        self._characters += _characters(values)
        if len(self._waiting) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._writing.begin(self._write, self._waiting)
            self.rows += len(self._waiting)
            self._waiting, self._characters = [], 0

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.file.write(pa.Table.from_pylist(rows, schema=self._schema))


class Tables:
    """The data files of a set, one a config and split, written part by part so that a run that died can be continued.

    JSON Lines files grow with every part. A Parquet file ends with its index and cannot grow, so there each part has
    its own ("train-00000-of-00003.parquet"; one part alone is "train.parquet"). The bytes depend on the rows and where
    parts end, not on how often the writing was begun again. Splits without rows have no file: readers cannot tell the
    columns of an empty JSON Lines file.
    """

    def __init__(
        self,
        folder: Path,
        container: str,
        configs: Iterable[Config],
        path_of: Callable[[str, str], str] = "{}/{}".format,
    ) -> None:
        self.folder, self.container, self.path_of = folder, container, path_of
        self.written: list[Written] = []
        self._schemas = {config.name: config.schema for config in configs}
        self._hashes: dict[str, Any] = {}

    def go_on(self, written: Iterable[Written]) -> None:
        """Take up what finished parts have written; what was begun after them is cut off. Raises Damaged."""
        self.written = list(written)
        for file in self.written:
            path = self.folder / file.name
            if not path.is_file() or path.stat().st_size < file.bytes:
                raise Damaged(file.name)
            with path.open("r+b") as content:
                content.truncate(file.bytes)
            _size, self._hashes[file.name] = _hashed(path)
            if self._hashes[file.name].hexdigest() != file.sha256:
                raise Damaged(file.name)

    def write_part(self, number: int, rows: Iterable[Row]) -> int:
        """Write the rows of part `number` (from 0) and give how many; until it returns `written` knows none of them."""
        tables: dict[tuple[str, str], _Table] = {}
        try:
            with _Writing() as writing:
                for row in rows:
                    key = (row.config, row.split)
                    if key not in tables:
                        tables[key] = _Table(self._opened(key, number), self._schemas[row.config], writing)
                    tables[key].add(row.values)
                for table in tables.values():
                    table.flush()
                writing.finish()
        finally:
            closed = _closed({key: table.file for key, table in tables.items()})
        for key, (size, hash) in sorted(closed.items()):
            self._note(key, number, tables[key].rows, size, hash)
        return sum(table.rows for table in tables.values())

    def finish(self) -> list[Written]:
        """Give Parquet files their last names, and all files sorted by name."""
        shards: dict[tuple[str, str], list[Written]] = {}
        for file in self.written:
            shards.setdefault((file.config, file.split), []).append(file)
        self.written = sorted(
            (self._named(file, number, len(files)) for files in shards.values() for number, file in enumerate(files)),
            key=lambda file: file.name,
        )
        return self.written

    def _named(self, file: Written, number: int, count: int) -> Written:
        if self.container != "parquet":
            return file
        shard = f"-{number:05d}-of-{count:05d}" if count > 1 else ""
        name = f"{self.path_of(file.config, file.split)}{shard}{CONTAINERS[self.container]}"
        (self.folder / file.name).rename(self.folder / name)
        return replace(file, name=name)

    def _name(self, key: tuple[str, str], number: int) -> str:
        part = f".part-{number:05d}" if self.container == "parquet" else ""
        return f"{self.path_of(*key)}{part}{CONTAINERS[self.container]}"

    def _opened(self, key: tuple[str, str], number: int) -> _ParquetFile | _JsonLinesFile:
        name = self._name(key, number)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.container == "parquet":
            return _ParquetFile(path, self._schemas[key[0]])
        before = next((file.bytes for file in self.written if file.name == name), 0)
        if path.exists():
            with path.open("r+b") as content:  # of a part that was not finished
                content.truncate(before)
        hash = self._hashes[name].copy() if before else hashlib.sha256()
        return _JsonLinesFile(path, before, hash)

    def _note(self, key: tuple[str, str], number: int, rows: int, size: int, hash: Any) -> None:
        name = self._name(key, number)
        before = next((file for file in self.written if file.name == name), None)
        self._hashes[name] = hash
        noted = Written(name, *key, rows + (before.rows if before else 0), size, hash.hexdigest())
        self.written = [*(file for file in self.written if file != before), noted]


def _closed(files: Mapping[tuple[str, str], _ParquetFile | _JsonLinesFile]) -> dict[tuple[str, str], tuple[int, Any]]:
    """Size and hash of each. On a full disk every one of them raises, and what stayed open would write later."""
    closed = {}

    def close(key: tuple[str, str]) -> None:
        closed[key] = files[key].close()

    with ExitStack() as rest:
        for key in files:
            rest.callback(close, key)
    return closed


def sha256_of(path: Path) -> str:
    return str(_hashed(path)[1].hexdigest())


def _hashed(path: Path) -> tuple[int, Any]:
    hash = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hash.update(chunk)
    return path.stat().st_size, hash


def _characters(value: Any) -> int:
    """About how much memory a value takes: what is long is text."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 8
    return sum(len(each) if isinstance(each, str) else _characters(each) if each else 8 for each in value)
