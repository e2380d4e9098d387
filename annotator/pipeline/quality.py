"""How well people judge, looked at when `aggregate` takes their judgments in, never while they wait.

Known answers (`Gold`) are the only thing that pauses somebody, and only below the project's own mark over several of
them. All else makes a `Concern` for the lead to look at and changes nothing: reading faster than can be, one answer
again and again, one side of the screen preferred, repeats answered differently, words that look pasted or made by a
machine. Everything is recomputed from the judgments, so taking one in twice changes nothing; a batch costs a few
queries and looks at no more than the newest judgments of the people in it.

People are looked at again with every batch, and a test that is right in 99 of 100 cases is soon wrong about somebody
who is looked at a thousand times. So the evidence is a likelihood ratio against an even mixture of all other habits:
by Ville's inequality a fair person passes a ratio of 1,000 with a chance of at most 1 in 1,000 within the newest
LOOKED_AT judgments; a window that slides on for thousands of judgments gives up some of that. What the
lead has settled starts from nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from math import lgamma, log
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, QuerySet, Sum
from django.db.models.functions import Length
from django.utils.timezone import now

from annotator.models import Candidate, Comparison, Concern, Gold, Judgment, Purpose, Standards, Standing
from annotator.models.standards import gold_answers, is_right
from annotator.pipeline import onboarding, prose

# Newest judgments of a person that say something about their habits.
LOOKED_AT = 200
# Likelihood ratio from which a habit is reported.
SURPRISING = log(1000)
# A run of one answer is reported when a hundred judgments hold such a one with a chance below 1 in 1,000.
RUN_CHANCE, RUN_AMONG = 1e-3, 100
# Of others' answers: how many people's, how many of each, and from how many on they say how common an answer is.
OTHERS, OF_EACH, OTHERS_ENOUGH = 40, 50, 30
# Even careful people answer this share of repeats differently, where responses are close.
DIFFERENT_BY_CHANCE = 0.3
# Characters of a word, for a floor of reading time that is fair to languages without spaces too.
CHARACTERS_A_WORD = 6
# Shorter texts can be taken in at a glance.
READ_WORDS = 60


def take_in(judgment_ids: Iterable[int]) -> None:
    """Look at what people have just said, and again at what these people said lately."""
    fresh = Judgment.objects.filter(
        pk__in=list(judgment_ids), is_current=True, assignment__isnull=False, rater__user__isnull=False
    )
    by_project: dict[int, list[Judgment]] = defaultdict(list)
    for judgment in fresh.exclude(purpose=Purpose.REVIEW).select_related("project"):
        by_project[judgment.project_id].append(judgment)
    for judgments in by_project.values():
        _take_in(Standards.of(judgments[0].project), judgments)


def _take_in(standards: Standards, judgments: Sequence[Judgment]) -> None:
    raters = sorted({judgment.rater_id for judgment in judgments})
    single = [*_too_fast(standards, judgments), *_not_by_hand(judgments)]
    Concern.objects.bulk_create(single, ignore_conflicts=True)
    gold = Gold.objects.filter(comparison__in=[judgment.comparison_id for judgment in judgments])
    on_gold = set(gold.filter(use=Gold.Use.HIDDEN).values_list("comparison_id", flat=True))
    for rater_id in sorted({judgment.rater_id for judgment in judgments if judgment.comparison_id in on_gold}):
        regrade(rater_id, standards)
    _habits(standards.project_id, raters)
    if repeaters := {judgment.rater_id for judgment in judgments if judgment.purpose == Purpose.REPEAT}:
        _inconsistent(standards.project_id, sorted(repeaters))


def surprise(times: int, of: int, chance: float) -> float:
    """Log of how much better some other habit explains `times` in `of` than `chance` does."""
    mixture = lgamma(times + 1) + lgamma(of - times + 1) - lgamma(of + 2)
    return mixture - times * log(chance) - (of - times) * log(1 - chance)


# Known answers


def regrade(rater_id: int, standards: Standards) -> Standing:
    """Count the person's last gold answers anew, and pause them below the project's mark.

    Somebody paused by gold goes on by themselves when the answers suffice after all: a gold answer was corrected.
    """
    standing, _new = Standing.objects.select_for_update(no_key=True).get_or_create(rater_id=rater_id)
    answers = _counted(rater_id, standing, standards)
    missed = [judgment.pk for judgment in answers if not is_right(judgment)]
    standing.gold_seen, standing.gold_right = len(answers), len(answers) - len(missed)
    below = standing.gold_right < standards.pause_below * standing.gold_seen
    if below and standing.gold_seen >= standards.accuracy_least:
        standing.paused_at = standing.paused_at or now()
        evidence = {"right": standing.gold_right, "of": standing.gold_seen, "judgments": missed}
        _raise(standards.project_id, rater_id, Concern.Kind.GOLD, evidence)
    elif standing.paused_at and not standing.pause_reason:
        standing.paused_at = None
    standing.save(update_fields=["gold_seen", "gold_right", "paused_at"])
    return standing


@transaction.atomic
def regrade_gold(gold: Gold) -> None:
    """Count everybody anew who answered `gold`, after its answer was changed or it was retired."""
    answered = Judgment.objects.filter(comparison=gold.comparison_id, assignment__isnull=False, is_current=True)
    standards = Standards.of(gold.project)
    for rater_id in answered.order_by("rater").values_list("rater", flat=True).distinct():
        regrade(rater_id, standards)
    onboarding.regrade(gold)


def _counted(rater_id: int, standing: Standing, standards: Standards) -> list[Judgment]:
    answers = gold_answers(rater=rater_id)
    if standing.resumed_at:
        answers = answers.filter(created_at__gt=standing.resumed_at)
    return list(answers[: standards.accuracy_window])


# Single judgments


def _too_fast(standards: Standards, judgments: Iterable[Judgment]) -> list[Concern]:
    """First answers given sooner than both responses can be read; the prompt may have been known."""
    timed = [each for each in judgments if each.active_ms and each.purpose != Purpose.REPEAT and each.revision == 1]
    words = _words(each.comparison_id for each in timed)
    concerns = []
    for judgment in timed:
        least = round(words[judgment.comparison_id] / standards.reading_rate * 60_000)
        if words[judgment.comparison_id] >= READ_WORDS and (judgment.active_ms or 0) < least:
            evidence = {"ms": judgment.active_ms, "words": words[judgment.comparison_id], "least_ms": least}
            concerns.append(_about(judgment, Concern.Kind.FAST, evidence))
    return concerns


def _words(comparisons: Iterable[int]) -> dict[int, int]:
    """About how many words the responses of each comparison have."""
    asked = set(comparisons)
    pairs = Comparison.objects.filter(pk__in=asked).annotate(
        characters=Length("response_a__text") + Length("response_b__text")
    )
    characters = {pk: (length, more) for pk, length, more in pairs.values_list("pk", "characters", "candidates_count")}
    ranked = [pk for pk, (_length, more) in characters.items() if more]
    candidates = Candidate.objects.filter(comparison__in=ranked).values_list("comparison")
    others = dict(candidates.annotate(length=Sum(Length("response__text"))).order_by()) if ranked else {}
    return {pk: (length + others.get(pk, 0)) // CHARACTERS_A_WORD for pk, (length, _more) in characters.items()}


def _not_by_hand(judgments: Iterable[Judgment]) -> list[Concern]:
    concerns = []
    for judgment in judgments:
        typed = judgment.provenance.get("typed") or {}
        if evidence := prose.pasted(judgment.justification, typed):
            concerns.append(_about(judgment, Concern.Kind.PASTED, evidence))
        if evidence := prose.machine_written(judgment.justification, typed):
            concerns.append(_about(judgment, Concern.Kind.MACHINE_WRITTEN, evidence))
    return concerns


def _about(judgment: Judgment, kind: str, evidence: dict[str, Any]) -> Concern:
    return Concern(
        project_id=judgment.project_id, rater_id=judgment.rater_id, kind=kind, judgment=judgment, evidence=evidence
    )


# Habits, over many judgments

# One row a person: how often they chose at all between first and second on screen, how often the first, and their
# answers as on screen, newest first.
_LATELY = """
    SELECT asked.rater,
           count(*) FILTER (WHERE sided AND created_at > asked.side_since),
           count(*) FILTER (WHERE sided AND first AND created_at > asked.side_since),
           array_agg(answer ORDER BY created_at DESC) FILTER (WHERE created_at > asked.line_since)
    FROM unnest(%(raters)s::bigint[], %(side_since)s::timestamptz[], %(line_since)s::timestamptz[])
         AS asked(rater, side_since, line_since)
    CROSS JOIN LATERAL (
        SELECT j.created_at, j.preference <> 0 AS sided, (j.preference < 0) = j.a_first AS first,
               CASE WHEN j.outcome = 'level' THEN (CASE WHEN j.a_first THEN j.level ELSE -j.level END)::text
                    ELSE j.outcome END AS answer
        FROM annotator_judgment j
        WHERE j.rater_id = asked.rater AND j.is_current AND j.effective_at <= now()
          AND j.a_first IS NOT NULL AND j.purpose <> 'review'
        ORDER BY j.created_at DESC LIMIT %(looked_at)s
    ) AS lately
    GROUP BY asked.rater
