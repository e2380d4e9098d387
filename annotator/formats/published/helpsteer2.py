"""HelpSteer2 (arXiv 2406.08673) and HelpSteer2-Preference (arXiv 2410.01257), in the layout of nvidia/HelpSteer2.

`default`: one row a response with five ratings 0-4, two rows a comparison; `preference`: one row a comparison with a
strength from -3 (response 1) to 3 (response 2); `disagreements`: the ratings as lists, one entry a person. The files
lie where the original's do, so that its `load_dataset(folder, data_dir="preference")` works with ours. Its rows are
read by `helpsteer2_ratings`, `helpsteer2_disagreements` and `helpsteer2_preference`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from annotator.formats.source import (
    TRAIN,
    VALIDATION,
    Config,
    FormatUnfit,
    Judged,
    Options,
    Row,
    Source,
    Vote,
    Writer,
    split_of,
)
from annotator.protocols import Definition

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
HIGHEST, NEITHER_VALID = 3, -100
# More than this between the kept votes, and the original authors dropped the pair.
WIDEST = 2
# Why a label is left out that one person alone made, and the source of those that a reviewer settled.
SINGLE, REVIEWED = "a single vote", "review"

_PREFERENCE = pa.struct([("statement", pa.string()), ("elaboration", pa.string()), ("strength", pa.int32())])
_RAW = pa.struct([("strength", pa.int32()), ("justification", pa.string())])


def most_agreeing(votes: Sequence[int]) -> tuple[int, ...]:
    """The three votes that agree most (all, when there are fewer).

    HelpSteer2 keeps the three most agreeing of up to five but does not say which on equal range. Ours does not
    depend on the order of the votes: smallest range, then smallest sum of differences, then the smallest numbers.
    """
    if len(votes) <= 3:
        return tuple(sorted(votes))
    triples = itertools.combinations(sorted(votes), 3)
    # For sorted a <= b <= c the pairwise differences add up to twice the range, so the range decides both.
    return min(triples, key=lambda triple: (triple[2] - triple[0], triple))


def rounded_mean(votes: Sequence[int]) -> int:
    """The mean, rounded to the nearest whole number, halves away from zero."""
    return _round(sum(votes) / len(votes))


class HelpSteer2(Writer):
    title = "HelpSteer2"
    group = "published"
    heeds = frozenset({"ties", "neither", "single", "ai", "validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        asked = {attribute.key: (attribute.minimum, attribute.maximum) for attribute in protocol.attributes}
        # Every protocol has an overall answer; without all five ratings there is only the preference to write.
        self.has_ratings = all(asked.get(key) == (0, 4) for key in ATTRIBUTES)
        if options.ties == "both":
            raise FormatUnfit("HelpSteer2 writes a tie as strength 0: keep ties, or leave them out.")
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        texts = [("prompt", pa.string()), ("response", pa.string())]
        ratings = pa.schema([*texts, *((key, pa.int32()) for key in ATTRIBUTES)])
        lists = pa.schema([*texts, *((key, pa.list_(pa.int32())) for key in ATTRIBUTES)])
        preference = pa.schema(
            [
                ("split", pa.string()),
                ("prompt", pa.string()),
                ("response_1", pa.string()),
                ("response_2", pa.string()),
                ("preference_strength", pa.int32()),
                ("preference_statement", pa.string()),
                ("preference_elaboration", pa.string()),
                ("three_most_similar_preferences", pa.list_(_PREFERENCE)),
                ("all_preferences_unprocessed", pa.list_(_RAW)),
                ("meta_comparison_id", pa.string()),
                ("meta_source", pa.string()),
            ]
        )
        strength = Config(
            "preference", preference, "one row a comparison: strength from -3 (response 1) to 3 (response 2)"
        )
        if not self.has_ratings:
            return (strength,)
        return (
            Config("default", ratings, "one row a response: five ratings from 0 to 4"),
            strength,
            Config("disagreements", lists, "one row a response: every person's ratings"),
        )

    def path(self, config: str, split: str) -> str:
        """The original's places: ratings at the root, the other two in folders of their own, for `data_dir=`."""
        if config == "default":
            return split
        # A file with the name of a split hides one without from `datasets`, so both have one when there are two.
        is_split = config == "disagreements" and self.options.validation > 0
        return f"{config}/{split if is_split else config}"

    @property
    def notes(self) -> list[str]:
        notes = [
            "Ratings and strengths are the mean of the three votes that agree most, rounded, halves away from zero; "
            f"pairs whose kept votes differ by more than {WIDEST} (helpfulness, strength) are left out.",
            counted_by(self.options),
            "Rows 2k and 2k+1 of `default` and `disagreements` are the two responses of one comparison.",
            "`preference` is one file; its column `split` says `train` or `val`, as in the original. The files lie "
            'as in the original too: `load_dataset(folder, data_dir="preference")` gives the same as '
            '`load_dataset(folder, "preference")`.',
            "`preference_statement` is the justification of a vote nearest to the result, as its author wrote it; "
            "it was not rewritten, so `preference_elaboration` is empty.",
            f"{NEITHER_VALID} in `all_preferences_unprocessed` means that neither response is valid.",
        ]
        if not self.has_ratings:
            notes.append(
                "The protocol does not ask for HelpSteer2's five ratings, so there is no `default` and no "
                "`disagreements`; strengths are the protocol's own levels stretched to -3 to 3."
            )
        if self.options.ai == "keep":
            notes.append(
                "Comparisons that only an AI labeler judged have strength 1 or -1, the side it preferred: "
                "its probability is no strength. `meta_source` names it."
            )
        return notes

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split = split_of(judged.prompt, self.options)
            prompt = judged.prompt.text
            if self.has_ratings:
                yield from self._ratings(judged, prompt, split)
            yield from self._preference(judged, prompt, split)

    def _ratings(self, judged: Judged, prompt: str, split: str) -> Iterator[Row]:
        sides = [(judged.response_a.text, _rated(judged, "a")), (judged.response_b.text, _rated(judged, "b"))]
        if not all(votes[key] for _text, votes in sides for key in ATTRIBUTES):
            self.left_out["not rated by people (ratings)"] += 1
            return
        is_alone = is_single(judged, self.options, len(sides[0][1]["helpfulness"]))
        for text, votes in sides:
            yield Row("disagreements", split, {"prompt": prompt, "response": text, **votes})
        if is_alone:
            self.left_out[f"{SINGLE} (ratings)"] += 1
            return
        if any(range_of(most_agreeing(votes["helpfulness"])) > WIDEST for _text, votes in sides):
            self.left_out["people differ too much on helpfulness (ratings)"] += 1
            return
        for text, votes in sides:
            means = {key: rounded_mean(most_agreeing(votes[key])) for key in ATTRIBUTES}
            yield Row("default", split, {"prompt": prompt, "response": text, **means})

    def _preference(self, judged: Judged, prompt: str, split: str) -> Iterator[Row]:
        strengths = [(strength_of(vote.preference), vote.justification) for vote in _answered(judged)]
        strength, reason = self._agreed(judged, [strength for strength, _why in strengths])
        if reason:
            self.left_out[f"{reason} (preference)"] += 1
            return
        kept = most_agreeing([each for each, _why in strengths])
        yield Row(
            "preference",
            TRAIN,
            {
                "split": "val" if split == VALIDATION else split,
                "prompt": prompt,
                "response_1": judged.response_a.text,
                "response_2": judged.response_b.text,
                "preference_strength": strength,
                "preference_statement": _nearest(strengths, strength),
                "preference_elaboration": "",
                "three_most_similar_preferences": [
                    {"statement": why, "elaboration": "", "strength": each} for each, why in kept_votes(strengths, kept)
                ],
                "all_preferences_unprocessed": _unprocessed(judged),
                "meta_comparison_id": judged.key,
                "meta_source": judged.label.source,
            },
        )

    def _agreed(self, judged: Judged, strengths: list[int]) -> tuple[int, str]:
        """The strength of the pair, or why there is none."""
        reason = unlabelled(judged, self.options, len(strengths))
        if reason:
            return 0, reason
        if strengths:
            kept = most_agreeing(strengths)
            if range_of(kept) > WIDEST:
                return 0, "people differ too much on the preference"
            strength = rounded_mean(kept)
        elif self.options.ai == "keep":
            p_b = judged.label.p_b or 0.0
            strength = 0 if judged.label.is_tie else int(math.copysign(1, p_b - 0.5))
        else:
            return 0, "judged by an AI labeler only"
        return strength, "a tie" if strength == 0 and self.options.ties != "keep" else ""


