"""TRL's stepwise supervision: an answer in steps, each right or wrong. Axolotl's `stepwise_supervised` reads it too.

Where the steps are is known from the response's metadata; which are wrong, from the passages that people marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.source import Config, FormatUnfit, Judged, Options, Response, Row, Source, Writer, split_of
from annotator.formats.trainers.singles import sides_of
from annotator.protocols import Definition

SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("completions", pa.list_(pa.string())),
        ("labels", pa.list_(pa.bool_())),
        ("meta_comparison_id", pa.string()),
        ("meta_prompt_id", pa.string()),
        ("meta_model", pa.string()),
        ("meta_votes", pa.int32()),
    ]
)
# The trainer puts a line break of its own between steps.
BREAKS = "\r\n"


class TrlStepwise(Writer):
    title = "TRL stepwise"
    heeds = frozenset({"validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        if protocol.spans is None:
            raise FormatUnfit(
                f"{self.title} needs marked passages, which say what step is wrong: a protocol such as fine-grained."
            )
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", SCHEMA, "one row a response: its steps, and which of them are right"),)

    @property
    def notes(self) -> list[str]:
        return [
            "Steps are those of the response's metadata: `step_ends` (places in code points, the end of each step) or "
            "`steps` (their texts, in order). Line breaks around a step are left away: the trainer puts its own.",
            "A step is wrong where more than half of the people who judged the comparison marked a passage that "
            "overlaps it, of whatever type; `meta_votes` is how many people judged.",
            "TRL has had no trainer for these rows since 1.14; 1.13 (`trl.experimental.prm`) and Axolotl have.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            split = split_of(judged.prompt, self.options)
            for side, response in sides_of(judged):
                values, reason = _row(judged, side, response)
                if reason:
                    self.left_out[reason] += 1
                else:
                    yield Row("default", split, values)


def _row(judged: Judged, side: str, response: Response) -> tuple[dict[str, Any], str]:
    """The row of a response, or why there is none."""
    people = [vote for vote in judged.people if vote.outcome != "cannot_judge"]
    if not people:
        return {}, "a response that no person judged"
    steps = steps_of(response)
    if not steps:
        return {}, "a response without steps in its metadata"
    marked = [[(span["start"], span["end"]) for span in vote.spans if span["side"] == side] for vote in people]
    return {
        "prompt": judged.prompt.text,
        "completions": [response.text[start:end].strip(BREAKS) for start, end in steps],
        "labels": [not _is_wrong(step, marked) for step in steps],
        "meta_comparison_id": judged.key,
        "meta_prompt_id": judged.prompt.key,
        "meta_model": response.model,
        "meta_votes": len(people),
    }, ""


def _is_wrong(step: tuple[int, int], marked: list[list[tuple[int, int]]]) -> bool:
    start, end = step
    found = sum(any(first < end and last > start for first, last in spans) for spans in marked)
    return 2 * found > len(marked)


def steps_of(response: Response) -> list[tuple[int, int]]:
    """Where each step begins and ends; blank ones are none. Empty where the metadata does not fit the text."""
    ends = _ends(response)
    if not ends:
        return []
    if ends[-1] < len(response.text):
        ends.append(len(response.text))
    steps = zip([0, *ends], ends, strict=False)
    return [(start, end) for start, end in steps if response.text[start:end].strip()]


def _ends(response: Response) -> list[int]:
    given = response.metadata.get("step_ends")
    if given is None:
        return _ends_of_texts(response.text, response.metadata.get("steps"))
    if not isinstance(given, list) or not all(type(end) is int for end in given):
        return []
    rising = all(before < end for before, end in zip([0, *given], given, strict=False))
    return list(given) if rising and given and given[-1] <= len(response.text) else []


def _ends_of_texts(text: str, steps: Any) -> list[int]:
    """The end of each of `steps`, where they stand in the text one after the other."""
    if not isinstance(steps, list) or not all(isinstance(step, str) and step for step in steps):
        return []
    ends, place = [], 0
    for step in steps:
        found = text.find(step, place)
        if found < 0:
            return []
        place = found + len(step)
        ends.append(place)
    return ends