"""
_OTHERS_SAY = """
    SELECT other.id, answer, count(*)
    FROM (SELECT id FROM annotator_rater WHERE project_id = %(project)s AND user_id IS NOT NULL
          ORDER BY id DESC LIMIT %(others)s) AS other
    CROSS JOIN LATERAL (
        SELECT CASE WHEN j.outcome = 'level' THEN (CASE WHEN j.a_first THEN j.level ELSE -j.level END)::text
                    ELSE j.outcome END AS answer
        FROM annotator_judgment j
        WHERE j.rater_id = other.id AND j.is_current AND j.effective_at <= now()
          AND j.a_first IS NOT NULL AND j.purpose <> 'review'
        ORDER BY j.created_at DESC LIMIT %(of_each)s
    ) AS said
    GROUP BY other.id, answer
"""
_REPEATED = """
    SELECT asked.rater, count(*), count(*) FILTER (WHERE sign(again.preference) <> sign(first.preference)),
           array_agg(again.id) FILTER (WHERE sign(again.preference) <> sign(first.preference))
    FROM unnest(%(raters)s::bigint[], %(since)s::timestamptz[]) AS asked(rater, since)
    CROSS JOIN LATERAL (
        SELECT * FROM annotator_judgment j
        WHERE j.rater_id = asked.rater AND j.created_at > asked.since AND j.is_current AND j.effective_at <= now()
        ORDER BY j.created_at DESC LIMIT %(looked_at)s
    ) AS again
    JOIN annotator_judgment first ON first.comparison_id = again.comparison_id AND first.rater_id = again.rater_id
                                 AND first.round = again.round - 1 AND first.is_current
    WHERE again.purpose = 'repeat' AND again.preference IS NOT NULL AND first.preference IS NOT NULL
    GROUP BY asked.rater
