"""How the people of a project judge, for its lead: what is measured, how surely, and what it rests on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Comparison, Concern, Gold, Judgment, Project, Rater, Review, Standards, Standing
from annotator.models.standards import gold_answers, is_right
from annotator.readings.charts import CurvePoint
from annotator.readings.shares import Share

# Newest judgments of a person that their row speaks of.
LOOKED_AT = 500
PEOPLE_SHOWN = 200
# A line over time has at most as many points, of as many judgments each.
POINTS, EACH_POINT = 12, 50
# Newest gold answers that are counted on a page about all of them.
ANSWERS_COUNTED = 20_000
# A gold that more than half of so many people miss is rather wrong itself.
SUSPECT_FROM = 4
COMPARISONS_SHOWN = 12


@dataclass(frozen=True)
class Person:
    """One row: somebody who judges here, and what their newest judgments say."""

    rater: Rater
    standing: Standing
    judgments: int = 0
    median_ms: float | None = None
    first_side: Share = Share(0, 0)
    agreement: Share = Share(0, 0)
    repeats: Share = Share(0, 0)
    gold: Share = Share(0, 0)
    fast: Share = Share(0, 0)
    # Kinds of open concerns.
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """Some judgments in a row: where they end (counted from the first shown), and what they say."""

    ends_at: int
    until: Any
    first_side: Share
    # Rolling: the last gold answers up to here.
    gold: Share
    median_ms: float | None


@dataclass
class Worry:
    """Open concerns of one kind about one person."""

    kind: str
    label: str
    concerns: list[Concern] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """A gold comparison with how it was answered."""

    gold: Gold
    right: Share
    contests: int

    @property
    def is_suspect(self) -> bool:
        return self.right.of >= SUSPECT_FROM and self.right.times * 2 < self.right.of


_LATELY = """
    SELECT asked.rater, count(*),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY said.active_ms) FILTER (WHERE said.active_ms > 0),
           count(*) FILTER (WHERE said.preference <> 0 AND said.a_first IS NOT NULL),
           count(*) FILTER (WHERE said.preference <> 0 AND (said.preference < 0) = said.a_first),
           coalesce(sum(others.votes), 0), coalesce(sum(others.agree), 0)
    FROM unnest(%(raters)s::bigint[]) AS asked(rater)
    CROSS JOIN LATERAL (
        SELECT * FROM annotator_judgment j
        WHERE j.rater_id = asked.rater AND j.is_current AND j.effective_at <= now() AND j.purpose <> 'review'
          AND j.assignment_id IS NOT NULL
        ORDER BY j.created_at DESC LIMIT %(looked_at)s
    ) AS said
    LEFT JOIN LATERAL (
        SELECT count(*) AS votes, count(*) FILTER (WHERE sign(o.preference) = sign(said.preference)) AS agree
        FROM annotator_judgment o JOIN annotator_rater r ON r.id = o.rater_id AND r.kind = 'person'
        WHERE said.purpose <> 'repeat' AND said.preference IS NOT NULL
          AND o.comparison_id = said.comparison_id AND o.rater_id <> said.rater_id AND o.is_current
          AND o.effective_at <= now() AND o.purpose <> 'repeat' AND o.preference IS NOT NULL
    ) AS others ON true
    GROUP BY asked.rater
"""
_REPEATED = """
    SELECT again.rater_id, count(*), count(*) FILTER (WHERE sign(again.preference) = sign(first.preference))
    FROM annotator_judgment again
    JOIN annotator_judgment first ON first.comparison_id = again.comparison_id AND first.rater_id = again.rater_id
                                 AND first.round = again.round - 1 AND first.is_current
    WHERE again.rater_id = ANY(%(raters)s) AND again.purpose = 'repeat' AND again.is_current
      AND again.assignment_id IS NOT NULL
      AND again.effective_at <= now() AND again.preference IS NOT NULL AND first.preference IS NOT NULL
    GROUP BY again.rater_id
