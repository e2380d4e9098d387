"""What is mixed in unseen to see how well somebody judges: comparisons whose answer is known, and ones they have had.

Each new lease draws anew, so its place among the others tells nobody anything. A gold comparison is never one this
person has had; a repeat is one of their own final judgments some time back, shown the other way round, once. Neither
holds a place. What a draw costs grows neither with the project nor with how long somebody has worked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from django.db import connection

from annotator.models import Purpose, Rater
from annotator.models.judgments import UNDO_MARGIN
from annotator.pipeline.admission import Admission

# A repeat is drawn from as many judgments, before the `repeat_after` newest.
REPEATED_FROM = 200

_draws = random.SystemRandom()

# What they have settled as a reviewer says nothing more about how they judge.
_NOT_SETTLED_BY_ME = """
      AND NOT EXISTS (SELECT FROM annotator_review seen
                      WHERE seen.comparison_id = c.id AND seen.reviewer_id = %(rater)s)
"""
_GOLD = f"""
    SELECT gold.comparison_id, 1, NULL, NULL
    FROM annotator_gold gold JOIN annotator_comparison c ON c.id = gold.comparison_id
    WHERE gold.project_id = %(project)s AND gold.use = 'hidden' AND gold.retired_at IS NULL
      AND NOT (c.harms && %(opted_out)s::varchar[])
      AND NOT EXISTS (SELECT FROM annotator_assignment mine
                      WHERE mine.comparison_id = c.id AND mine.rater_id = %(rater)s AND mine.state <> 'expired')
      AND NOT EXISTS (SELECT FROM annotator_judgment said
                      WHERE said.comparison_id = c.id AND said.rater_id = %(rater)s)
      {_NOT_SETTLED_BY_ME}
    ORDER BY random() LIMIT 1
"""
_REPEAT = f"""
    SELECT earlier.comparison_id, earlier.round + 1, earlier.a_first, shown.shown_order
    FROM (SELECT * FROM annotator_judgment j
          WHERE j.rater_id = %(rater)s AND j.is_current AND j.effective_at <= now() - %(margin)s
          ORDER BY j.created_at DESC OFFSET %(after)s LIMIT %(from)s) AS earlier
    JOIN annotator_comparison c ON c.id = earlier.comparison_id
    JOIN annotator_assignment shown ON shown.id = earlier.assignment_id
    WHERE earlier.purpose = 'judge' AND earlier.outcome = 'level' AND earlier.a_first IS NOT NULL
      AND NOT (c.harms && %(opted_out)s::varchar[])
      AND NOT EXISTS (SELECT FROM annotator_assignment mine
                      WHERE mine.comparison_id = c.id AND mine.rater_id = %(rater)s
                        AND mine.round > earlier.round AND mine.state <> 'expired')
      {_NOT_SETTLED_BY_ME}
    ORDER BY random() LIMIT 1
"""


@dataclass(frozen=True)
class Offer:
    """A comparison to be leased, and the order on screen where it is given (None: to be drawn)."""

    comparison_id: int
    purpose: str = Purpose.JUDGE
    round: int = 1
    a_first: bool | None = None
    shown_order: list[int] | None = None


def draw(rater: Rater, admitted: Admission) -> Offer | None:
    """What a new lease of `rater` is for instead of the queue; None for nearly all of them."""
    chance = _draws.random()
    if chance < admitted.gold_share:
        return _gold(rater)
    if chance < admitted.gold_share + admitted.repeat_share:
        return _repeat(rater, admitted.repeat_after)
    return None


def _gold(rater: Rater) -> Offer | None:
    found = one_row(_GOLD, {"project": rater.project_id, "rater": rater.pk, "opted_out": rater.opted_out})
    return Offer(found[0], Purpose.GOLD, found[1]) if found else None


def _repeat(rater: Rater, after: int) -> Offer | None:
    """Their own answer of before, the first and second on screen exchanged (all of several turned round)."""
    asked = {"rater": rater.pk, "opted_out": rater.opted_out, "margin": UNDO_MARGIN}
    found = one_row(_REPEAT, {**asked, "after": after, "from": REPEATED_FROM})
    if found is None:
        return None
    comparison_id, round_, a_first, shown = found
    return Offer(comparison_id, Purpose.REPEAT, round_, not a_first, shown[::-1] if shown else None)


def one_row(query: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()
