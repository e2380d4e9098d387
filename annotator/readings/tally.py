"""Facts of an export for its manifest and card, counted while the comparisons pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from annotator.formats import source

# Keys of metadata under which a text's licence is found.
LICENCE = ("license", "licence")
# Licences and languages that are told apart.
DISTINCT = 200


@dataclass
class Tally:
    """Kept with the parts of an export that are finished: `kept` is JSON, `again` reads it."""

    comparisons: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    # Judgments in the lossless store's table, counted by the recipe or not; of another format none.
    held: Counter[str] = field(default_factory=Counter)
    people: set[int] = field(default_factory=set)
    # Of whom what they told of themselves was given to the writer; not all of them need to have judged.
    profiles: set[int] = field(default_factory=set)
    versions: set[int] = field(default_factory=set)
    # Ids of protocols and numbers of guidelines' versions that counted judgments answered.
    protocols: set[int] = field(default_factory=set)
    guidelines: set[int] = field(default_factory=set)
    # Judgments of people that came with an import: how they were made is their source's to say.
    imported: int = 0
    # What texts of labelled comparisons say of themselves ("" where they say nothing), counted once a comparison:
    # licences of ("prompt" | "response", licence), and languages of prompts.
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    # Pairs of people who judged the same comparison, and how many of them chose the same side.
    pairs: int = 0
    agreeing: int = 0

    def agreement(self) -> float | None:
        """The share of pairs of people that agree on A, tie or B; None without two people on one comparison."""
        return self.agreeing / self.pairs if self.pairs else None

    def add_texts(self, judged: source.Judged) -> None:
        """What was not said of a text alone may have been said of the whole comparison."""
        _count(self.languages, _said(("language",), judged.prompt.metadata, judged.metadata))
        _count(self.licences, ("prompt", _said(LICENCE, judged.prompt.metadata, judged.metadata)))
        for response in (judged.response_a, judged.response_b, *judged.further):
            _count(self.licences, ("response", _said(LICENCE, response.metadata, judged.metadata)))

    def add_people(self, preferences: Sequence[float]) -> None:
        sides = Counter((preference > 0) - (preference < 0) for preference in preferences)
        self.pairs += len(preferences) * (len(preferences) - 1) // 2
        self.agreeing += sum(number * (number - 1) // 2 for number in sides.values())

    def kept(self) -> dict[str, Any]:
        """All of it in JSON types; orders are kept, because `most_common` shows them."""
        return {
            **{name: dict(getattr(self, name)) for name in _COUNTERS},
            **{name: sorted(getattr(self, name)) for name in _SETS},
            **{name: getattr(self, name) for name in _NUMBERS},
            "cost": {name: str(cost) for name, cost in self.cost.items()},
            "licences": [[part, name, number] for (part, name), number in self.licences.items()],
        }

    @classmethod
    def again(cls, kept: Mapping[str, Any]) -> Tally:
        read: dict[str, Any] = {
            **{name: Counter(kept[name]) for name in _COUNTERS},
            **{name: set(kept[name]) for name in _SETS},
            **{name: kept[name] for name in _NUMBERS},
        }
        tally = cls(**read, licences=Counter({(part, name): number for part, name, number in kept["licences"]}))
        tally.cost.update({name: Decimal(cost) for name, cost in kept["cost"].items()})
        return tally


_COUNTERS = ("comparisons", "votes", "held", "languages")
_SETS = ("people", "profiles", "versions", "protocols", "guidelines")
_NUMBERS = ("imported", "pairs", "agreeing")


def _said(keys: Sequence[str], *metadata: dict[str, Any]) -> str:
    """The first text under one of `keys`, as one short line; "" where there is none."""
    found = (each[key] for each in metadata if each for key in keys if isinstance(each.get(key), str))
    return next((line[:100] for text in found if (line := " ".join(text.split()))), "")


def _count(counter: Counter[Any], key: Any) -> None:
    """Of keys that come from outside only so many are told apart: memory must not grow with them."""
    if key in counter or len(counter) < DISTINCT:
        counter[key] += 1
    else:
        counter[(key[0], "others") if isinstance(key, tuple) else "others"] += 1
