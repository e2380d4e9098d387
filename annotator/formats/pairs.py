"""Pairs of a better and a worse response: what every pair format is written from, with one rule for ties and margins.

The rules are those of `docs/exports.md`: no trainer of pairs has a loss for ties or for "neither is valid".
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from annotator.formats.source import (
    TURN,
    FormatUnfit,
    Judged,
    Options,
    Prompt,
    Response,
    Row,
    Source,
    Writer,
    split_of,
)
from annotator.protocols import SIDES, Definition

# Llama 2 (arXiv 2307.09288, table 27, "large") gives the four strengths of its people 3, 2, 1 and 0.
LLAMA2 = 3.0
MESSAGES = pa.list_(TURN)
# Columns of ours that every pair format may add; trainers change their behaviour on bare names.
META: list[tuple[str, pa.DataType]] = [
    ("meta_comparison_id", pa.string()),
    ("meta_prompt_id", pa.string()),
    ("meta_chosen_model", pa.string()),
    ("meta_rejected_model", pa.string()),
    ("meta_source", pa.string()),
    ("meta_p_chosen", pa.float64()),
    ("meta_p_tie", pa.float64()),
    ("meta_agreement", pa.float64()),
    ("meta_votes", pa.int32()),
]


@dataclass(frozen=True)
class Pair:
    """`chosen` is better than `rejected` with probability `p_chosen`; `strength` in [0, 1] by people's preferences."""

    key: str
    prompt: Prompt
    chosen: Response
    rejected: Response
    p_chosen: float
    strength: float
    judged: Judged

    def margin(self, kind: str) -> float:
        """The margin under an `Options.margin` other than "none"."""
        if kind == "soft":
            return abs(2 * self.p_chosen - 1)
        return self.strength * (LLAMA2 if kind == "llama2" else 1)

    def conversation(self, response: Response) -> list[dict[str, str]]:
        return [*self.prompt.messages, {"role": "assistant", "content": response.text}]

    @property
    def meta(self) -> dict[str, Any]:
        """The values of `META`."""
        label = self.judged.label
        return {
            "meta_comparison_id": self.key,
            "meta_prompt_id": self.prompt.key,
            "meta_chosen_model": self.chosen.model,
            "meta_rejected_model": self.rejected.model,
            "meta_source": label.source,
            "meta_p_chosen": self.p_chosen,
            "meta_p_tie": label.p_tie,
            "meta_agreement": label.agreement,
            "meta_votes": label.votes,
        }


def pairs_of(judged: Judged, options: Options) -> tuple[list[Pair], str]:
    """The pairs of a comparison, or none and the reason."""
    if options.pairs == "all" and judged.further:
        return _ranked(judged, options)
    reason = judged.unusable(options)
    if reason:
        return [], reason
    p_b, towards_b = judged.label.p_b or 0.0, judged.label.strength or 0.0
    made = _ways(judged, judged.key, judged.response_a, judged.response_b, p_b, towards_b, options)
    return made, "" if made else "a tie"


def _ways(
    judged: Judged, key: str, a: Response, b: Response, p_b: float, towards_b: float, options: Options
) -> list[Pair]:
    """One pair; of a tie none, or with ties "both" one each way round."""
    # Where a few strong votes outweigh the majority's mild ones, the strength is none rather than negative.
    to_a = Pair(key, judged.prompt, a, b, 1 - p_b, max(0.0, -towards_b), judged)
    to_b = Pair(key, judged.prompt, b, a, p_b, max(0.0, towards_b), judged)
    if abs(p_b - 0.5) < 1e-9:
        # As many for A as for B: no margin either way, however strongly some of them said it.
        ties = [replace(each, strength=0.0) for each in (to_a, to_b)]
        return ties if options.ties == "both" else []
    return [to_b] if p_b > 0.5 else [to_a]


def _ranked(judged: Judged, options: Options) -> tuple[list[Pair], str]:
    """Every two responses that people's ranks tell apart. Ranks say which is better and not by how much: strength 0."""
    responses = (judged.response_a, judged.response_b, *judged.further)
    made: list[Pair] = []
    for first, second in itertools.combinations(range(len(responses)), 2):
        a, b = responses[first], responses[second]
        votes = [vote for each in judged.people if (vote := _said(each.ranking, first, second)) is not None]
        if not votes or a.text == b.text or not a.text.strip() or not b.text.strip():
            continue
        key = f"{judged.key}:{SIDES[first]}{SIDES[second]}"
        made += _ways(judged, key, a, b, sum(votes) / len(votes), 0.0, options)
    return made, "" if made else "no two responses told apart by ranks"


def _said(ranking: dict[str, Any], first: int, second: int) -> float | None:
    """1 when the ranking says that `second` is better than `first`, 0 when worse, ½ when equal; None when silent."""
    if "ranks" in ranking:
        ranks = ranking["ranks"]
        return None if second >= len(ranks) else ((ranks[first] > ranks[second]) + (ranks[first] >= ranks[second])) / 2
    best, worst = ranking.get("best"), ranking.get("worst")
    if best in (first, second):
        return float(best == second)
    return float(worst == first) if worst in (first, second) else None


class PairWriter(Writer):
    """A format with one row a pair. Subclasses give `title`, `configs`, `notes` and `row`.

    One with further tables, or several rows a pair, gives its own `tables`.
    """

    # The config that `row` is for.
    main = "default"
    heeds = frozenset({"ties", "neither", "pairs", "validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        if options.ties == "keep":
            raise FormatUnfit(f"{self.title} has no row for a tie: leave ties out, or write them both ways round.")
        super().__init__(protocol, options)

    @abstractmethod
    def row(self, pair: Pair) -> dict[str, Any] | None:
        """The row of a pair, or None after counting in `left_out` why it has none."""

    @property
    def notes(self) -> list[str]:
        ties = {"both": "Ties are written twice, once each way round, with margin 0."}
        return [ties.get(self.options.ties, "Ties are left out: the trainer has no loss for them.")]

    def pairs(self, judged: Judged) -> list[Pair]:
        """The pairs of a comparison; why there is none is counted."""
        made, reason = pairs_of(judged, self.options)
        if reason:
            self.left_out[reason] += 1
        return made

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of a comparison, each with the config that it belongs to."""
        for pair in self.pairs(judged):
            values = self.row(pair)
            if values is not None:
                yield self.main, values

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split = split_of(judged.prompt, self.options)
            for config, values in self.tables(judged):
                yield Row(config, split, values)
