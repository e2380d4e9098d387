"""What a project holds of a batch of rows on their way in: its prompts, responses and comparisons, by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator.formats.rows import ComparisonRow, PromptRow, ResponseRow


@dataclass(slots=True)
class Row:
    """One checked row: what it brings, and its judgments as `Judged`."""

    line: int
    prompt: PromptRow
    responses: list[ResponseRow]
    comparisons: list[ComparisonRow]
    judged: list[Judged]


@dataclass(slots=True)
class Judged:
    """A judgment of a row: `comparison` is a place in the row, `rater` a place among the file's, `said` COPY's text."""

    comparison: int
    rater: int
    round: int
    said: str
    field: str


@dataclass(slots=True)
class Held:
    """A prompt or response: `same` is what must be the same wherever its id stands. `line` is 0 if it was stored."""

    pk: int
    same: tuple[str, ...]
    line: int = 0


@dataclass(slots=True)
class HeldComparison:
    """A comparison; of one that was stored `texts` is ((text_hash,) of the prompt, (text_hash, model) of A, of B)."""

    pk: int
    line: int = 0
    texts: tuple[tuple[str, ...], ...] = ()
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


def look_up(cursor: Any, project_id: int, rows: Iterable[Row], first: int) -> Known:
    """What the project holds of `rows`. Comparisons from the id `first` on came with this very file."""
    known = Known()
    rows = list(rows)
    keys = list({row.prompt.external_id for row in rows})
    cursor.execute(PROMPTS, {"project": project_id, "keys": keys})
    known.prompts = {key: Held(pk, (text_hash,)) for key, pk, text_hash in cursor.fetchall()}
    _look_up_responses(cursor, rows, known)
    keys = list({each.external_id for row in rows for each in row.comparisons})
    cursor.execute(COMPARISONS, {"project": project_id, "keys": keys, "first": first})
    for key, pk, line, prompt, a, a_model, b, b_model, criterion, others, use, better in cursor.fetchall():
        texts = ((prompt,), (a, a_model), (b, b_model))
        known.comparisons[key] = HeldComparison(pk, line or 0, texts, criterion, others, (use, better) if use else None)
    return known


def _look_up_responses(cursor: Any, rows: Iterable[Row], known: Known) -> None:
    """A prompt that is new has none."""
    wanted = {
        (row.prompt.external_id, each.external_id)
        for row in rows
        if row.prompt.external_id in known.prompts
        for each in row.responses
    }
    if not wanted:
        return
    prompts, keys = zip(*wanted, strict=True)
    ids = [known.prompts[key].pk for key in prompts]
    cursor.execute(RESPONSES, {"ids": ids, "prompts": list(prompts), "keys": list(keys)})
    for key, pk, text_hash, model, prompt in cursor.fetchall():
        known.responses[prompt, key] = Held(pk, (text_hash, model))
