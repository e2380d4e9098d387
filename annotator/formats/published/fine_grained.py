"""Marked errors (arXiv 2306.01693), in the layout of qa-feedback: one row a response that somebody has read.

`prediction 1` is the response that was read, `feedback` what the person marked in it, `prediction 2` the other one;
`preference` says 1 or 2, or 0 for neither. Places count code points of the text, ends exclusive. Rows are read by
`fine_grained_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.source import Config, FormatUnfit, Judged, Options, Prompt, Row, Source, Vote, Writer, split_of
from annotator.protocols import Definition

# The words of the original for the kinds that the preset “fine-grained” has; others are written as the protocol's.
ERRORS = {
    "irrelevant": "Irrelevant",
    "repetitive": "Redundant",
    "incoherent": "Incoherent",
    "wrong_fact": "Wrong-Grounding",
    "unverifiable": "Unverifiable",
}
# What is missing, by the rating of completeness, 0 to 3 (nothing is).
COMPLETENESS = "completeness"
MISSING = ("Missing-Answer", "Missing-Major-Auxiliary", "Missing-Minor-Auxiliary")

_TEXT = pa.string()
_ERROR = pa.struct(
    [
        ("error type", _TEXT),
        ("explanation", _TEXT),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("meta_severity", _TEXT),
    ]
)
_MISSING = pa.struct([("error type", _TEXT), ("passage_id", pa.int32()), ("sentence_id", pa.list_(pa.int32()))])
_FEEDBACK = pa.struct(
    [("errors", pa.list_(_ERROR)), ("missing-info", pa.list_(_MISSING)), ("corrected-prediction", _TEXT)]
)
_SCHEMA = pa.schema(
    [
        ("question", _TEXT),
        ("passages", pa.list_(pa.list_(_TEXT))),
        ("prediction 1", _TEXT),
        ("prediction 2", _TEXT),
        ("feedback", _FEEDBACK),
        ("preference", pa.list_(pa.int32())),
        ("meta_comparison_id", _TEXT),
        ("meta_prompt_id", _TEXT),
        ("meta_side", _TEXT),
        ("meta_rater", _TEXT),
        ("meta_models", pa.list_(_TEXT)),
    ]
)


class FineGrained(Writer):
    title = "Fine-grained feedback"
    group = "published"
    heeds = frozenset({"validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        if protocol.spans is None:
            raise FormatUnfit(
                "Fine-grained feedback needs passages marked in the responses, which this project's protocol does not "
                "ask for. The preset “fine-grained” does; HelpSteer3 or judgments may fit this project."
            )
        self.words = {choice.key: ERRORS.get(choice.key, choice.label) for choice in protocol.spans.types}
        rated = {attribute.key: (attribute.minimum, attribute.maximum) for attribute in protocol.attributes}
        self.has_completeness = rated.get(COMPLETENESS) == (0, len(MISSING))
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", _SCHEMA, "one row a response that somebody has read, with what they marked in it"),)

    @property
    def notes(self) -> list[str]:
        return [
            "A judgment gives two rows, one for each response as `prediction 1`; `meta_side` says whether it is A or "
            "B, `meta_models` who wrote the two predictions. No errors means that the person marked none.",
            "`start` and `end` count Unicode code points of `prediction 1` (as Python does), the end is exclusive; "
            "`meta_severity` is ours.",
            "`preference` holds one number, 1 or 2 for the better prediction and 0 for a tie; it is empty where "
            "neither was found valid. The original has four predictions and six numbers.",
            (
                "`missing-info` follows from the rating of completeness and names no passages; null is unrated."
                if self.has_completeness
                else "`missing-info` is null: the protocol does not ask what is missing."
            ),
            "`corrected-prediction` is the response as its judge edited it, null where nobody did.",
            "Of a ranking there are A and B alone.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            if not judged.people:
                self.left_out["judged by an AI labeler only"] += 1
                continue
            split = split_of(judged.prompt, self.options)
            for vote in judged.people:
                yield from (Row("default", split, self._row(judged, vote, side)) for side in "ab")

    def _row(self, judged: Judged, vote: Vote, side: str) -> dict[str, Any]:
        pair = [judged.response_a, judged.response_b]
        read, other = pair if side == "a" else pair[::-1]
        return {
            # Without its documents, which stand in `passages`.
            "question": Prompt(judged.prompt.key, judged.prompt.turns).text,
            "passages": [[document.get("title", ""), document["text"]] for document in judged.prompt.context],
            "prediction 1": read.text,
            "prediction 2": other.text,
            "feedback": {
                "errors": [self._error(span) for span in vote.spans if span["side"] == side],
                "missing-info": self._missing(vote, side),
                "corrected-prediction": vote.edit["text"] if vote.edit.get("side") == side else None,
            },
            "preference": _preference(vote, side),
            "meta_comparison_id": judged.key,
            "meta_prompt_id": judged.prompt.key,
            "meta_side": side,
            "meta_rater": vote.rater,
            "meta_models": [read.model, other.model],
        }

    def _error(self, span: dict[str, Any]) -> dict[str, Any]:
        return {
            "error type": self.words.get(span["type"], span["type"]),
            "explanation": span.get("comment") or "",
            "start": span["start"],
            "end": span["end"],
            "meta_severity": span.get("severity") or "",
        }

    def _missing(self, vote: Vote, side: str) -> list[dict[str, Any]] | None:
        """None where nobody said what is missing."""
        rating = (vote.attributes.get(COMPLETENESS) or {}).get(side) if self.has_completeness else None
        if rating is None or rating >= len(MISSING):
            return None if rating is None else []
        return [{"error type": MISSING[rating], "passage_id": None, "sentence_id": []}]


def _preference(vote: Vote, side: str) -> list[int]:
    """Which of the read response and the other one is better."""
    if vote.preference is None:
        return []
    if vote.preference == 0:
        return [0]
    return [1 if (vote.preference < 0) == (side == "a") else 2]
