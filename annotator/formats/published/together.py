"""Rows that stand one after another and belong together, and the comparisons of one prompt."""

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
    """The comparisons, those of one prompt as one list: for writers that are `is_whole`, whose source gives them so."""
    for _key, run in groupby(source.judged(), key=lambda judged: judged.prompt.key):
        yield list(run)
