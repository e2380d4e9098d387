"""A person's own judgments, newest first, a page at a time: what they answered, in the order they saw.

Nothing here depends on why a comparison was on screen: comparisons whose answer is known and repeats look like others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.timezone import make_aware

from annotator.models import Comment, Flag, Judgment, Outcome, Purpose, Rater, Return
from annotator.readings.comparison import excerpt, said_of

PAGE = 30
# A day later must still be a date, in any time zone.
LAST_DAY = date(9000, 1, 1)


@dataclass(frozen=True)
class Own:
    """One own answer. `side` is the on-screen side that was better ("a", "b", "" for neither of them)."""

    judgment: Judgment
    excerpt: str
    words: str
    side: str
    is_flagged: bool
    is_returned: bool
    has_comments: bool

    @property
    def is_revised(self) -> bool:
        return self.judgment.revision > 1


@dataclass(frozen=True)
class Page:
    rows: list[Own]
    # Where the next page begins; "" on the last.
    following: str


def page(rater: Rater, asked: Mapping[str, Any], after: str = "") -> Page:
    """`asked` is cleaned data of forms.history.HistoryForm; `after` is the `following` of the page before."""
    found = _filtered(own(rater), asked)
    if place := _place(after):
        moment, pk = place
        found = found.filter(Q(created_at__lt=moment) | Q(created_at=moment, pk__lt=pk))
    rows = [_row(judgment) for judgment in _told(found)[: PAGE + 1]]
    more = len(rows) > PAGE
    last = rows[PAGE - 1].judgment if more else None
    return Page(rows[:PAGE], f"{last.created_at.isoformat()}_{last.pk}" if last else "")


def own(rater: Rater) -> QuerySet[Judgment]:
    """Standing answers given in the seat; what a reviewer settled is no answer of theirs as an annotator."""
    mine = Judgment.objects.filter(rater=rater, is_current=True, assignment__isnull=False)
    return mine.exclude(purpose=Purpose.REVIEW).order_by("-created_at", "-pk")


def _filtered(found: QuerySet[Judgment], asked: Mapping[str, Any]) -> QuerySet[Judgment]:
    if asked.get("since"):
        found = found.filter(created_at__gte=_midnight(min(asked["since"], LAST_DAY)))
    if asked.get("until"):
        found = found.filter(created_at__lt=_midnight(min(asked["until"], LAST_DAY) + timedelta(days=1)))
    if asked.get("answer"):
        found = found.filter(_ANSWERS[asked["answer"]])
    for name, condition in (("flagged", _flagged()), ("returned", _returned()), ("comments", Q(_comments()))):
        if asked.get(name):
            found = found.filter(condition)
    return found


# By what was better on screen.
_ANSWERS = {
    "a": Q(level__lt=0, a_first=True) | Q(level__gt=0, a_first=False),
    "b": Q(level__gt=0, a_first=True) | Q(level__lt=0, a_first=False),
    "tie": Q(level=0),
    "neither_valid": Q(outcome=Outcome.NEITHER_VALID),
    "cannot_judge": Q(outcome=Outcome.CANNOT_JUDGE),
}


def _flagged() -> Q:
    return Q(Exists(Flag.objects.filter(comparison=OuterRef("comparison"), rater=OuterRef("rater")))) | ~Q(flags=[])


def _returned() -> Q:
    """Sent back and not answered yet, this revision or an earlier one."""
    waiting = Return.objects.filter(judgment__comparison=OuterRef("comparison"), rater=OuterRef("rater"))
    return Q(Exists(waiting.filter(answered_at=None)))


def _comments() -> Exists:
    return Exists(Comment.objects.filter(comparison=OuterRef("comparison")))


def _told(found: QuerySet[Judgment]) -> QuerySet[Judgment]:
    return found.select_related("rater", "protocol", "assignment", "comparison__prompt").annotate(
        is_flagged=_flagged(), is_returned=_returned(), has_comments=_comments()
    )


def _row(judgment: Any) -> Own:
    order = judgment.assignment.shown_order or ((0, 1) if judgment.a_first else (1, 0))
    level = (judgment.level or 0) * (1 if judgment.a_first else -1)
    return Own(
        judgment,
        excerpt(judgment.comparison.prompt),
        said_of(judgment, order).words,
        "a" if level < 0 else "b" if level > 0 else "",
        judgment.is_flagged,
        judgment.is_returned,
        judgment.has_comments,
    )


def _midnight(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min))


def _place(after: str) -> tuple[datetime, int] | None:
    """Nonsense is the first page."""
    moment, _underscore, pk = after.rpartition("_")
    try:
        parsed = parse_datetime(moment)
    except ValueError:
        return None
    return (parsed, int(pk)) if parsed and parsed.tzinfo and pk.isdecimal() and len(pk) < 19 else None
