"""TRL's unpaired preference: a prompt, one answer, and whether it is a good one. What KTOTrainer loads."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from annotator.formats.pairs import MESSAGES
from annotator.formats.source import Config, FormatUnfit, Options, Row, Source, Writer, split_of
from annotator.formats.trainers.singles import META, RATING, Singles
from annotator.formats.trainers.turns import answer
from annotator.protocols import Definition

SCHEMA = pa.schema([("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_()), *META])


class TrlKto(Writer):
    title = "TRL unpaired (KTO)"
    heeds = frozenset({"labels", "good", "bad", "neither", "pairs", "validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        self.singles = Singles(protocol, options)
        if not self.singles.are_known:
            raise FormatUnfit(
                f"{self.title} needs a rating of {RATING} of each response (as the preset helpsteer2 asks for): a pair "
                "says which is better, not whether it is good. To take the pairs all the same, choose them as what "
                "makes a single response good or bad (--labels pairs)."
            )
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", SCHEMA, "one row a response: whether it is a good answer"),)

    @property
    def notes(self) -> list[str]:
        return [
            *self.singles.notes,
            "KTOTrainer weighs good and bad rows by `desirable_weight` and `undesirable_weight`: set them where one "
            "kind is much more frequent.",
            "KTOTrainer needs batches of two rows or more, and cuts rows to its `max_length`.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split, messages = split_of(judged.prompt, self.options), judged.prompt.messages
            for single in self.singles.of(judged, self.left_out):
                answered = {"prompt": messages, "completion": [answer(single.response.text)], "label": single.is_good}
                yield Row("default", split, {**answered, **single.meta})