"""


def people(project: Project) -> tuple[list[Person], int]:
    """Everybody with an account who has judged in the seat or stands somewhere, and how many more there are.

    Whom a lead should look at comes first; those who stand paused are among the shown in any case.
    """
    judging = project.raters.people().filter(user__isnull=False).select_related("user", "standing")  # type: ignore[attr-defined]
    in_seat = Judgment.objects.filter(rater=OuterRef("pk"), assignment__isnull=False)
    known = judging.filter(Q(standing__isnull=False) | Exists(in_seat))
    worrying = Exists(Concern.objects.filter(rater=OuterRef("pk"), resolved_at=None))
    shown = list(known.order_by(F("standing__paused_at").desc(nulls_last=True), worrying.desc(), "id")[:PEOPLE_SHOWN])
    more = known.count() - PEOPLE_SHOWN if len(shown) == PEOPLE_SHOWN else 0
    found = _people(project, shown)
    return sorted(found, key=lambda each: (not each.standing.paused_at, -len(each.concerns), -each.judgments)), more


def person(project: Project, rater: Rater) -> Person:
    return _people(project, [rater])[0]


def _people(project: Project, raters: Sequence[Rater]) -> list[Person]:
    ids = [rater.pk for rater in raters]
    lately = {row[0]: row for row in _rows(_LATELY, {"raters": ids, "looked_at": LOOKED_AT})}
    repeated = {row[0]: Share(row[2], row[1]) for row in _rows(_REPEATED, {"raters": ids})}
    totals = dict(_given(ids).values_list("rater").annotate(Count("id")).order_by())
    gold = _by_rater(gold_answers(rater__in=ids))
    open_kinds, fast = _concerns(ids)
    made = []
    for rater in raters:
        _id, _n, median_ms, sided, first, votes, agree = lately.get(rater.pk, (rater.pk, 0, None, 0, 0, 0, 0))
        total = totals.get(rater.pk, 0)
        made.append(
            Person(
                rater=rater,
                standing=getattr(rater, "standing", None) or Standing(rater=rater),
                judgments=total,
                median_ms=median_ms,
                first_side=Share(first, sided),
                agreement=Share(int(agree), int(votes)),
                repeats=repeated.get(rater.pk, Share(0, 0)),
                gold=gold.get(rater.pk, Share(0, 0)),
                fast=Share(min(fast.get(rater.pk, 0), total), total),
                concerns=tuple(open_kinds.get(rater.pk, ())),
            )
        )
    return made


def _given(rater_ids: Sequence[int]) -> QuerySet[Judgment]:
    given = Judgment.objects.filter(rater__in=rater_ids, is_current=True, assignment__isnull=False)
    return given.exclude(purpose="review")


def _by_rater(answers: QuerySet[Judgment]) -> dict[int, Share]:
    right: dict[int, list[bool]] = defaultdict(list)
    for judgment in answers[:ANSWERS_COUNTED]:
        right[judgment.rater_id].append(is_right(judgment))
    return {rater_id: Share(sum(said), len(said)) for rater_id, said in right.items()}


def _concerns(rater_ids: Sequence[int]) -> tuple[dict[int, list[str]], dict[int, int]]:
    """Open kinds of each person in words, and how many of their judgments were ever given too fast."""
    about = Concern.objects.filter(rater__in=rater_ids)
    kinds: dict[int, list[str]] = defaultdict(list)
    for rater_id, kind in about.filter(resolved_at=None).order_by("kind").values_list("rater", "kind").distinct():
        kinds[rater_id].append(str(Concern.Kind(kind).label))
    fast = about.filter(kind=Concern.Kind.FAST).order_by().values_list("rater").annotate(Count("id"))
    return kinds, dict(fast)


# One person


def over_time(rater: Rater, standards: Standards) -> list[Block]:
    """Their newest judgments in blocks, oldest first; the last block may be short."""
    newest = list(_given([rater.pk]).order_by("-created_at", "-id")[: POINTS * EACH_POINT])[::-1]
    answers = [(judgment.created_at, is_right(judgment)) for judgment in gold_answers(rater=rater)[:LOOKED_AT]][::-1]
    blocks = []
    for start in range(0, len(newest), EACH_POINT):
        some = newest[start : start + EACH_POINT]
        until = some[-1].created_at
        rolling = [right for given, right in answers if given <= until][-standards.accuracy_window :]
        blocks.append(
            Block(start + len(some), until, _first_side(some), Share(sum(rolling), len(rolling)), _median_ms(some))
        )
    return blocks


def _first_side(judgments: Sequence[Judgment]) -> Share:
    sided = [each for each in judgments if each.preference and each.a_first is not None]
    return Share(sum((each.preference < 0) == each.a_first for each in sided), len(sided))  # type: ignore[operator]


def _median_ms(judgments: Sequence[Judgment]) -> float | None:
    times = sorted(each.active_ms for each in judgments if each.active_ms)
    return float(times[len(times) // 2]) if times else None


def points(blocks: Sequence[Block], which: str) -> list[CurvePoint]:
    """The line of `gold` or `first_side` for a chart; blocks that say nothing are left out."""
    shares = [(block.ends_at, getattr(block, which)) for block in blocks]
    return [CurvePoint(float(at), share.mean, share.low, share.high) for at, share in shares if share.of]


def worries(project: Project, rater: Rater) -> list[Worry]:
    """Open concerns by kind, each in words and with comparisons to look at."""
    found: dict[str, Worry] = {}
    asked = Concern.objects.filter(project=project, rater=rater, resolved_at=None).order_by("kind", "-id")
    for concern in asked:
        worry = found.setdefault(concern.kind, Worry(concern.kind, str(Concern.Kind(concern.kind).label)))
        worry.concerns.append(concern)
    for worry in found.values():
        worry.words = [words(concern) for concern in worry.concerns[:COMPARISONS_SHOWN] if not concern.judgment_id]
        worry.comparisons = _comparisons(worry.concerns)
    return list(found.values())


def _comparisons(concerns: Sequence[Concern]) -> list[Comparison]:
    """What single concerns are about, and what is named as evidence of the others."""
    judgments = [concern.judgment_id for concern in concerns if concern.judgment_id]
    for concern in concerns:
        judgments += concern.evidence.get("judgments") or []
    shown = Comparison.objects.filter(judgments__in=judgments[:COMPARISONS_SHOWN])
    return list(shown.distinct().order_by("-id"))


def settled(project: Project, rater: Rater) -> list[dict[str, Any]]:
    """What a lead has settled, newest first: one entry a click."""
    closed = Concern.objects.filter(project=project, rater=rater, resolved_at__isnull=False)
    clicks = closed.order_by("-resolved_at").values("kind", "resolved_at", "resolved_by__username")
    return [
        {**click, "label": Concern.Kind(click["kind"]).label} for click in clicks.annotate(n=Count("id"), id=Max("id"))
    ][:COMPARISONS_SHOWN]


def words(concern: Concern) -> str:
    """What was seen, in a sentence."""
    seen = concern.evidence
    if concern.kind == Concern.Kind.GOLD:
        return _("%(right)s of the last %(of)s known answers were right.") % seen
    if concern.kind == Concern.Kind.FIRST_SIDE:
        of, first = seen["of"], seen["first"]
        if first * 2 >= of:
            return _("Chose what was shown first in %(n)s of %(of)s.") % {"n": first, "of": of}
        return _("Chose what was shown second in %(n)s of %(of)s.") % {"n": of - first, "of": of}
    if concern.kind == Concern.Kind.STRAIGHT_LINE:
        return ngettext(
            "The same answer on screen %(times)s time in a row.",
            "The same answer on screen %(times)s times in a row.",
            seen["times"],
        ) % {"times": seen["times"]}
    if concern.kind == Concern.Kind.INCONSISTENT:
        return _("%(different)s of %(of)s repeats were answered differently.") % seen
    return ""


# Known answers


def golds(project: Project) -> list[Known]:
    """Every gold comparison, those in doubt first, retired ones last."""
    right: dict[int, list[bool]] = defaultdict(list)
    for judgment in gold_answers(project=project)[:ANSWERS_COUNTED]:
        right[judgment.comparison_id].append(is_right(judgment))
    waiting = Count("contests", filter=Q(contests__state="open"))
    asked = project.golds.select_related("comparison").annotate(waiting=waiting)  # type: ignore[attr-defined]
    known = [
        Known(gold, Share(sum(right[gold.comparison_id]), len(right[gold.comparison_id])), gold.waiting)
        for gold in asked.order_by("use", "id")
    ]
    return sorted(known, key=lambda each: (bool(each.gold.retired_at), not each.contests, not each.is_suspect))


def settled_reviews(project: Project) -> QuerySet[Review]:
    """Comparisons that reviewers have settled and that are no gold yet: their answer is known."""
    decided = Review.objects.filter(project=project, state=Review.State.SETTLED, judgment__isnull=False)
    return decided.filter(comparison__gold__isnull=True).select_related("comparison", "judgment").order_by("-id")


def better(judgment: Judgment) -> str:
    """The answer of a judgment as one of `Gold.Better`; "" when it says nothing about it."""
    if judgment.outcome == Gold.Better.NEITHER:
        return Gold.Better.NEITHER
    if judgment.preference is None:
        return ""
    return Gold.Better.A if judgment.preference < 0 else Gold.Better.B if judgment.preference > 0 else Gold.Better.TIE


def _rows(query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()
