"""Onboarding on its pages: where somebody stands, and what they said of a comparison beside what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from annotator import protocols, rendering
from annotator.models import Attempt, Gold, Membership, Project, Rater, Role, Standards, Standing

LETTERS = protocols.SIDES.upper()


@dataclass(frozen=True)
class Rating:
    """A rating whose right values are known; `given` is None where it was not given."""

    words: str
    lowest: int
    highest: int
    given: int | None

    @property
    def is_right(self) -> bool:
        return self.given is not None and self.lowest <= self.given <= self.highest


@dataclass(frozen=True)
class Explained:
    """One answered step: what was said, what is right and why, all in the order that was on screen."""

    number: int
    comparison_id: int
    gold_id: int
    # No longer counted: it was retired.
    is_retired: bool
    # None where the answer says neither.
    is_right: bool | None
    said: str
    accepted: list[str]
    ratings: list[Rating]
    explanation: SafeString | str


@dataclass(frozen=True)
class State:
    """Where `rater` stands. `stage`: what comes next for them ("tutorial", "qualification", "exhausted", "done")."""

    stage: str
    standards: Standards
    standing: Standing | None
    tutorial: int
    qualification: int
    last: Attempt | None


def explained(attempt: Attempt) -> list[Explained]:
    """All answered steps whose comparison still exists, in the order they were asked."""
    golds = Gold.objects.select_related("comparison").in_bulk([drawn["gold"] for drawn in attempt.answers])
    definition = protocols.read(attempt.protocol.definition)
    return [
        explain(definition, number, drawn, golds[drawn["gold"]])
        for number, drawn in enumerate(attempt.answers, 1)
        if drawn["given"] is not None and drawn["gold"] in golds
    ]


def explain(definition: protocols.Definition, number: int, drawn: Mapping[str, Any], gold: Gold) -> Explained:
    letters = _letters(definition, drawn, gold)
    return Explained(
        number=number,
        comparison_id=gold.comparison_id,
        gold_id=gold.pk,
        is_retired=gold.retired_at is not None,
        is_right=drawn["right"],
        said=_said(definition, drawn, letters),
        accepted=[_accepted(better, definition, letters) for better in gold.better],
        ratings=_ratings(definition, drawn, gold, letters),
        explanation=rendering.to_html(gold.explanation) if gold.explanation else "",
    )


def _letters(definition: protocols.Definition, drawn: Mapping[str, Any], gold: Gold) -> dict[str, str]:
    """Which letters A and B of the comparison had on screen."""
    count = 2 + gold.comparison.candidates_count
    order = protocols.on_screen(definition, a_first=drawn["a_first"], shown_order=drawn.get("shown_order"), count=count)
    return {"a": LETTERS[order.index(0)], "b": LETTERS[order.index(1)]}


def _said(definition: protocols.Definition, drawn: Mapping[str, Any], letters: Mapping[str, str]) -> str:
    outcome, level = drawn["given"].get("outcome", "level"), drawn.get("level")
    if outcome == "neither_valid":
        return definition.neither_words or _("Neither is valid")
    if outcome == "cannot_judge":
        return _("Cannot judge")
    if definition.ranks:
        if level is None:
            return _("an order that does not tell %(a)s from %(b)s") % letters
        return _accepted("a" if level < 0 else "b" if level > 0 else "tie", definition, letters)
    shown = drawn["given"].get("level")
    return next((each.label for each in definition.levels if each.value == shown), "–")


def _accepted(better: str, definition: protocols.Definition, letters: Mapping[str, str]) -> str:
    if better == Gold.Better.NEITHER:
        return definition.neither_words or _("Neither is valid")
    if better == Gold.Better.TIE:
        return _("Tie")
    return _("%(letter)s is better") % {"letter": letters[better]}


def _ratings(
    definition: protocols.Definition, drawn: Mapping[str, Any], gold: Gold, letters: Mapping[str, str]
) -> list[Rating]:
    labels = {attribute.key: attribute.label for attribute in definition.attributes}
    given = drawn["given"].get("attributes") or {}
    found = [
        Rating(
            _("%(question)s of %(letter)s") % {"question": labels[key], "letter": letters[side]},
            lowest,
            highest,
            (given.get(key) or {}).get(letters[side].lower()),
        )
        for key, sides in gold.ratings.items()
        if key in labels
        for side, (lowest, highest) in sides.items()
    ]
    return sorted(found, key=lambda rating: rating.words)


def state(project: Project, rater: Rater, *, due_version: int, attempts_left: int) -> State:
    standards = Standards.of(project)
    standing = Standing.objects.filter(rater=rater).first()
    uses = list(Gold.objects.filter(project=project, retired_at=None).values_list("use", flat=True))
    tutorial, qualification = uses.count(Gold.Use.TUTORIAL), uses.count(Gold.Use.QUALIFICATION)
    last = rater.attempts.filter(use=Gold.Use.QUALIFICATION, finished_at__isnull=False).order_by("-number").first()
    stage = "done"
    if standards.tutorial_required and tutorial and not (standing and standing.tutorial_done_at):
        stage = "tutorial"
    elif standards.qualification_required and (standing.certified if standing else 0) < due_version:
        stage = "qualification" if attempts_left else "exhausted"
    return State(stage, standards, standing, tutorial, qualification, last)


@dataclass(frozen=True)
class Person:
    """A row of the people page: what somebody has read and passed."""

    membership: Membership
    standing: Standing | None
    attempts: list[Attempt]
    is_in: bool
    tutorial_done_at: datetime | None


def people(project: Project, due_version: int) -> list[Person]:
    """Everybody who may judge, with their attempts; the same queries however many they are."""
    memberships = Membership.objects.filter(project=project).exclude(role=Role.VIEWER).select_related("user")
    raters = {rater.user_id: rater for rater in Rater.objects.filter(project=project, user__isnull=False)}
    standings = {standing.rater_id: standing for standing in Standing.objects.filter(rater__project=project)}
    attempts: dict[int, list[Attempt]] = {}
    for attempt in Attempt.objects.filter(rater__project=project).order_by("-use", "number"):
        attempts.setdefault(attempt.rater_id, []).append(attempt)
    standards = Standards.of(project)
    return [
        _person(membership, raters.get(membership.user_id), standings, attempts, standards, due_version)
        for membership in memberships.order_by("role", "user__username")
    ]


def _person(
    membership: Membership,
    rater: Rater | None,
    standings: Mapping[int, Standing],
    attempts: Mapping[int, list[Attempt]],
    standards: Standards,
    due_version: int,
) -> Person:
    standing = standings.get(rater.pk) if rater else None
    certified = standing.certified if standing else 0
    done = standing.tutorial_done_at if standing else None
    is_in = (not standards.qualification_required or certified >= due_version) and (
        not standards.tutorial_required or done is not None
    )
    return Person(membership, standing, attempts.get(rater.pk, []) if rater else [], is_in, done)


def is_asked(project: Project) -> bool:
    """Whether the project has or asks for an onboarding at all."""
    asks = Q(tutorial_required=True) | Q(qualification_required=True)
    return (
        Standards.objects.filter(asks, project=project).exists()
        or Gold.objects.filter(project=project, retired_at=None).exclude(use=Gold.Use.HIDDEN).exists()
        or Attempt.objects.filter(rater__project=project).exists()
    )
