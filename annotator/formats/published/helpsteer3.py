"""HelpSteer3 (arXiv 2503.04378, 2505.11475), in the layout of nvidia/HelpSteer3: its columns and no others.

`preference`: one row a comparison with the three most agreeing votes; `feedback`: one row a comparison with what people
said of both responses; `edit`: one row an edited response; `edit_quality`: one row two edits of the same response, the
better and the worse by the feedback that both answer. Its rows are read by `helpsteer3_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.published.helpsteer2 import (
    WIDEST,
    counted_by,
    kept_votes,
    most_agreeing,
    range_of,
    rounded_mean,
    strength_of,
    unlabelled,
)
from annotator.formats.source import TURN, Config, FormatUnfit, Judged, Options, Row, Source, Writer, split_of
from annotator.protocols import SIDES, Definition

DOMAIN, LANGUAGE = "general", "english"
# As many texts of feedback a response as the original has.
MOST_FEEDBACK = 3
# Metadata of a comparison of two edits: the text both were made of, and the feedback they answer.
ORIGINAL, FEEDBACK = "original_response", "feedback"
# Columns of what was said of each response, and the metadata of a comparison that came with such words.
SAID = {"feedback1": "a", "feedback2": "b"}

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_COMMON: list[tuple[str, pa.DataType]] = [("domain", _TEXT), ("language", _TEXT), ("context", pa.list_(TURN))]
_VOTE = pa.struct([("score", pa.int32()), ("reasoning", _TEXT)])
_PREFERENCE = Config(
    "preference",
    pa.schema(
        [
            *_COMMON,
            ("response1", _TEXT),
            ("response2", _TEXT),
            ("overall_preference", pa.int32()),
            ("individual_preference", pa.list_(_VOTE)),
        ]
    ),
    "one row a comparison: strength from -3 (response 1) to 3 (response 2), and the votes behind it",
)
_FEEDBACK = Config(
    "feedback",
    pa.schema([*_COMMON, ("response1", _TEXT), ("response2", _TEXT), ("feedback1", _TEXTS), ("feedback2", _TEXTS)]),
    "one row a comparison: what people said of each response",
)
_EDIT = Config(
    "edit",
    pa.schema([*_COMMON, (ORIGINAL, _TEXT), ("edited_response", _TEXT), (FEEDBACK, _TEXTS), ("change_summary", _TEXT)]),
    "one row an edited response",
)
_QUALITY = Config(
    "edit_quality",
    pa.schema(
        [
            *_COMMON,
            (ORIGINAL, _TEXT),
            ("good_edited_response", _TEXT),
            ("bad_edited_response", _TEXT),
            (FEEDBACK, _TEXTS),
        ]
    ),
    "one row two edits of a response: the one more faithful to the feedback, and the other",
)


class HelpSteer3(Writer):
    title = "HelpSteer3"
    group = "published"
    heeds = frozenset({"neither", "single", "ai", "validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        if options.ties != "drop":
            raise FormatUnfit("HelpSteer3 is read with strength 0 as a pair of equal answers: leave ties out.")
        self.has_feedback = protocol.feedback != "none"
        self.has_edits = protocol.edit != "none"
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        asked = ((_FEEDBACK, self.has_feedback), (_EDIT, self.has_edits))
        return (_PREFERENCE, *(config for config, is_asked in asked if is_asked), _QUALITY)

    @property
    def notes(self) -> list[str]:
        notes = [
            "`overall_preference` is the mean of the three votes that agree most, rounded, halves away from zero; "
            f"comparisons whose kept votes differ by more than {WIDEST} are left out, and so is strength 0.",
            counted_by(self.options),
            f"`domain` and `language` are the prompt's own metadata, else `{DOMAIN}` and `{LANGUAGE}`.",
        ]
        if self.has_feedback:
            notes.append(
                f"`feedback1` and `feedback2` hold at most {MOST_FEEDBACK} texts on each response, of people who spoke "
                "of both and in the same order. Words that came in with a comparison stand alone, and nobody knows "
                "whose they are."
            )
        if self.has_edits:
            notes.append(
                "`feedback` of `edit` is what people, the editor included, said of the original response, at most "
                f"{MOST_FEEDBACK} texts; `change_summary` is not asked for and empty."
            )
        notes.append(
            "`edit_quality` holds comparisons of two edits of one response, known by their metadata "
            f"`{ORIGINAL}` and `{FEEDBACK}`; “good” is the one that people found better. Without such comparisons "
            "the table is absent."
        )
        if self.options.ai == "keep":
            notes.append("Comparisons that only an AI labeler judged have strength 1 or -1 and no single votes.")
        return notes

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split = split_of(judged.prompt, self.options)
            common = _common(judged)
            for config, values in self._rows(judged):
                yield Row(config.name, split, {**common, **values})

    def _rows(self, judged: Judged) -> Iterator[tuple[Config, dict[str, Any]]]:
        if _edited_of(judged) is not None:
            yield from self._quality(judged)
        else:
            yield from self._preference(judged)
        if self.has_feedback:
            yield from self._feedback(judged)
        if self.has_edits:
            yield from _edits(judged)

    def _preference(self, judged: Judged) -> Iterator[tuple[Config, dict[str, Any]]]:
        votes = [
            (strength_of(vote.preference), vote.justification) for vote in judged.people if vote.preference is not None
        ]
        strength, reason = self._strength(judged, [score for score, _why in votes])
        if reason:
            self.left_out[f"{reason} (preference)"] += 1
            return
        kept = kept_votes(votes, most_agreeing([score for score, _why in votes]))
        yield (
            _PREFERENCE,
            {
                **_both(judged),
                "overall_preference": strength,
                "individual_preference": [{"score": score, "reasoning": why} for score, why in kept],
            },
        )

    def _strength(self, judged: Judged, scores: list[int]) -> tuple[int, str]:
        """The strength, or why there is none."""
        reason = unlabelled(judged, self.options, len(scores))
        if reason:
            return 0, reason
        if not scores and self.options.ai != "keep":
            return 0, "judged by an AI labeler only"
        if not scores:
            p_b = judged.label.p_b or 0.0
            strength = 0 if judged.label.is_tie else int(math.copysign(1, p_b - 0.5))
            return strength, "" if strength else "a tie"
        kept = most_agreeing(scores)
        if range_of(kept) > WIDEST:
            return 0, "people differ too much"
        strength = rounded_mean(kept)
        return strength, "" if strength else "a tie"

    def _feedback(self, judged: Judged) -> Iterator[tuple[Config, dict[str, Any]]]:
        said = _came_with(judged) or {
            name: [vote.feedback[side] for vote in judged.people if all(vote.feedback.get(each) for each in "ab")]
            for name, side in SAID.items()
        }
        if any(said.values()):
            yield _FEEDBACK, {**_both(judged), **{name: texts[:MOST_FEEDBACK] for name, texts in said.items()}}
        elif any(vote.feedback for vote in judged.people):
            self.left_out["nobody spoke of both responses (feedback)"] += 1
        else:
            self.left_out["nobody said anything of a response (feedback)"] += 1

    def _quality(self, judged: Judged) -> Iterator[tuple[Config, dict[str, Any]]]:
        original, feedback = _edited_of(judged) or ("", [])
        reason = judged.unusable(self.options)
        if not reason and not judged.people and self.options.ai != "keep":
            reason = "judged by an AI labeler only"
        if not reason and judged.label.is_tie:
            reason = "a tie"
        if reason:
            self.left_out[f"{reason} (edit_quality)"] += 1
            return
        good, bad = judged.response_a.text, judged.response_b.text
        if (judged.label.p_b or 0.0) > 0.5:
            good, bad = bad, good
        edits = {"good_edited_response": good, "bad_edited_response": bad}
        yield _QUALITY, {ORIGINAL: original, **edits, FEEDBACK: feedback[:MOST_FEEDBACK]}


def _common(judged: Judged) -> dict[str, Any]:
    own = judged.prompt.metadata
    return {
        "domain": str(own.get("domain") or DOMAIN),
        "language": str(own.get("language") or LANGUAGE),
        "context": judged.prompt.messages,
    }


def _both(judged: Judged) -> dict[str, str]:
    return {"response1": judged.response_a.text, "response2": judged.response_b.text}


def _came_with(judged: Judged) -> dict[str, list[str]]:
    """The words about both responses that an imported comparison came with; {} without them."""
    said = {name: judged.metadata.get(name) for name in SAID}
    texts = {
        name: [each for each in given if isinstance(each, str)]
        for name, given in said.items()
        if isinstance(given, list)
    }
    return texts if len(texts) == len(SAID) and any(texts.values()) else {}


def _said_of(judged: Judged, side: str) -> list[str]:
    return [vote.feedback[side] for vote in judged.people if vote.feedback.get(side)][:MOST_FEEDBACK]


def _edits(judged: Judged) -> Iterator[tuple[Config, dict[str, Any]]]:
    by_side = dict(zip(SIDES, (judged.response_a, judged.response_b, *judged.further), strict=False))
    for vote in judged.people:
        side = vote.edit.get("side", "")
        if side not in by_side:
            continue
        yield (
            _EDIT,
            {
                ORIGINAL: by_side[side].text,
                "edited_response": vote.edit["text"],
                FEEDBACK: _said_of(judged, side),
                "change_summary": None,
            },
        )


def _edited_of(judged: Judged) -> tuple[str, list[str]] | None:
    """The text that both responses were made of and the feedback they answer; None when they are no edits."""
    original, feedback = judged.metadata.get(ORIGINAL), judged.metadata.get(FEEDBACK)
    is_text = isinstance(original, str) and isinstance(feedback, list)
    if not is_text or not feedback or not all(isinstance(each, str) for each in feedback):
        return None
    return str(original), feedback
