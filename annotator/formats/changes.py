"""What differs between two written data sets, comparison by comparison, in memory that does not grow with their texts.

Both are read once for a digest of every comparison's rows (24 bytes a comparison), and once more for the few examples
that are shown. Rows of one comparison are taken together, in whatever order and split they stand.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

# Columns that name a row's comparison.
KEYS = ("meta_comparison_id", "comparison_id")
# Examples of each kind, and characters of a value in one.
SHOWN = 20
CUT = 200
BATCH = 500


@dataclass
class Changes:
    """Counts of comparisons; `key` is "" where no column names them, then all counts are zero.

    `turned`: of those changed, how many have another side as the better one. Examples: {"added": [key], "removed":
    [key], "changed": [{"key", "columns": [[name, before, after]]}]}.
    """

    key: str = ""
    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    turned: int = 0
    examples: dict[str, list[Any]] = field(default_factory=lambda: {"added": [], "removed": [], "changed": []})


def compare(
    before: Sequence[Path], after: Sequence[Path], key: str, passed: Callable[[int], None] = lambda rows: None
) -> Changes:
    """The changes between two main tables, each in one or more files; `passed` hears of rows read so far."""
    told = _Passed(passed)
    old, new = _Digests.of(before, key, told), _Digests.of(after, key, told)
    both, at_old, at_new = np.intersect1d(old.keys, new.keys, assume_unique=True, return_indices=True)
    differs = old.contents[at_old] != new.contents[at_new]
    changed = both[differs]
    added, removed = np.setdiff1d(new.keys, both), np.setdiff1d(old.keys, both)
    found = Changes(key, len(old.keys), len(new.keys), len(added), len(removed), len(changed))
    found.turned = int(np.count_nonzero(differs & (old.sides[at_old] != new.sides[at_new])))
    wanted = {int(digest) for some in (added, removed, changed) for digest in some[:SHOWN]}
    rows_old, rows_new = _rows_of(before, key, wanted, told), _rows_of(after, key, wanted, told)
    found.examples = {
        "added": sorted(row[key] for digest, row in rows_new.items() if digest not in rows_old),
        "removed": sorted(row[key] for digest, row in rows_old.items() if digest not in rows_new),
        "changed": [
            {"key": rows_old[digest][key], "columns": _columns(rows_old[digest], rows_new[digest])}
            for digest in map(int, changed[:SHOWN])
        ],
    }
    return found


def key_of(path: Path) -> str:
    """The column that names the comparison of a file's rows; "" where there is none."""
    columns = next(iter(rows(path)), {})
    return next((key for key in KEYS if isinstance(columns.get(key), str)), "")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one written file, by its suffix."""
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            yield from batch.to_pylist()
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


class _Passed:
    def __init__(self, tell: Callable[[int], None]) -> None:
        self.tell, self.rows = tell, 0

    def through(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
        for path in paths:
            for row in rows(path):
                if self.rows % BATCH == 0:
                    self.tell(self.rows)
                self.rows += 1
                yield row


@dataclass(frozen=True)
class _Digests:
    """By comparison, in ascending order of `keys`: digests of its name, of its rows, and of which side is better."""

    keys: np.ndarray[Any, Any]
    contents: np.ndarray[Any, Any]
    sides: np.ndarray[Any, Any]

    @classmethod
    def of(cls, paths: Sequence[Path], key: str, told: _Passed) -> _Digests:
        columns = [array("Q"), array("Q"), array("Q")]
        for row in told.through(paths):
            for column, value in zip(columns, (row[key], row, _side(row)), strict=True):
                column.append(_digest(value))
        names, contents, sides = (np.frombuffer(column, dtype=np.uint64) for column in columns)
        keys, where = np.unique(names, return_inverse=True)
        return cls(keys, _summed(contents, where, len(keys)), _summed(sides, where, len(keys)))


def _summed(values: np.ndarray[Any, Any], where: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Sums of `values` by place, modulo 2**64: the order of a comparison's rows makes no difference."""
    sums = np.zeros(size, dtype=np.uint64)
    np.add.at(sums, where, values)
    return sums


def _digest(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _side(row: dict[str, Any]) -> Any:
    """Which side a row says is better, in terms that can be compared with another row of the same comparison."""
    if "chosen" in row:
        return row["chosen"]
    if isinstance(row.get("p_b"), float | int):
        return _sign(row["p_b"] - 0.5)
    for name in ("preference_strength", "overall_preference", "preference"):
        if isinstance(row.get(name), float | int):
            return _sign(row[name])
    return None


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _rows_of(paths: Sequence[Path], key: str, wanted: set[int], told: _Passed) -> dict[int, dict[str, Any]]:
    """The first row of each comparison whose digest is wanted."""
    found: dict[int, dict[str, Any]] = {}
    if not wanted:
        return found
    for row in told.through(paths):
        digest = _digest(row[key])
        if digest in wanted:
            found.setdefault(digest, row)
    return found


def _columns(before: dict[str, Any], after: dict[str, Any]) -> list[list[str]]:
    names = dict.fromkeys([*before, *after])
    return [
        [name, _short(before.get(name)), _short(after.get(name))]
        for name in names
        if before.get(name) != after.get(name)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= CUT else f"{text[:CUT]}…"
