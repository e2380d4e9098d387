"""An annotator's own numbers, for nobody's eyes but theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Sign

from annotator.models import Gold, Judgment, Purpose, Rater, Standards
from annotator.models.standards import gold_answers, is_right
from annotator.readings.board import start_of_today
from annotator.readings.shares import Share

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


def numbers(rater: Rater, standards: Standards) -> Own:
    today = start_of_today()
    mine = Judgment.objects.filter(rater=rater, is_current=True).exclude(purpose=Purpose.REVIEW)
    since = {"today": Q(created_at__gte=today), "week": Q(created_at__gte=today - timedelta(days=6)), "total": Q()}
    asked: dict[str, Any] = {"cost": Sum("cost")}
    for name, when in since.items():
        asked[name] = Count("id", filter=when)
        asked[f"{name}_ms"] = Sum("active_ms", filter=when)
    found = mine.aggregate(**asked)
    periods = {name: Period(found[name], found[f"{name}_ms"] or 0) for name in since}
    answers = list(gold_answers(rater=rater)) if standards.gold_feedback else []
    missed = [judgment for judgment in answers if not is_right(judgment)]
    gold = Share(len(answers) - len(missed), len(answers)) if standards.gold_feedback else None
    return Own(
        **periods, cost=found["cost"] or Decimal(0), repeats=repeats(rater), gold=gold, missed=missed[:MISSED_SHOWN]
    )


def known_answer(judgment: Judgment) -> str:
    """What is right, in the letters that were on this person's screen."""
    swapped = {Gold.Better.A: Gold.Better.B, Gold.Better.B: Gold.Better.A}
    better = [Gold.Better(key) for key in judgment.comparison.gold.better]
    if judgment.a_first is False:
        better = sorted(swapped.get(key, key) for key in better)
    return ", ".join(str(key.label) for key in better)


def repeats(rater: Rater) -> Share:
    """How many repeats were answered for the same side as before."""
    first = Judgment.objects.filter(
        comparison=OuterRef("comparison"), rater=OuterRef("rater"), round=OuterRef("round") - 1, is_current=True
    )
    again = Judgment.objects.final().filter(
        rater=rater, is_current=True, purpose=Purpose.REPEAT, preference__isnull=False
    )
    sides = again.annotate(before=Subquery(first.values("preference")[:1])).filter(before__isnull=False)
    signs = sides.annotate(now_sign=Sign("preference"), then_sign=Sign("before")).values_list("now_sign", "then_sign")
    both = list(signs)
    return Share(sum(now == then for now, then in both), len(both))
