"""What was scored once is never scored again: by model, context, response and options, whichever labeler asks.

The caller hands a cache in, because `labelers` knows no database of its own. `InMemory` is for notebooks and tests,
`SQLite` for one machine; anything with these two methods will do.
"""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from labelers.logprobs.packing import Tokens


class Key(NamedTuple):
    # Names the weights exactly: a commit, or a digest of the files; with its adapter.
    model: str
    # Digests of the token ids: the same text under another template is another context.
    context: str
    response: str
    # What else changes a score: precision, temperature.
    options: str


@dataclass(frozen=True)
class Score:
    """log p of a response's tokens in nats. `per_token` is there when it was asked for."""

    total: float
    tokens: int
    per_token: tuple[float, ...] | None = None


class Cache(Protocol):
    def get(self, keys: Sequence[Key]) -> dict[Key, Score]:
        """Those of the keys that are known."""

    def put(self, scores: Mapping[Key, Score]) -> None:
        """Keep them. A score with its tokens replaces one without, never the other way round."""


def key(model: str, options: str, tokens: Tokens) -> Key:
    return Key(model, _digest(tokens.context), _digest(tokens.response), options)


def _digest(ids: Iterable[int]) -> str:
    return hashlib.sha256(array("I", ids).tobytes()).hexdigest()[:32]


class InMemory:
    def __init__(self) -> None:
        self.scores: dict[Key, Score] = {}

    def get(self, keys: Sequence[Key]) -> dict[Key, Score]:
        return {each: self.scores[each] for each in keys if each in self.scores}

    def put(self, scores: Mapping[Key, Score]) -> None:
        for each, score in scores.items():
            if score.per_token is not None or each not in self.scores:
                self.scores[each] = score


class SQLite:
    """One file; several processes of one machine may share it. Scores per token are kept in fp32."""

    def __init__(self, path: str | Path) -> None:
        self.connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS scores (model TEXT, context TEXT, response TEXT, options TEXT,"
            " total REAL NOT NULL, tokens INTEGER NOT NULL, per_token BLOB,"
            " PRIMARY KEY (model, context, response, options)) WITHOUT ROWID"
        )

    def get(self, keys: Sequence[Key]) -> dict[Key, Score]:
        found = {}
        for each in set(keys):
            row = self.connection.execute(
                "SELECT total, tokens, per_token FROM scores"
                " WHERE model = ? AND context = ? AND response = ? AND options = ?",
                each,
            ).fetchone()
            if row:
                found[each] = Score(row[0], row[1], None if row[2] is None else tuple(array("f", row[2])))
        return found

    def put(self, scores: Mapping[Key, Score]) -> None:
        rows = [
            (
                *each,
                score.total,
                score.tokens,
                None if score.per_token is None else array("f", score.per_token).tobytes(),
            )
            for each, score in scores.items()
        ]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET total = excluded.total, per_token = excluded.per_token WHERE excluded.per_token IS NOT NULL",
            rows,
        )
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()
