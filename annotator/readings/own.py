"""An annotator's own numbers, for nobody's eyes but theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Sign
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import Gold, Judgment, Purpose, Rater, Standards
from annotator.models.standards import gold_answers, is_right
from annotator.readings.board import start_of_today
from annotator.readings.shares import Share

# Newest known answers and repeats that are looked at.
LOOKED_AT = 500
# Missed gold comparisons shown, newest first.
MISSED_SHOWN = 20


@dataclass(frozen=True)
class Period:
    """Judgments given, and the active time they took, since some moment."""

    judgments: int
    active_ms: int


@dataclass(frozen=True)
class Own:
    today: Period
    week: Period
    total: Period
    cost: Decimal
    repeats: Share
    # None where the project does not show them.
    gold: Share | None
    missed: list[Judgment]

    @property
    def looked_at(self) -> int:
        return LOOKED_AT

    @property
    def is_cut(self) -> bool:
        return LOOKED_AT in (self.repeats.of, self.gold.of if self.gold else 0)


def numbers(rater: Rater, standards: Standards) -> Own:
    today = start_of_today()
    mine = Judgment.objects.filter(rater=rater).given_in_seat()
    since = {"today": Q(created_at__gte=today), "week": Q(created_at__gte=today - timedelta(days=6)), "total": Q()}
    asked: dict[str, Any] = {}
    for name, when in since.items():
        asked[name] = Count("id", filter=when)
        asked[f"{name}_ms"] = Sum("active_ms", filter=when)
    found = mine.aggregate(**asked)
    periods = {name: Period(found[name], found[f"{name}_ms"] or 0) for name in since}
    told = gold_answers(rater=rater).select_related("protocol", "assignment")
    answers = list(told[:LOOKED_AT]) if standards.gold_feedback else []
    missed = [judgment for judgment in answers if not is_right(judgment)]
    gold = Share(len(answers) - len(missed), len(answers)) if standards.gold_feedback else None
    return Own(**periods, cost=_earned(rater), repeats=repeats(rater), gold=gold, missed=missed[:MISSED_SHOWN])


def _earned(rater: Rater) -> Decimal:
    """Of all revisions: the first answer is paid, and stays so when it is corrected. What is undone costs nothing."""
    return Judgment.objects.filter(rater=rater).aggregate(cost=Sum("cost"))["cost"] or Decimal(0)


def known_answer(judgment: Judgment) -> str:
    """What is right, in the letters that were on this person's screen."""
    letters = _letters(judgment)
    better = [Gold.Better(key) for key in judgment.comparison.gold.better]
    sided = sorted(letters[key] for key in better if key in letters)
    others = [str(key.label) for key in better if key not in letters]
    return ", ".join([_("%(letter)s is better") % {"letter": letter} for letter in sided] + others)


def _letters(judgment: Judgment) -> dict[Gold.Better, str]:
    """Which letters A and B of the comparison had on screen."""
    order: tuple[int, ...] = (0, 1) if judgment.a_first is not False else protocols.SWAPPED
    if judgment.protocol and judgment.assignment:
        definition = protocols.read(judgment.protocol.definition)
        shown, count = judgment.assignment.shown_order, 2 + judgment.comparison.candidates_count
        order = protocols.on_screen(definition, a_first=order[0] == 0, shown_order=shown, count=count)
    letters = protocols.SIDES.upper()
    return {Gold.Better.A: letters[order.index(0)], Gold.Better.B: letters[order.index(1)]}


def repeats(rater: Rater) -> Share:
    """How many of the newest repeats were answered for the same side as before."""
    first = Judgment.objects.filter(
        comparison=OuterRef("comparison"), rater=OuterRef("rater"), round=OuterRef("round") - 1, is_current=True
    )
    again = Judgment.objects.final().filter(
        rater=rater, is_current=True, purpose=Purpose.REPEAT, preference__isnull=False
    )
    sides = again.annotate(before=Subquery(first.values("preference")[:1])).filter(before__isnull=False)
    signs = sides.annotate(now_sign=Sign("preference"), then_sign=Sign("before")).values_list("now_sign", "then_sign")
    both = list(signs.order_by("-created_at")[:LOOKED_AT])
    return Share(sum(now == then for now, then in both), len(both))
