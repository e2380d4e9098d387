"""Onboarding: the tutorial and the qualification set, answered in the seat. Nothing of it is a judgment or is paid.

An attempt is drawn once (which comparisons, in which order, which response first) and each of its answers is stored
when it is given: a reload, another device or a second click goes on with the same attempt and changes no answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Coalesce, Greatest
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import Assignment, Attempt, Gold, Outcome, Project, Protocol, Rater, Standards, Standing
from annotator.pipeline import judge
from annotator.pipeline.work import StepRefused

# Shares are sums of tenths: 0.8 of 5 must be 4 right answers, whatever the floating point says.
ROUNDING = 1e-9


@transaction.atomic
def start(project: Project, rater: Rater, use: str, *, protocol: Protocol, unlimited: bool = False) -> Attempt:
    """The attempt at `use` that `rater` has begun, else a new one. Raises StepRefused when there is none to be had.

    With `unlimited` (a lead who tries it out) it may be repeated as often as they like.
    """
    _lock(rater)
    begun = open_attempt(project, rater, use)
    if begun is not None:
        return begun
    golds = list(Gold.objects.filter(project=project, use=use, retired_at=None).select_related("comparison"))
    if not golds:
        raise StepRefused(_("No comparisons have been chosen for this yet. Tell the lead of the project."))
    if use == Gold.Use.QUALIFICATION and not unlimited and attempts_left(project, rater) == 0:
        raise StepRefused(_("You have used all attempts. Ask the lead of the project to look at them with you."))
    last = rater.attempts.filter(use=use).aggregate(number=Coalesce(Max("number"), 0))["number"]
    return Attempt.objects.create(
        rater=rater,
        use=use,
        number=last + 1,
        protocol=protocol,
        guidelines_version=project.guidelines_version,
        answers=_drawn(golds, use),
    )


def _drawn(golds: list[Gold], use: str) -> list[dict[str, Any]]:
    """A tutorial goes in the lead's order, a qualification in one of its own each time; sides are always drawn anew."""
    golds.sort(key=lambda gold: gold.pk)
    if use == Gold.Use.QUALIFICATION:
        random.shuffle(golds)
    drawn = []
    for gold in golds:
        places = list(range(2 + gold.comparison.candidates_count))
        random.shuffle(places)
        drawn.append(
            {
                "gold": gold.pk,
                "a_first": places.index(0) < places.index(1),
                "shown_order": places if len(places) > 2 else None,
                "given": None,
                "right": None,
            }
        )
    return drawn


def _lock(rater: Rater) -> Standing:
    """One attempt at a time: whoever starts or ends one holds the person's standing."""
    Standing.objects.get_or_create(rater=rater)
    return Standing.objects.select_for_update(no_key=True).get(rater=rater)


def due_version(project: Project) -> int:
    """The guidelines version from which on a qualification counts."""
    if not Standards.of(project).recertify:
        return 1
    strict = project.guidelines_versions.filter(must_acknowledge=True)
    return int(strict.aggregate(version=Coalesce(Max("version"), 1))["version"])


def open_attempt(project: Project, rater: Rater, use: str) -> Attempt | None:
    """What was begun and not ended. A qualification begun under guidelines that no longer count is left behind."""
    begun = rater.attempts.filter(use=use, finished_at=None)
    if use == Gold.Use.QUALIFICATION:
        begun = begun.filter(guidelines_version__gte=due_version(project))
    return begun.order_by("-number").first()


def attempts_left(project: Project, rater: Rater) -> int:
    used = rater.attempts.filter(
        use=Gold.Use.QUALIFICATION, finished_at__isnull=False, guidelines_version__gte=due_version(project)
    )
    return max(0, Standards.of(project).attempts_allowed - used.count())


def asked(attempt: Attempt, step: int, gold: Gold) -> Assignment:
    """What is on screen at `step` (from 0), as the seat and `judge.check` take it. It is never stored."""
    drawn = attempt.answers[step]
    return Assignment(
        project_id=gold.project_id,
        comparison_id=gold.comparison_id,
        rater_id=attempt.rater_id,
        a_first=drawn["a_first"],
        shown_order=drawn.get("shown_order"),
    )


def next_step(attempt: Attempt) -> int | None:
    """The first step without an answer whose comparison is still in use; None when all are answered."""
    there = _in_use(attempt)
    waiting = (n for n, drawn in enumerate(attempt.answers) if drawn["given"] is None and drawn["gold"] in there)
    return next(waiting, None)