"""
# Repeats are few among many.
REPEATS_AMONG = 4_000
_EVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _habits(project_id: int, raters: list[int]) -> None:
    sides = _settled(raters, Concern.Kind.FIRST_SIDE)
    lines = _settled(raters, Concern.Kind.STRAIGHT_LINE)
    asked = {"raters": raters, "side_since": sides, "line_since": lines, "looked_at": LOOKED_AT}
    others: dict[int, dict[str, int]] | None = None
    for rater_id, sided, first, answers in _rows(_LATELY, asked):
        if surprise(first, sided, 0.5) > SURPRISING:
            _raise(project_id, rater_id, Concern.Kind.FIRST_SIDE, {"first": first, "of": sided})
        run = _run(answers or [])
        # Even an answer that everybody else gives half the time must come up as often to be worth the question.
        if run * log(2) < -log(RUN_CHANCE / RUN_AMONG):
            continue
        others = _others_say(project_id) if others is None else others
        if run * -log(_share_of(answers[0], rater_id, others)) > -log(RUN_CHANCE / RUN_AMONG):
            _raise(project_id, rater_id, Concern.Kind.STRAIGHT_LINE, {"answer": answers[0], "times": run})


def _run(answers: Sequence[str]) -> int:
    """How often the newest answer was given without another in between."""
    for length, answer in enumerate(answers):
        if answer != answers[0]:
            return length
    return len(answers)


def _share_of(answer: str, rater_id: int, others: dict[int, dict[str, int]]) -> float:
    """How often others give this answer; never held for rarer than one in two, and half while few have answered."""
    said = [counts for other, counts in others.items() if other != rater_id]
    total = sum(sum(counts.values()) for counts in said)
    times = sum(counts.get(answer, 0) for counts in said)
    return max(0.5, (times + 1) / (total + 2)) if total >= OTHERS_ENOUGH else 0.5


def _others_say(project_id: int) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for rater_id, answer, times in _rows(_OTHERS_SAY, {"project": project_id, "others": OTHERS, "of_each": OF_EACH}):
        found[rater_id][answer] = times
    return found


def _inconsistent(project_id: int, raters: list[int]) -> None:
    asked = {"raters": raters, "since": _settled(raters, Concern.Kind.INCONSISTENT), "looked_at": REPEATS_AMONG}
    for rater_id, repeats, different, judgments in _rows(_REPEATED, asked):
        often = different > DIFFERENT_BY_CHANCE * repeats
        if often and surprise(different, repeats, DIFFERENT_BY_CHANCE) > SURPRISING:
            evidence = {"different": different, "of": repeats, "judgments": judgments}
            _raise(project_id, rater_id, Concern.Kind.INCONSISTENT, evidence)


def _settled(raters: list[int], kind: str) -> list[datetime]:
    """For each person, when the lead last settled a concern of this kind: older judgments say nothing more."""
    settled: QuerySet[Concern] = Concern.objects.filter(rater__in=raters, kind=kind, resolved_at__isnull=False)
    last = dict(settled.order_by().values_list("rater").annotate(Max("resolved_at")))
    return [last.get(rater_id) or _EVER for rater_id in raters]


def _raise(project_id: int, rater_id: int, kind: str, evidence: dict[str, Any]) -> None:
    """One open concern a person and kind, with its newest evidence."""
    Concern.objects.update_or_create(
        project_id=project_id,
        rater_id=rater_id,
        kind=kind,
        judgment=None,
        resolved_at=None,
        defaults={"evidence": evidence},
    )


def _rows(query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()
