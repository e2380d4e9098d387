"""RewardBench 2 (arXiv 2506.01937): one instruction, several right answers and several wrong ones.

Of our comparisons of one prompt, one ranking or several pairs, a response is right that beats another and loses to
none, and wrong that loses to all right ones, directly or through others. What stands between is left out of the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.pairs import pairs_of
from annotator.formats.published import better, conversations
from annotator.formats.published.rewardbench import subset_of
from annotator.formats.published.together import by_prompt
from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.formats.source import Config, FormatUnfit, Judged, Options, Response, Row, Source, Writer
from annotator.protocols import Definition

TITLE = "RewardBench 2"
# What its rows say is the benchmark's own key, made by people, programs and models together.
LABELER = "reward-bench-2"
COLUMNS = {
    "id": _("name of the comparisons, with the subset"),
    "prompt": _("the prompt"),
    "chosen": _("right responses, each compared with each wrong one; which becomes A is drawn"),
    "rejected": _("wrong responses"),
    "models": _("the models of the right responses, then of the wrong ones"),
    "meta_source": _("who judged; the labeler “reward-bench-2” where there is none"),
}
KNOWN = (
    *("prompt", "chosen", "rejected", "models", "num_correct", "num_incorrect", "total_completions"),
    "meta_comparison_ids",
)
SPLIT = "test"
# Of a row with more pairs every response is in one at least, and not every right one meets every wrong one.
MOST_PAIRS = 64
FEWER = "pairs of a row with very many responses"
_TEXTS = pa.list_(pa.string())
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("chosen", _TEXTS),
        ("rejected", _TEXTS),
        ("num_correct", pa.int64()),
        ("num_incorrect", pa.int64()),
        ("total_completions", pa.int64()),
        ("models", _TEXTS),
        ("subset", pa.string()),
        ("meta_source", pa.string()),
        ("meta_comparison_ids", _TEXTS),
    ]
)


class RewardBench2(Writer):
    title = TITLE
    group = "published"
    heeds = frozenset({"neither", "pairs"})
    # A row is made of all comparisons of its prompt.
    is_whole = True

    def __init__(self, protocol: Definition, options: Options) -> None:
        if options.ties != "drop":
            raise FormatUnfit("RewardBench 2 has no place for ties: leave them out.")
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", _SCHEMA, "one row a prompt: right and wrong answers"),)

    @property
    def notes(self) -> list[str]:
        return [
            "All comparisons of one prompt are one row. Right is a response that beats another and "
            "loses to none; wrong is one that loses to every right one, directly or through others. Responses in "
            "between are left out. The benchmark itself has one right answer to three wrong ones, but for its ties.",
            "With pairs “first” a ranking counts as A against B alone; ask for all of its pairs.",
            "The benchmark's prompts are one instruction; conversations of several turns and with system turns are "
            "left out.",
            "`models` names the models of the right answers, then those of the wrong ones.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in by_prompt(source, self.left_out):
            values, reason = self._row(judged)
            if reason:
                self.left_out[reason] += 1
            else:
                yield Row("default", SPLIT, values)

    def _row(self, judged: list[Judged]) -> tuple[dict[str, Any], str]:
        prompt, reason = conversations.only_turn(judged[0].prompt)
        if reason:
            return {}, reason
        responses, beaten = self._beaten(judged)
        right, wrong = _sorted_out(list(responses), beaten)
        if not right or not wrong:
            return {}, "no response that beats another and loses to none"
        chosen, rejected = ([responses[key] for key in keys] for keys in (right, wrong))
        return {
            "id": judged[0].prompt.key,
            "prompt": prompt,
            "chosen": [each.text for each in chosen],
            "rejected": [each.text for each in rejected],
            "num_correct": len(chosen),
            "num_incorrect": len(rejected),
            "total_completions": len(chosen) + len(rejected),
            "models": [each.model for each in (*chosen, *rejected)],
            "subset": subset_of(judged[0]),
            "meta_source": ", ".join(sorted({each.label.source for each in judged})),
            "meta_comparison_ids": [each.key for each in judged],
        }, ""

    def _beaten(self, judged: list[Judged]) -> tuple[dict[str, Response], dict[str, set[str]]]:
        """The responses of usable pairs by id, and for each the ids of those that it beats."""
        responses: dict[str, Response] = {}
        beaten: dict[str, set[str]] = {}
        for each in judged:
            pairs, reason = pairs_of(each, self.options)
            if reason:
                self.left_out[reason] += 1
            for pair in pairs:
                responses |= {pair.chosen.key: pair.chosen, pair.rejected.key: pair.rejected}
                beaten.setdefault(pair.chosen.key, set()).add(pair.rejected.key)
        return responses, beaten


def _sorted_out(keys: list[str], beaten: Mapping[str, set[str]]) -> tuple[list[str], list[str]]:
    losers = set().union(*beaten.values()) if beaten else set()
    right = [key for key in keys if beaten.get(key) and key not in losers]
    wrong = set(keys) if right else set()
    for key in right:
        wrong &= _below(key, beaten)
    return right, [key for key in keys if key in wrong]


def _below(key: str, beaten: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        new = beaten.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def claims(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(name), list) for name in ("chosen", "rejected")) and "num_correct" in row


def read(row: Mapping[str, Any]) -> Entry:
    """One row: each right response compared with each wrong one. Raises RowInvalid."""
    turns = [{"role": "user", "content": rows.text(row.get("prompt"), "prompt", empty=True)}]
    conversations.filled(turns, [*row["chosen"], *row["rejected"]])
    prompt = rows.prompt_row(None, turns, [])
    responses = rows.apart(_responses(row))
    count = len(row["chosen"])
    pairs, left = _pairs(list(range(count)), list(range(count, len(responses))))
    said = better.said_by(row, otherwise=LABELER)
    subset = rows.text(row.get("subset") or "default", "subset", width=60)
    name = f"{subset}:{rows.identifier(row.get('id'), 'id', width=100)}"
    metadata = better.metadata_of(row, KNOWN)
    comparisons: list[rows.ComparisonRow] = []
    votes: list[Vote] = []
    for place, (right, wrong) in enumerate(pairs):
        swapped = better.drawn(prompt, responses[wrong]) < better.drawn(prompt, responses[right])
        a, b = (wrong, right) if swapped else (right, wrong)
        own = name if len(pairs) == 1 else f"{name}:{right + 1}-{wrong + 1 - count}"
        comparisons.append(rows.comparison_row(own, responses, a, b, metadata, "id"))
        votes.append(better.vote(said, 1 if swapped else -1, "chosen", place))
    return Entry(prompt, responses, comparisons, votes, left)


def _responses(row: Mapping[str, Any]) -> list[rows.ResponseRow]:
    texts = [(name, place, text) for name in ("chosen", "rejected") for place, text in enumerate(row[name])]
    if not row["chosen"] or not row["rejected"]:
        raise RowInvalid("chosen", "needs a right and a wrong response")
    models = rows.sequence(row.get("models"), "models")
    known = models if len(models) == len(texts) else [None] * len(texts)
    return [
        rows.response_row({"text": text, "model": model}, f"{name}[{place}]", f"{name}[{place}]")
        for (name, place, text), model in zip(texts, known, strict=True)
    ]


def _pairs(right: list[int], wrong: list[int]) -> tuple[list[tuple[int, int]], list[str]]:
    every = list(product(right, wrong))
    if len(every) <= MOST_PAIRS:
        return every, []
    most = max(len(right), len(wrong))
    return [(right[at % len(right)], wrong[at % len(wrong)]) for at in range(most)], [FEWER]
