"""Writing rows to Parquet or JSON Lines through Arrow, a batch at a time: memory does not grow with the data."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotator.formats.source import Config, Row

CONTAINERS = {"parquet": ".parquet", "jsonl": ".jsonl", "jsonl.gz": ".jsonl.gz"}
BATCH_ROWS = 2000
BATCH_CHARACTERS = 16 * 2**20


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
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLinesFile:
    """Every key in every row, null where there is no value: a missing key would change a column's type."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file: IO[bytes] = _gzip(path) if path.suffix == ".gz" else path.open("wb")
        self._schema = schema

    def write(self, rows: list[dict[str, Any]]) -> None:
        # Through Arrow, so that a wrong type stops here as it does for Parquet.
        for row in pa.Table.from_pylist(rows, schema=self._schema).to_pylist():
            self._file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        self._file.close()


def _gzip(path: Path) -> IO[bytes]:
    """Without time and name in its header: the same rows give the same bytes."""
    return gzip.GzipFile(filename="", fileobj=path.open("wb"), mode="wb", compresslevel=6, mtime=0)


class _Table:
    """One open file and the rows waiting for it."""

    def __init__(self, path: Path, schema: pa.Schema, container: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows = 0
        self._waiting: list[dict[str, Any]] = []
        self._characters = 0
        self._file = _ParquetFile(path, schema) if container == "parquet" else _JsonLinesFile(path, schema)

    def add(self, values: dict[str, Any]) -> None:
        self._waiting.append(values)
        self._characters += _characters(values)
        if len(self._waiting) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._file.write(self._waiting)
            self.rows += len(self._waiting)
            self._waiting, self._characters = [], 0

    def close(self) -> None:
        self._file.close()


def usual_path(config: str, split: str) -> str:
    return f"{config}/{split}"


def write_tables(
    folder: Path,
    container: str,
    configs: Iterable[Config],
    rows: Iterable[Row],
    path_of: Callable[[str, str], str] = usual_path,
) -> list[Written]:
    """Write `rows` under `folder`, one file a config and split, and give the files sorted by name.

    Splits without rows have no file: readers cannot tell the columns of an empty JSON Lines file.
    """
    schemas = {config.name: config.schema for config in configs}
    tables: dict[tuple[str, str], _Table] = {}
    try:
        for row in rows:
            key = (row.config, row.split)
            if key not in tables:
                path = folder / f"{path_of(*key)}{CONTAINERS[container]}"
                tables[key] = _Table(path, schemas[row.config], container)
            tables[key].add(row.values)
        for table in tables.values():
            table.flush()
    finally:
        for table in tables.values():
            table.close()
    return [
        Written(
            name=table.path.relative_to(folder).as_posix(),
            config=config,
            split=split,
            rows=table.rows,
            bytes=table.path.stat().st_size,
            sha256=sha256_of(table.path),
        )
        for (config, split), table in sorted(tables.items())
    ]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_characters(each) for each in value.values())
    if isinstance(value, list):
        return sum(_characters(each) for each in value)
    return 8
