"""MultiPref (arXiv 2410.19133), in the layout of allenai/multipref: one row a comparison with every person's answers.

Reviewers and leads stand under `expert_worker_annotations`, everybody else under `normal_worker_annotations`. The
binarized tables hold one chosen and one rejected conversation a comparison, by what people or AI labelers said overall.
Rows of the default table are read by `multipref_rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pyarrow as pa

from annotator.formats.source import TURN, Config, FormatUnfit, Judged, Options, Row, Source, Vote, Writer, split_of
from annotator.protocols import Definition

ASPECTS = ("helpful", "truthful", "harmless")
PREFERENCES = {
    -2: "A-is-clearly-better",
    -1: "A-is-slightly-better",
    0: "Tie",
    1: "B-is-slightly-better",
    2: "B-is-clearly-better",
}
CONFIDENCES = {1: "not-confident", 2: "fairly-confident", 3: "absolutely-confident"}

_TEXT = pa.string()
_VOTE = pa.struct(
    [
        ("evaluator", _TEXT),
        ("timestamp", _TEXT),
        ("time_spent", pa.int32()),
        ("overall_pref", _TEXT),
        ("overall_confidence", _TEXT),
        *(
            (f"{aspect}_{part}", pa.list_(_TEXT) if part == "checked_reasons" else _TEXT)
            for aspect in ASPECTS
            for part in ("pref", "checked_reasons", "own_reason", "confidence")
        ),
        ("meta_justification", _TEXT),
    ]
)
_SCHEMA = pa.schema(
    [
        *(
            (name, _TEXT)
            for name in (
                "comparison_id",
                "prompt_id",
                "text",
                "model_a",
                "completion_a",
                "model_b",
                "completion_b",
                "source",
                "category",
                "subject_study",
                "highest_level_degree",
            )
        ),
        ("normal_worker_annotations", pa.list_(_VOTE)),
        ("expert_worker_annotations", pa.list_(_VOTE)),
        ("meta_turns", pa.list_(TURN)),
        ("meta_source", _TEXT),
        ("meta_p_b", pa.float64()),
        ("meta_votes", pa.int32()),
    ]
)

_CONVERSATION = pa.list_(TURN)
_BINARIZED = pa.schema(
    [
        *((name, _TEXT) for name in ("comparison_id", "prompt_id", "text", "chosen_model", "rejected_model")),
        ("chosen", _CONVERSATION),
        ("rejected", _CONVERSATION),
        ("tie_is_common", pa.bool_()),
        ("meta_judges", pa.list_(_TEXT)),
    ]
)
HUMAN, AI = "human_overall_binarized", "ai_overall_binarized"


class MultiPref(Writer):
    title = "MultiPref"
    group = "published"
    heeds = frozenset({"ai", "validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        asked = {aspect.key: [level.value for level in aspect.levels] for aspect in protocol.aspects}
        missing = [key for key in ASPECTS if asked.get(key) != list(PREFERENCES)]
        if missing or [level.value for level in protocol.levels] != list(PREFERENCES):
            raise FormatUnfit(
                "MultiPref needs five levels from -2 to 2, overall and for "
                f"{', '.join(missing or ASPECTS)}, which this project's protocol does not ask for. The preset "
                "“multipref” does; HelpSteer2, TRL reward or judgments may fit this project."
            )
        self.reasons = {
            aspect.key: {choice.key: choice.label for choice in aspect.reasons} for aspect in protocol.aspects
        }
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (
            Config("default", _SCHEMA, "one row a comparison with every person's answers"),
            Config(HUMAN, _BINARIZED, "one row a comparison: what people prefer overall"),
            Config(AI, _BINARIZED, "one row a comparison: what AI labelers prefer overall"),
        )

    @property
    def notes(self) -> list[str]:
        notes = [
            "Answers of reviewers and leads, and of people who came as experts, are the expert ones, all others the "
            "normal ones.",
            "`evaluator` is a pseudonym.",
            "Answers that neither response is valid have no place in this format and are not in it.",
            "`text` is the conversation as one string, `meta_turns` the same as messages; "
            "`meta_p_b` is the label's probability that B is better, `meta_source` whose judgment it is.",
            "A person's words about the overall answer are in `meta_justification`; `*_own_reason` has those about an "
            "aspect of people who came from a set that asks for them, and is empty for all others.",
            f"`{HUMAN}` goes by the mean of people's overall answers, `{AI}` by the mean probability of the labelers "
            "whose judgments the recipe counts, named in `meta_judges`. A mean in the middle is left out; "
            "`tie_is_common` says that nobody's answer was given more often than a tie.",
        ]
        if self.options.ai == "keep":
            notes.append("Comparisons that only an AI labeler judged have empty lists and its answer in `meta_p_b`.")
        return notes

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split = split_of(judged.prompt, self.options)
            for config, towards_b, ties_common, judges in _means(judged):
                binarized = self._binarized(judged, config, towards_b, ties_common, judges)
                if binarized:
                    yield Row(config, split, binarized)
            votes = [vote for vote in judged.people if vote.preference is not None]
            if not votes and (judged.label.p_b is None or self.options.ai != "keep"):
                reason = "no answer on the scale" if judged.label.p_b is None else "judged by an AI labeler only"
                self.left_out[reason] += 1
                continue
            yield Row("default", split, self._row(judged, votes))

    def _binarized(
        self, judged: Judged, config: str, towards_b: float, tie_is_common: bool, judges: list[str]
    ) -> dict[str, Any] | None:
        """The row of a binarized table; None, and counted, where neither response is the better one."""
        if abs(towards_b) < 1e-9 or judged.response_a.text == judged.response_b.text:
            reason = "a tie" if abs(towards_b) < 1e-9 else "equal responses"
            self.left_out[f"{reason} ({config})"] += 1
            return None
        chosen, rejected = judged.response_a, judged.response_b
        if towards_b > 0:
            chosen, rejected = rejected, chosen
        turns = judged.prompt.messages
        return {
            "comparison_id": judged.key,
            "prompt_id": judged.prompt.key,
            "text": judged.prompt.text,
            "chosen_model": chosen.model,
            "rejected_model": rejected.model,
            "chosen": [*turns, {"role": "assistant", "content": chosen.text}],
            "rejected": [*turns, {"role": "assistant", "content": rejected.text}],
            "tie_is_common": tie_is_common,
            "meta_judges": judges,
        }

    def _row(self, judged: Judged, votes: list[Vote]) -> dict[str, Any]:
        said = {**judged.prompt.metadata, **judged.metadata}
        columns = ("source", "category", "subject_study", "highest_level_degree")
        return {
            "comparison_id": judged.key,
            "prompt_id": judged.prompt.key,
            "text": judged.prompt.text,
            "model_a": judged.response_a.model,
            "completion_a": judged.response_a.text,
            "model_b": judged.response_b.model,
            "completion_b": judged.response_b.text,
            **{name: str(said.get(name) or "") for name in columns},
            "normal_worker_annotations": [self._vote(vote) for vote in votes if not vote.is_expert],
            "expert_worker_annotations": [self._vote(vote) for vote in votes if vote.is_expert],
            "meta_turns": judged.prompt.messages,
            "meta_source": judged.label.source,
            "meta_p_b": judged.label.p_b,
            "meta_votes": judged.label.votes,
        }

    def _vote(self, vote: Vote) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "evaluator": vote.rater,
            "timestamp": vote.created_at.astimezone(UTC).isoformat(),
            "time_spent": None if vote.active_ms is None else round(vote.active_ms / 1000),
            "overall_pref": PREFERENCES[round((vote.preference or 0) * 2)],
            "overall_confidence": _confidence(vote.confidence),
            "meta_justification": vote.justification,
        }
        for aspect in ASPECTS:
            said = vote.aspects.get(aspect) or {}
            labels = self.reasons[aspect]
            answer[f"{aspect}_pref"] = PREFERENCES[said["level"]] if said else None
            answer[f"{aspect}_checked_reasons"] = [labels.get(key, key) for key in said.get("reasons") or []]
            answer[f"{aspect}_own_reason"] = said.get("own") or ""
            answer[f"{aspect}_confidence"] = _confidence(said.get("confidence"))
        return answer


def _means(judged: Judged) -> Iterator[tuple[str, float, bool, list[str]]]:
    """Of people and of AI labelers: table, mean from -1 (A) to 1 (B), whether ties are common, who judged."""
    people = [(vote.rater, vote.preference) for vote in judged.people if vote.preference is not None]
    ais = [(vote.rater, 2 * vote.p_b - 1) for vote in judged.votes if not vote.is_person and vote.p_b is not None]
    for config, said in ((HUMAN, people), (AI, ais)):
        if said:
            numbers = [number for _who, number in said]
            answers = Counter(numbers)
            is_common = answers[0.0] == max(answers.values())
            yield config, sum(numbers) / len(numbers), is_common, [who for who, _number in said]


def _confidence(value: float | None) -> str | None:
    return None if value is None else CONFIDENCES.get(round(value))