def unlabelled(judged: Judged, options: Options, answered: int) -> str:
    """Why the answers of `answered` people make no strength, or "". Where no person judged it is as everywhere.

    HelpSteer2-Preference takes away the answers that neither is valid, and wants two of the others and half of all.
    """
    if not judged.people:
        return judged.unusable(options)
    neither = sum(vote.outcome == "neither_valid" for vote in judged.people)
    if options.neither == "drop" and answered < neither:
        return "neither response is valid"
    return judged.unusable(replace(options, neither="keep")) or SINGLE * is_single(judged, options, answered)


def is_single(judged: Judged, options: Options, answered: int) -> bool:
    """Whether one vote is too few. A reviewer has the last word alone."""
    return answered == 1 and options.single == "drop" and judged.label.source != REVIEWED


def counted_by(options: Options) -> str:
    """The published rule of what makes a label, and what the options change of it; for `notes`."""
    rule = {
        "drop": "There is no label of a single vote, except a reviewer's",
        "keep": "A single vote is enough, where the published rule wants two",
    }[options.single]
    invalid = {
        "drop": "nor where more than half of the people found neither response valid",
        "keep": "answers that neither response is valid are passed over, however many they are",
    }[options.neither]
    return f"{rule}; {invalid}."


def _answered(judged: Judged) -> list[Any]:
    return [vote for vote in judged.people if vote.preference is not None]


