"""Single responses that are good or bad by themselves: what formats without pairs (KTO) are written from.

A pair says which of two is better, not whether either is good; so the label comes from people's ratings, unless it is
asked to come from the pairs.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from annotator.formats.pairs import pairs_of
from annotator.formats.source import FormatUnfit, Judged, Options, Response
from annotator.protocols import SIDES, Attribute, Definition

RATING = "helpfulness"
HIGHEST = 4
META: list[tuple[str, pa.DataType]] = [
    ("meta_comparison_id", pa.string()),
    ("meta_prompt_id", pa.string()),
    ("meta_model", pa.string()),
    ("meta_source", pa.string()),
    ("meta_rating", pa.float64()),
    ("meta_votes", pa.int32()),
]


@dataclass(frozen=True)
class Single:
    """A response that is good or bad; `rating` (0 to 4) is the mean of `votes` people, None where pairs say so."""

    judged: Judged
    response: Response
    is_good: bool
    rating: float | None
    votes: int

    @property
    def meta(self) -> dict[str, Any]:
        """The values of `META`."""
        return {
            "meta_comparison_id": self.judged.key,
            "meta_prompt_id": self.judged.prompt.key,
            "meta_model": self.response.model,
            "meta_source": "people" if self.rating is not None else self.judged.label.source,
            "meta_rating": self.rating,
            "meta_votes": self.votes,
        }


class Singles:
    """Which responses of a comparison are good or bad under the options."""

    def __init__(self, protocol: Definition, options: Options) -> None:
        """Raises FormatUnfit where the bounds leave no room between good and bad."""
        if not options.bad < options.good:
            raise FormatUnfit(f"good: a response cannot be good from {options.good:g} and bad up to {options.bad:g}.")
        # One of two equal answers is not better than the other, whatever pair formats do with ties.
        self.options = dataclasses.replace(options, ties="drop")
        self.attribute = next((each for each in protocol.attributes if each.key == RATING), None)

    @property
    def are_known(self) -> bool:
        """Whether the protocol asks for what says so."""
        return self.options.labels == "pairs" or self.attribute is not None

    @property
    def notes(self) -> list[str]:
        options = self.options
        if options.labels == "pairs":
            return [
                "A response is good where it won its pair and bad where it lost: good means better than the other.",
            ]
        return [
            f"A response is good where the mean of people's ratings of {RATING}, on a scale of 0 to {HIGHEST}, is at "
            f"least {options.good:g}, bad where it is at most {options.bad:g}, and left out between them. "
            "`meta_rating` is the mean, `meta_votes` the number of people. AI labelers' ratings do not count.",
            "A response that stands in several comparisons has a row for each.",
        ]

    def of(self, judged: Judged, left_out: Counter[str], suffix: str = "") -> Iterator[Single]:
        """The good and the bad responses; the others are counted by reason, which ends in `suffix`."""
        made, reasons = self._rated(judged) if self.options.labels == "ratings" else self._paired(judged)
        for reason in reasons:
            left_out[f"{reason}{suffix}"] += 1
        yield from made

    def _rated(self, judged: Judged) -> tuple[list[Single], list[str]]:
        made, reasons = [], []
        for side, response in sides_of(judged):
            said = ratings(judged, self.attribute, side) if self.attribute else []
            mean = sum(said) / len(said) if said else None
            if mean is None:
                reasons.append("a response that nobody rated")
            elif not response.text.strip():
                reasons.append("an empty response")
            elif self.options.bad + 1e-9 < mean < self.options.good - 1e-9:
                reasons.append("a response rated neither good nor bad")
            else:
                made.append(Single(judged, response, mean >= self.options.good - 1e-9, mean, len(said)))
        return made, reasons

    def _paired(self, judged: Judged) -> tuple[list[Single], list[str]]:
        """Those that won every pair of theirs are good, those that lost every one bad."""
        pairs, reason = pairs_of(judged, self.options)
        if reason:
            return [], [reason]
        won, lost = {pair.chosen.key for pair in pairs}, {pair.rejected.key for pair in pairs}
        decided = [
            (each, each.key in won) for _side, each in sides_of(judged) if (each.key in won) != (each.key in lost)
        ]
        made = [Single(judged, response, is_good, None, judged.label.votes) for response, is_good in decided]
        return made, ["a response that won one pair and lost another"] * len(won & lost)


def sides_of(judged: Judged) -> list[tuple[str, Response]]:
    """Every response of the comparison with the letter that judgments know it by."""
    return list(zip(SIDES, (judged.response_a, judged.response_b, *judged.further), strict=False))


def ratings(judged: Judged, attribute: Attribute, side: str) -> list[float]:
    """What every person who rated the response said, stretched to 0 to 4."""
    width = attribute.maximum - attribute.minimum
    said = [(vote.attributes.get(attribute.key) or {}).get(side) for vote in judged.people]
    return [(value - attribute.minimum) * HIGHEST / width for value in said if value is not None]
