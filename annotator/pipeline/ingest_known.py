"""What a project holds of a batch of rows on their way in: its prompts, responses and comparisons, by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator.pipeline.ingest_rows import Row

# Bits of a filter; a million ids set less than a fiftieth of them.
BITS = 2**26


@dataclass(slots=True)
class Held:
    """A prompt or response: what must be the same wherever its id stands. `line` is 0 if it was stored."""

    pk: int
    text_hash: str
    model: str = ""
    line: int = 0


@dataclass(slots=True)
class HeldComparison:
    """A comparison; of one that was stored `texts` is (text_hash, model) of the prompt, of A, of B."""

    pk: int
    line: int = 0
    texts: tuple[tuple[str, str], ...] = ()
    criterion: str = ""
    others: Sequence[str] = ()
    # (use, better), or none.
    gold: tuple[str, list[str]] | None = None


@dataclass
class Known:
    """What is known of a batch: by external id, responses by those of their prompt and their own."""

    prompts: dict[str, Held] = field(default_factory=dict)
    responses: dict[tuple[str, str], Held] = field(default_factory=dict)
    comparisons: dict[str, HeldComparison] = field(default_factory=dict)


# Each id is looked for as the next in the order of the unique index. By equality the planner may take the project alone
# to be as selective, or another index, and reads all of a project that its statistics do not know yet, once a batch.
PROMPTS = """SELECT p.external_id, p.id, p.text_hash
FROM unnest(%(keys)s::text[]) wanted(key)
CROSS JOIN LATERAL (
  SELECT * FROM annotator_prompt next WHERE (next.project_id, next.external_id) >= (%(project)s::bigint, wanted.key)
  ORDER BY next.project_id, next.external_id LIMIT 1) p
WHERE p.project_id = %(project)s AND p.external_id = wanted.key"""
RESPONSES = """SELECT r.external_id, r.id, r.text_hash, r.model, wanted.prompt
FROM unnest(%(ids)s::bigint[], %(prompts)s::text[], %(keys)s::text[]) wanted(id, prompt, key)
CROSS JOIN LATERAL (
  SELECT * FROM annotator_response next WHERE (next.prompt_id, next.external_id) >= (wanted.id, wanted.key)
  ORDER BY next.prompt_id, next.external_id LIMIT 1) r
WHERE r.prompt_id = wanted.id AND r.external_id = wanted.key"""
# `ingest_met` has the comparisons stored before that the file had on an earlier line; what the file itself brought has
# its line as `queue_order`.
COMPARISONS = """SELECT c.external_id, c.id, CASE WHEN c.id >= %(first)s THEN c.queue_order ELSE m.line END,
  p.text_hash, a.text_hash, a.model, b.text_hash, b.model, c.criterion,
  CASE WHEN c.candidates_count > 0 THEN ARRAY(
    SELECT r.external_id::text FROM annotator_candidate more JOIN annotator_response r ON r.id = more.response_id
    WHERE more.comparison_id = c.id ORDER BY more.place) ELSE '{}' END,
  g.use, g.better::text[]
FROM unnest(%(keys)s::text[]) wanted(key)
CROSS JOIN LATERAL (
  SELECT * FROM annotator_comparison next WHERE (next.project_id, next.external_id) >= (%(project)s::bigint, wanted.key)
  ORDER BY next.project_id, next.external_id LIMIT 1) c
JOIN annotator_prompt p ON p.id = c.prompt_id
JOIN annotator_response a ON a.id = c.response_a_id
JOIN annotator_response b ON b.id = c.response_b_id
LEFT JOIN annotator_gold g ON g.comparison_id = c.id
LEFT JOIN pg_temp.ingest_met m ON m.id = c.id
WHERE c.project_id = %(project)s AND c.external_id = wanted.key"""


class Seen:
    """Which ids may have come before: of those that did none is missed, of the others few are taken for one."""

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def again(self, keys: Iterable[str]) -> list[str]:
        """Of different `keys` those that may have been given before."""
        bits, found = self._bits, []
        for key in keys:
            place = hash(key) % BITS
            bit = 1 << (place & 7)
            if bits[place >> 3] & bit:
                found.append(key)
            else:
                bits[place >> 3] |= bit
        return found


class Lookup:
    """What a project holds of the rows of a file, batch by batch.

    Into a project without prompts nothing comes but this file, so only what it may have had before is looked for. Where
    something else does come, the database refuses it twice, and the import starts over (`ingest.Disturbed`).
    """

    def __init__(self, cursor: Any, project_id: int, first: int) -> None:
        """Comparisons from the id `first` on came with this very file."""
        self._cursor, self._project, self._first = cursor, project_id, first
        cursor.execute("SELECT EXISTS (SELECT FROM annotator_prompt WHERE project_id = %s)", [project_id])
        self._is_empty = not cursor.fetchone()[0]
        self._prompts, self._comparisons = Seen(), Seen()

    def known(self, rows: Sequence[Row]) -> Known:
        known = Known()
        prompts: Iterable[str] = {row.prompt.key for row in rows}
        comparisons: Iterable[str] = {each.key for row in rows for each in row.comparisons}
        if self._is_empty:
            prompts, comparisons = self._prompts.again(prompts), self._comparisons.again(comparisons)
        if prompts:
            self._cursor.execute(PROMPTS, {"project": self._project, "keys": list(prompts)})
            known.prompts = {key: Held(pk, text_hash) for key, pk, text_hash in self._cursor.fetchall()}
            self._responses(rows, known)
        if comparisons:
            self._look_up_comparisons(list(comparisons), known)
        return known

    def _responses(self, rows: Iterable[Row], known: Known) -> None:
        """A prompt that is new has none."""
        wanted = {
            (row.prompt.key, each.key) for row in rows if row.prompt.key in known.prompts for each in row.responses
        }
        if not wanted:
            return
        prompts, keys = zip(*wanted, strict=True)
        ids = [known.prompts[key].pk for key in prompts]
        self._cursor.execute(RESPONSES, {"ids": ids, "prompts": list(prompts), "keys": list(keys)})
        for key, pk, text_hash, model, prompt in self._cursor.fetchall():
            known.responses[prompt, key] = Held(pk, text_hash, model)

    def _look_up_comparisons(self, keys: list[str], known: Known) -> None:
        self._cursor.execute(COMPARISONS, {"project": self._project, "keys": keys, "first": self._first})
        for key, pk, line, prompt, a, a_model, b, b_model, criterion, others, use, better in self._cursor.fetchall():
            texts, gold = ((prompt, ""), (a, a_model), (b, b_model)), (use, better) if use else None
            known.comparisons[key] = HeldComparison(pk, line or 0, texts, criterion, others, gold)