def strength_of(preference: float) -> int:
    """An answer on any scale as -3 to 3; the identity for protocols with three levels a side."""
    return _round(preference * HIGHEST)


def _round(value: float) -> int:
    """Halves away from zero; the small push undoes floats such as 3 * (1 / 6) = 0.49999."""
    return int(math.copysign(math.floor(abs(value) + 0.5 + 1e-9), value))


def range_of(votes: Sequence[int]) -> int:
    return max(votes) - min(votes)


def _rated(judged: Judged, side: str) -> dict[str, list[int]]:
    """The ratings of one response in the order they were given, by people who rated both: places agree."""
    rated = [vote.attributes for vote in judged.people if _has_rated(vote)]
    return {key: [ratings[key][side] for ratings in rated] for key in ATTRIBUTES}


def _has_rated(vote: Vote) -> bool:
    given = [vote.attributes.get(key) or {} for key in ATTRIBUTES]
    return all(ratings.get(side) is not None for ratings in given for side in "ab")


def _nearest(strengths: list[tuple[int, str]], strength: int) -> str:
    written = [(abs(each - strength), number, why) for number, (each, why) in enumerate(strengths) if why]
    return min(written)[2] if written else ""


def kept_votes(strengths: list[tuple[int, str]], kept: Sequence[int]) -> list[tuple[int, str]]:
    """The votes behind `kept`, one for each of its numbers, in the order they were given."""
    left = Counter(kept)
    votes = []
    for strength, why in strengths:
        if left[strength]:
            left[strength] -= 1
            votes.append((strength, why))
    return votes


def _unprocessed(judged: Judged) -> list[dict[str, Any]]:
    return [
        {
            "strength": NEITHER_VALID if vote.preference is None else strength_of(vote.preference),
            "justification": vote.justification,
        }
        for vote in judged.people
        # A ranking may leave A and B untold: no answer about the two, and no word that neither is valid.
        if vote.preference is not None or vote.outcome == "neither_valid"
    ]
