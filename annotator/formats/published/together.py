"""Rows that stand one after another and belong together, and the comparisons of one prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from annotator.formats.files import Numbered
from annotator.formats.rows import RowInvalid
from annotator.formats.source import Judged, Response, Source, Vote

# So many are held together; the next one starts anew.
MOST = 1000
# Comparisons of a prompt that one row is made of (all pairs of a hundred responses are 4,950), and their characters:
# they are held together.
MOST_OF_PROMPT, LONGEST_OF_PROMPT = 5_000, 32_000_000
TOO_MANY = f"a prompt with more than {MOST_OF_PROMPT:,} comparisons or {LONGEST_OF_PROMPT:,} characters of responses"


def together(numbered: Iterable[Numbered], alike: Callable[[dict[str, Any]], Any], name: str) -> Iterator[Numbered]:
    """One row of each run of rows that are `alike`: the first, with all of them in a column `name`."""
    line = 0
    held: list[dict[str, Any]] = []
    for at, row in numbered:
        if held and (isinstance(row, RowInvalid) or len(held) == MOST or alike(row) != alike(held[0])):
            yield line, {**held[0], name: held}
            held = []
        if isinstance(row, RowInvalid):
            yield at, row
            continue
        if not held:
            line = at
        held.append(row)
    if held:
        yield line, {**held[0], name: held}


def by_prompt(source: Source, left_out: Counter[str]) -> Iterator[list[Judged]]:
    """The comparisons, those of one prompt as one list: for writers that are `is_whole`, whose source gives them so.

    A prompt with more than a row is made of is passed over, without holding its comparisons, and counted in `left_out`.
    """
    for _key, run in groupby(source.judged(), key=lambda judged: judged.prompt.key):
        held = _held(run)
        if held is None:
            left_out[TOO_MANY] += 1
        else:
            yield held


def _held(run: Iterator[Judged]) -> list[Judged] | None:
    """All of a run, each text once however many comparisons it stands in; None of a run that is too long."""
    held: list[Judged] = []
    known: dict[str, Response] = {}
    size = 0
    for judged in run:
        both = (judged.response_a, judged.response_b, *judged.further)
        size += sum(len(each.text) for each in both if each.key not in known) + sum(map(_said, judged.votes))
        if len(held) == MOST_OF_PROMPT or size > LONGEST_OF_PROMPT:
            return None
        a, b, *further = (known.setdefault(each.key, each) for each in both)
        prompt = held[0].prompt if held else judged.prompt
        held.append(replace(judged, prompt=prompt, response_a=a, response_b=b, further=tuple(further)))
    return held


def _said(vote: Vote) -> int:
    """Characters of a person's own words."""
    return len(vote.justification) + sum(map(len, vote.feedback.values())) + len(vote.edit.get("text", ""))
