"""What rows say under ids that nothing gets: of a prompt and responses whose comparisons the project has under others.

A row whose comparisons are all there brings no prompt and no response, so no table knows what it said of ids that the
project has not. It is noted here, because later rows must not say otherwise. Files with the project's own ids, and new
ones, note nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from annotator.pipeline.ingest_rows import Row, Text

# Of a prompt and of a response of it; "" for the prompt itself.
Key = tuple[str, str]
TABLE = """CREATE TEMPORARY TABLE ingest_unstored (
  prompt text, response text, same text, line int, PRIMARY KEY (prompt, response)) ON COMMIT DROP"""
ADD = "INSERT INTO ingest_unstored SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[])"
FIND = """SELECT u.* FROM unnest(%s::text[], %s::text[]) wanted(prompt, response)
JOIN pg_temp.ingest_unstored u ON (u.prompt, u.response) = (wanted.prompt, wanted.response)"""


class Unstored:
    """`said` is what the batch before and this one noted of the ids of this one: (what must be the same, line)."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._is_there = False
        self.said: dict[Key, tuple[str, int]] = {}
        self._new: set[Key] = set()

    def look_up(self, rows: Iterable[Row]) -> None:
        """Begin a batch."""
        self.said = {}
        if self._is_there:
            keys = {(row.prompt.key, each) for row in rows for each in ("", *_ids(row))}
            self._cursor.execute(FIND, [list(part) for part in zip(*keys, strict=True)])
            self.said = {(prompt, response): (same, line) for prompt, response, same, line in self._cursor.fetchall()}

    def otherwise(self, key: Key, text: Text, line: int, *, note: bool) -> int:
        """The line that said otherwise of `key`, or 0. With `note` what `line` says counts from now on."""
        said = f"{text.text_hash} {text.model}"
        before = self.said.get(key)
        if before is None and note:
            self.said[key] = (said, line)
            self._new.add(key)
        return before[1] if before and before[0] != said else 0

    def store(self) -> None:
        """End a batch."""
        if not self._new:
            return
        if not self._is_there:
            self._cursor.execute(TABLE)
            self._is_there = True
        rows = [(*key, *self.said[key]) for key in self._new]
        self._cursor.execute(ADD, [list(column) for column in zip(*rows, strict=True)])
        self._new.clear()

    def drop(self) -> None:
        if self._is_there:
            self._cursor.execute("DROP TABLE pg_temp.ingest_unstored")


def _ids(row: Row) -> list[str]:
    return [each.key for each in row.responses]
