"""The cache of scores in the database: what one labeler of one project computed, no other computes again.

It is the whole site's, because a key is digests of weights and token ids and tells nothing of a text. A write is one
statement and its own transaction, so nothing is held while a model computes; two workers that computed the same store
the same.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence

from django.db import connection

from labelers.logprobs.cache import Key, Score

# Keys of one look-up: a shard has tens of thousands, and one statement for all of them would hold them twice.
PART = 5000

_FIND = """
SELECT c.model, c.context, c.response, c.options, c.total, c.tokens, c.per_token
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS k (model, context, response, options)
JOIN annotator_cachedscore c USING (model, context, response, options)
"""
# A score with its tokens replaces one without, never the other way round, and never one that has them already: two
# workers on two machines differ in the last digits, and what a verdict came from stays.
_KEEP = """
INSERT INTO annotator_cachedscore (model, context, response, options, total, tokens, per_token, created_at)
SELECT *, now() FROM unnest(
    %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::int[], %s::bytea[]
) AS new (model, context, response, options, total, tokens, per_token)
ORDER BY model, context, response, options
ON CONFLICT (model, context, response, options) DO UPDATE
SET total = excluded.total, tokens = excluded.tokens, per_token = excluded.per_token
WHERE annotator_cachedscore.per_token IS NULL AND excluded.per_token IS NOT NULL
"""


class Stored:
    """`labelers.logprobs.Cache` over the table. Safe in several processes at once.

    `beat` is called after each look-up and each write, between two batches of an engine, with the share of the present
    call that is done; what it raises stops the engine there, and what was stored stays. `sweeps`: how many engines ask
    one after the other in a call.
    """

    def __init__(self, beat: Callable[[float], None] = lambda _share: None, sweeps: int = 1) -> None:
        self.beat = beat
        self.sweeps = sweeps
        self._swept = 0
        self._wanted = self._done = 0

    def begin(self) -> None:
        """A new call: its share starts at nothing."""
        self._swept = self._wanted = self._done = 0

    def get(self, keys: Sequence[Key]) -> dict[Key, Score]:
        asked = list(dict.fromkeys(keys))
        found: dict[Key, Score] = {}
        for start in range(0, len(asked), PART):
            found.update(_found(asked[start : start + PART]))
        self._swept += 1
        self._wanted, self._done = len(asked), len(found)
        self._tell()
        return found

    def put(self, scores: Mapping[Key, Score]) -> None:
        rows = [(*key, score.total, score.tokens, _packed(score.per_token)) for key, score in scores.items()]
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)])
        self._done += len(rows)
        self._tell()

    def _tell(self) -> None:
        of_sweep = self._done / self._wanted if self._wanted else 1.0
        self.beat(min(1.0, (self._swept - 1 + of_sweep) / self.sweeps) if self._swept else 0.0)


def _found(keys: Sequence[Key]) -> dict[Key, Score]:
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [list(column) for column in zip(*keys, strict=True)])
        return {Key(*row[:4]): Score(row[4], row[5], _unpacked(row[6])) for row in cursor.fetchall()}


def _packed(values: Sequence[float] | None) -> bytes | None:
    """fp32, little-endian: what a model computes in, and half the size."""
    if values is None:
        return None
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpacked(stored: bytes | memoryview | None) -> tuple[float, ...] | None:
    if stored is None:
        return None
    values = array("f", bytes(stored))
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(values)
