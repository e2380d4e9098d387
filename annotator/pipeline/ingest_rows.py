"""Rows as they are stored: a checked row's prompt, responses, comparisons and judgments, in batches.

Made where a file is read, which may be a process of its own: so nothing here knows the database, and what becomes of a
row are tuples of text and bytes, which pass from process to process in some twenty microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from annotator.formats.rows import ComparisonRow, Entry, GoldRow, PromptRow, ResponseRow, RowInvalid, Vote
from annotator.pipeline.ingest_copy import array, binary_json, binary_text, escaped, said

RaterKey = tuple[bool, str, str]  # is AI, source ("" for AI), name


class Text(NamedTuple):
    """A prompt or response. Its id, hash and model must mean the same wherever they stand; of a prompt `model` is "".

    `copied` and `texts` are binary fields for COPY: what is compared or short, and what is long.
    """

    key: str
    text_hash: str
    model: str
    field: str
    copied: bytes
    texts: bytes


class Compared(NamedTuple):
    """A comparison: `a`, `b` and `others` are places among the row's responses, `copied` fields for COPY."""

    key: str
    a: int
    b: int
    others: tuple[int, ...]
    criterion: str
    metadata: str
    gold: GoldRow | None
    field: str
    copied: str


class Judged(NamedTuple):
    """A judgment: `comparison` is a place in the row, `rater` a place among the file's, `said` COPY's text."""

    comparison: int
    rater: int
    round: int
    said: str
    field: str


class Row(NamedTuple):
    line: int
    prompt: Text
    responses: list[Text]
    comparisons: list[Compared]
    judged: list[Judged]


class Met(NamedTuple):
    """A rater, and the line and field where the file had it first."""

    key: RaterKey
    line: int
    field: str


@dataclass
class Batch:
    """Rows, and the raters that no batch before had. `size` is in bytes."""

    rows: list[Row] = field(default_factory=list)
    raters: list[Met] = field(default_factory=list)
    experts: list[RaterKey] = field(default_factory=list)
    size: int = 0


# The columns of `copied` and `texts`, in their order.
PROMPT = ("external_id", "metadata", "text_hash", "turns", "context")
RESPONSE = ("external_id", "model", "metadata", "text_hash", "text")
COMPARISON = ("external_id", "metadata", "criterion", "harms", "candidates_count")
# `texts` of what is compared by its hash alone.
NO_PROMPT, NO_RESPONSE = 2 * binary_json("[]"), binary_text("")


def _prompt(row: PromptRow) -> Text:
    copied = binary_text(row.external_id) + binary_json(row.metadata) + binary_text(row.text_hash)
    return Text(row.external_id, row.text_hash, "", "prompt", copied, binary_json(row.turns) + binary_json(row.context))


def _response(row: ResponseRow) -> Text:
    copied = b"".join(
        (binary_text(row.external_id), binary_text(row.model), binary_json(row.metadata), binary_text(row.text_hash))
    )
    return Text(row.external_id, row.text_hash, row.model, row.field, copied, binary_text(row.text))


def _comparison(row: ComparisonRow) -> Compared:
    copied = (
        f"{escaped(row.external_id)}\t{escaped(row.metadata)}\t{escaped(row.criterion)}\t{array(row.harms)}"
        f"\t{len(row.others)}"
    )
    return Compared(row.external_id, row.a, row.b, row.others, row.criterion, row.metadata, row.gold, row.field, copied)


class Gathering:
    """Rows on their way into a batch. `source` names where judgments come from when the rows do not."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.batch = Batch()
        self._raters: dict[RaterKey, int] = {}
        self._experts: set[RaterKey] = set()
        self._given_time = datetime.now(UTC).isoformat()

    def done(self) -> Batch:
        """What was gathered since the last call."""
        done, self.batch = self.batch, Batch()
        return done

    def add(self, line: int, entry: Entry, answers: list[Any]) -> None:
        """Take one checked row. Raises RowInvalid when two of its judgments claim the same place."""
        judged = self._judged(line, entry, answers) if entry.votes else []
        prompt, responses = _prompt(entry.prompt), [_response(each) for each in entry.responses]
        comparisons = [_comparison(each) for each in entry.comparisons]
        self.batch.size += sum([len(each.copied) + len(each.texts) for each in (prompt, *responses)])
        # Of a comparison's metadata there are two.
        self.batch.size += sum([2 * len(each.copied) for each in comparisons])
        self.batch.size += sum([len(each.said) for each in judged])
        self.batch.rows.append(Row(line, prompt, responses, comparisons, judged))

    def _judged(self, line: int, entry: Entry, answers: list[Any]) -> list[Judged]:
        """Judgments of a row; a person's second vote on a comparison is round 2."""
        taken: dict[tuple[int, int], set[int]] = {}
        judged = []
        for vote, answer in zip(entry.votes, answers, strict=True):
            rater = self._rater(line, vote)
            rounds = taken.setdefault((vote.comparison, rater), set())
            own_round = vote.round or max(rounds, default=0) + 1
            if own_round in rounds:
                raise RowInvalid(f"{vote.field}.round", f"{vote.rater or 'the rater'} has round {own_round} twice")
            rounds.add(own_round)
            judged.append(Judged(vote.comparison, rater, own_round, said(vote, answer, self._given_time), vote.field))
        return judged

    def _rater(self, line: int, vote: Vote) -> int:
        source = "" if vote.is_ai else self.source or vote.source or "import"
        if vote.is_expert and not vote.rater:
            # Anonymous experts are not the anonymous people beside them.
            source = f"{source[:90]} experts"
        key = (vote.is_ai, source, vote.rater)
        if vote.is_expert and key not in self._experts:
            self._experts.add(key)
            self.batch.experts.append(key)
        place = self._raters.get(key)
        if place is None:
            place = self._raters[key] = len(self._raters)
            self.batch.raters.append(Met(key, line, vote.field))
        return place
