"""An answer turned from the order on screen into the comparison's own, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annotator.protocols.definition import SIDES, Definition

SWAPPED = (1, 0)


def on_screen(
    definition: Definition, *, a_first: bool, shown_order: Sequence[int] | None = None, count: int = 2
) -> tuple[int, ...]:
    """Own places of the responses on screen, first on screen first.

    All `count` of them where they are ranked, else A and B alone. An order that was drawn for another number of
    responses (one came since) is not followed.
    """
    pair = (0, 1) if a_first else SWAPPED
    if not definition.ranks or count == 2:
        return pair
    if shown_order is not None and sorted(shown_order) == list(range(count)):
        return tuple(shown_order)
    return (*pair, *range(2, count))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The order that undoes `order`: mirror(mirror(given, order), inverse(order)) is `given` again."""
    return tuple(order.index(place) for place in range(len(order)))


def mirror(given: Mapping[str, Any], order: Sequence[int] = SWAPPED) -> dict[str, Any]:
    """An answer given of responses in the `order` of `on_screen`, turned into the comparison's own order.

    For a pair with B shown first (the default) it is its own inverse. A level compares the first two: it is kept
    where A and B are these, and left out where they are not (ranks say it then).
    """
    letters = {SIDES[place]: SIDES[own] for place, own in enumerate(order)}
    turned = dict(given)
    if turned.get("level") is not None:
        turned["level"] = _level(turned["level"], order)
    turned["aspects"] = {
        key: {**answer, "level": _level(answer["level"], order)} if answer.get("level") is not None else answer
        for key, answer in (given.get("aspects") or {}).items()
    }
    turned["attributes"] = {key: _by_side(sides, letters) for key, sides in (given.get("attributes") or {}).items()}
    if given.get("feedback"):
        turned["feedback"] = _by_side(given["feedback"], letters)
    if given.get("edit"):
        turned["edit"] = _of_side(given["edit"], letters)
    if given.get("spans"):
        turned["spans"] = [_of_side(span, letters) for span in given["spans"]]
    if given.get("ranking"):
        turned["ranking"] = _ranking(given["ranking"], order)
    return turned


def _level(level: int, order: Sequence[int]) -> int | None:
    if set(order[:2]) != {0, 1}:
        return None
    return level if order[0] == 0 else -level


def _by_side(sides: Mapping[str, Any], letters: Mapping[str, str]) -> dict[str, Any]:
    return {letters.get(side, side): value for side, value in sides.items()}


def _of_side(given: Mapping[str, Any], letters: Mapping[str, str]) -> dict[str, Any]:
    return {**given, "side": letters.get(given.get("side", ""), given.get("side"))}


def _ranking(given: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    turned = dict(given)
    ranks = given.get("ranks")
    if ranks is not None and len(ranks) == len(order):
        turned["ranks"] = [ranks[place] for place in inverse(order)]
    for end in ("best", "worst"):
        place = given.get(end)
        if place is not None and 0 <= place < len(order):
            turned[end] = order[place]
    return turned
