"""Rows that stand one after another and belong together, and comparisons of one prompt likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from annotator.formats.files import Numbered
from annotator.formats.rows import RowInvalid
from annotator.formats.source import Judged, Source

# So many are held together; the next one starts anew.
MOST = 1000


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


def by_prompt(source: Source) -> Iterator[list[Judged]]:
    """The comparisons, those of one prompt that follow each other as one list. They do where one row brought them."""
    for _key, run in groupby(source.judged(), key=lambda judged: judged.prompt.key):
        held: list[Judged] = []
        for judged in run:
            held.append(judged)
            if len(held) == MOST:
                yield held
                held = []
        if held:
            yield held
