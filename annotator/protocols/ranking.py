"""Ranks of all responses, or the best and the worst of them; and what they say of A against B.

Ranks are stored dense: 1 is best, ties share a rank, none is left out. A full ranking says which of A and B is better
and not by how much, so its level is the scale's slightest on that side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotator.protocols.definition import SIDES, Definition
from annotator.protocols.refusal import AnswerInvalid


def count_of(given: Any) -> int:
    """How many responses an answer speaks of, where nobody said."""
    ranking = given if isinstance(given, Mapping) else {}
    if isinstance(ranking.get("ranks"), list):
        return min(max(len(ranking["ranks"]), 2), len(SIDES))
    return len(SIDES) if ranking else 2


def check(definition: Definition, given: Any, count: int) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise AnswerInvalid("ranking", _("this is not an object with named fields"))
    if not definition.ranks:
        if given:
            raise AnswerInvalid("ranking", _("this protocol asks for no ranking"))
        return {}
    return _full(definition, given, count) if definition.ranking == "full" else _best_worst(given, count)


def _full(definition: Definition, given: Mapping[str, Any], count: int) -> dict[str, Any]:
    ranks = given.get("ranks") or []
    if not isinstance(ranks, list) or len(ranks) > count:
        raise AnswerInvalid("ranking", _("there are %(count)d responses to rank") % {"count": count})
    for place in range(count):
        rank = ranks[place] if place < len(ranks) else None
        name = f"ranking.rank.{SIDES[place]}"
        if rank is None:
            raise AnswerInvalid(name, _("give response %(letter)s a rank") % {"letter": SIDES[place].upper()})
        if type(rank) is not int or not 1 <= rank <= count:
            raise AnswerInvalid(name, _("a rank is a number from 1 to %(count)d") % {"count": count})
        if not definition.has_tie and rank in ranks[:place]:
            other = SIDES[ranks.index(rank)].upper()
            words = _("responses %(first)s and %(second)s share a rank: this protocol has no tie")
            raise AnswerInvalid(name, words % {"first": other, "second": SIDES[place].upper()})
    dense = {rank: number for number, rank in enumerate(sorted(set(ranks)), 1)}
    return {"ranks": [dense[rank] for rank in ranks]}


def _best_worst(given: Mapping[str, Any], count: int) -> dict[str, Any]:
    missing = {"best": _("choose the best response"), "worst": _("choose the worst response")}
    for end, words in missing.items():
        place = given.get(end)
        if place is None:
            raise AnswerInvalid(f"ranking.{end}", words)
        if type(place) is not int or not 0 <= place < count:
            raise AnswerInvalid(f"ranking.{end}", _("there is no such response"))
    if given["best"] == given["worst"]:
        raise AnswerInvalid("ranking.worst", _("the best response cannot be the worst as well"))
    return {"best": given["best"], "worst": given["worst"]}


def level(definition: Definition, ranking: Mapping[str, Any]) -> int | None:
    """The level of A against B that a checked `ranking` says; None where it does not tell."""
    sign = _sign(ranking)
    if not sign:
        return sign
    return min((each.value for each in definition.levels if each.value * sign > 0), key=abs)


def _sign(ranking: Mapping[str, Any]) -> int | None:
    """-1 when A is better, 1 when B is, 0 when they share a rank."""
    if "ranks" in ranking:
        a, b = ranking["ranks"][:2]
        return int(a > b) - int(a < b)
    better_by_place = {ranking["best"]: -1, ranking["worst"]: 1}
    if 0 in better_by_place:
        return better_by_place[0]
    return -better_by_place[1] if 1 in better_by_place else None