def _in_use(attempt: Attempt) -> set[int]:
    """Golds of the attempt that exist and were not retired meanwhile."""
    drawn = [each["gold"] for each in attempt.answers]
    return set(Gold.objects.filter(pk__in=drawn, retired_at=None).values_list("pk", flat=True))


@transaction.atomic
def answer(attempt: Attempt, step: int, given: Mapping[str, Any], *, client_id: UUID | None = None) -> Attempt:
    """Store the answer at `step`, the first one sent; the attempt is over with its last one.

    Raises protocols.AnswerInvalid, and then nothing has changed; StepRefused for a step that is not the next one.
    """
    standing = _lock(attempt.rater)
    attempt = (
        Attempt.objects.select_for_update(no_key=True, of=("self",))
        .select_related("protocol", "rater")
        .get(pk=attempt.pk)
    )
    if attempt.answers[step]["given"] is not None:
        return attempt
    if step != next_step(attempt):
        raise StepRefused(_("Another comparison comes first."))
    gold = Gold.objects.get(pk=attempt.answers[step]["gold"])
    checked = judge.check(attempt.protocol, given, asked(attempt, step, gold))
    attempt.answers[step] |= {
        "given": dict(given),
        "right": _right(gold, checked),
        "level": checked.level,
        "client_id": str(client_id or ""),
    }
    if next_step(attempt) is None:
        _finish(attempt, standing)
    attempt.save()
    return attempt


def _right(gold: Gold, checked: protocols.Answer) -> bool | None:
    """None for an order of several responses that says nothing of A and B."""
    if checked.outcome == Outcome.RANKED:
        return None
    return gold.accepts(checked.outcome, checked.level, checked.attributes)


def _finish(attempt: Attempt, standing: Standing) -> None:
    """The tutorial is passed by going through it, the qualification by its share of right answers.

    What was retired, or says neither right nor wrong, is left out of the share.
    """
    in_use = _in_use(attempt)
    graded = [each["right"] for each in attempt.answers if each["gold"] in in_use and each["right"] is not None]
    attempt.finished_at = attempt.finished_at or now()
    attempt.score = sum(graded) / len(graded) if graded else 0.0
    if attempt.use == Gold.Use.TUTORIAL:
        attempt.passed = True
        Standing.objects.filter(pk=standing.pk, tutorial_done_at=None).update(tutorial_done_at=attempt.finished_at)
        return
    attempt.passed = attempt.score + ROUNDING >= Standards.of(attempt.rater.project).pass_mark
    if attempt.passed:
        _certify(attempt.rater, attempt.guidelines_version)


@transaction.atomic
def regrade(gold: Gold) -> None:
    """After `gold` was retired or its answer changed: what was not passed with it is graded anew.

    Nobody who has passed fails by it.
    """
    asked = Attempt.objects.filter(rater__project=gold.project_id, answers__contains=[{"gold": gold.pk}])
    open_ones = asked.exclude(passed=True).select_related("rater__project").order_by("rater", "number")
    for rater in {attempt.rater_id: attempt.rater for attempt in open_ones}.values():
        standing = _lock(rater)
        for attempt in open_ones.filter(rater=rater).select_related("protocol", "rater__project"):
            _regrade(attempt, gold, standing)


def _regrade(attempt: Attempt, gold: Gold, standing: Standing) -> None:
    for step, drawn in enumerate(attempt.answers):
        if drawn["gold"] == gold.pk and drawn["given"] is not None:
            checked = judge.check(attempt.protocol, drawn["given"], asked(attempt, step, gold))
            drawn["right"] = _right(gold, checked)
    if next_step(attempt) is None:
        if all(drawn["given"] is None for drawn in attempt.answers):
            attempt.delete()  # nothing of it is left to be asked, and nothing was said
            return
        _finish(attempt, standing)
    attempt.save()


def _certify(rater: Rater, version: int) -> None:
    Standing.objects.filter(rater=rater).update(certified=Greatest("certified", version))


@transaction.atomic
def admit(project: Project, rater: Rater) -> None:
    """Let somebody work without tutorial and qualification, until guidelines ask for a new one."""
    _lock(rater)
    Standing.objects.filter(rater=rater, tutorial_done_at=None).update(tutorial_done_at=now())
    _certify(rater, project.guidelines_version)
