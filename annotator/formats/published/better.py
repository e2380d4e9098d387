"""Rows that say which of two responses is better, read as one judged comparison.

Which response becomes A is drawn by a hash of both, so that A is not always the better one and the same two come in the
same order whoever won. Columns that our own exports add (`pairs.META`) say whose judgment it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from annotator.formats import rows
from annotator.formats.files import Numbered
from annotator.formats.rows import Entry, PromptRow, ResponseRow, RowInvalid, Vote

# Columns about the judgment rather than about the comparison: they would give the answer away.
ABOUT_LABEL = (
    *("meta_source", "meta_p_chosen", "meta_p_tie", "meta_agreement", "meta_votes", "margin"),
    *("score_chosen", "score_rejected", "meta_score_of", "meta_goal"),
)
SIDES = ("chosen", "rejected")
MODELS = ("meta_chosen_model", "meta_rejected_model")
# Made once: it is asked for every row.
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)
SEVERAL = "how many votes were behind a label"


@dataclass(frozen=True)
class Said:
    """Who found the chosen response better and how clearly: `strength` in [0, 1], `p_chosen` of AI alone."""

    rater: str = ""
    is_ai: bool = False
    strength: float = 1.0
    p_chosen: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def said_by(row: Mapping[str, Any], strength: float = 1.0, otherwise: str = "") -> Said:
    """By the columns of our exports; without them by an anonymous person, or by the labeler `otherwise`."""
    p_chosen = rows.number(row.get("meta_p_chosen"), "meta_p_chosen", 0, 1)
    labeler = labeler_of(row.get("meta_source"), otherwise)
    if p_chosen == 0.5:
        strength = 0.0
    provenance = {name: row[name] for name in ABOUT_LABEL if row.get(name) is not None}
    return Said(labeler, bool(labeler), strength, p_chosen if labeler else None, provenance)


def labeler_of(source: Any, otherwise: str = "") -> str:
    """The AI labeler that a label's source names, "" for people (`models.Label.source`)."""
    if source is None:
        return otherwise
    name = rows.text(source, "meta_source", width=rows.SOURCE_WIDTH, empty=True)
    return "" if not name or name == "review" or name.partition(":")[0] == "people" else name


def entry(
    name: str,
    prompt: PromptRow,
    texts: Sequence[Any],
    models: Sequence[Any],
    said: Said,
    metadata: dict[str, Any],
    left: list[str],
) -> Entry:
    """`texts` and `models` of the chosen response and of the rejected one."""
    two = [
        rows.response_row({"text": text, "model": model}, side, side)
        for side, text, model in zip(SIDES, texts, models, strict=True)
    ]
    swapped = drawn(prompt, two[1]) < drawn(prompt, two[0])
    responses = rows.apart(two[::-1] if swapped else two)
    comparison = rows.comparison_row(name, responses, 0, 1, metadata, "id")
    return Entry(prompt, responses, [comparison], [vote(said, 1 if swapped else -1, SIDES[0])], left)


def drawn(prompt: PromptRow, response: ResponseRow) -> str:
    """Of two responses that with the smaller one becomes A."""
    return rows.digest(prompt.text_hash, response.text_hash, response.model)


def vote(said: Said, sign: int, name: str, comparison: int = 0) -> Vote:
    """The vote for the chosen response: on side A (`sign` -1) or B (1)."""
    p_b = said.p_chosen if said.p_chosen is None or sign > 0 else 1 - said.p_chosen
    return Vote(
        field=name,
        comparison=comparison,
        rater=said.rater,
        is_ai=said.is_ai,
        source="",
        preference=None if p_b is not None else sign * said.strength,
        p_b=p_b,
        provenance=rows.as_json(said.provenance, name),
    )


def models_of(row: Mapping[str, Any]) -> list[Any]:
    """The models as our exports name them, the chosen one first."""
    return [row.get(name) for name in MODELS]


def metadata_of(row: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What the comparison keeps of a row: all that was not read and is not about the judgment."""
    taken = {*known, *ABOUT_LABEL, *MODELS, "id"}
    return {name: value for name, value in row.items() if name not in taken}


def summed_up(row: Mapping[str, Any]) -> list[str]:
    """Words for `Entry.left` where a label came of several votes: as a vote it counts once."""
    return [SEVERAL] if isinstance(row.get("meta_votes"), int) and row["meta_votes"] > 1 else []


def row_id(row: Mapping[str, Any]) -> str:
    """The row's own id, else one made of all it holds."""
    if row.get("id") is not None:
        return rows.identifier(row["id"], "id")
    written = _ENCODER.encode(row).encode(errors="surrogatepass")
    return f"row-{sha256(written).hexdigest()[:32]}"


def named(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    """Rows without ids get them, and a row that stands in the file again one of its own: published sets hold some.

    Keeps eight bytes of every row's hash in a set, about 80 MB for a million rows.
    """
    seen: set[int] = set()
    again: dict[int, int] = {}
    for line, row in numbered:
        if isinstance(row, RowInvalid) or row.get("id") is not None:
            yield line, row
            continue
        name = row_id(row)
        mark = int(name[4:20], 16)
        if mark in seen:
            again[mark] = again.get(mark, 1) + 1
            name += f"-{again[mark]}"
        seen.add(mark)
        yield line, {**row, "id": name}
