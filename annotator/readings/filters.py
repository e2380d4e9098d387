"""Which comparisons a filter means: one place for the list that is shown and for the run that is started on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from annotator.models import Comparison, FeatureSet, Flag, Judgment, Label, Plan, Project, Rater, Route
from annotator.readings import board

# The feature that tells an English prompt: 1, 0, or not a number.
ENGLISH = "prompt_english"


def chosen(project: Project, plan: Plan | None, asked: Mapping[str, Any]) -> QuerySet[Comparison]:
    """The comparisons that fit `asked`, the cleaned fields of `forms.comparisons.ComparisonFilter`, by id.

    `plan` is the one whose routes are meant. Everything is asked of the database, so a filter holds no ids.
    """
    found = project.comparisons.order_by("id")
    if words := asked.get("q"):
        found = found.filter(Q(external_id=words) | Q(prompt__turns__icontains=words))
    return _by_votes(_by_judges(_by_route(found, plan, asked), asked), project, asked)


def _by_route(found: QuerySet[Comparison], plan: Plan | None, asked: Mapping[str, Any]) -> QuerySet[Comparison]:
    routes = Route.objects.filter(plan=plan, comparison=OuterRef("pk"))
    if source := asked.get("source"):
        found = found.filter(Exists(routes.filter(source=source)))
    if asked.get("control"):
        found = found.filter(Exists(routes.filter(is_control=True)))
    return found


def _by_judges(found: QuerySet[Comparison], asked: Mapping[str, Any]) -> QuerySet[Comparison]:
    judged = Judgment.objects.filter(is_current=True, comparison=OuterRef("pk"))
    if asked.get("rater"):
        found = found.filter(Exists(judged.filter(rater=asked["rater"])))
    if people := asked.get("people"):
        said = Exists(Judgment.objects.effective().filter(comparison=OuterRef("pk"), rater__kind=Rater.Kind.PERSON))
        found = found.filter(said if people == "yes" else ~said)
    if asked.get("not_judged_by"):
        found = found.filter(~Exists(judged.filter(rater__labeler_version__labeler=asked["not_judged_by"])))
    return found


def _by_votes(found: QuerySet[Comparison], project: Project, asked: Mapping[str, Any]) -> QuerySet[Comparison]:
    labels = Label.objects.filter(recipe__project=project, recipe__is_default=True, comparison=OuterRef("pk"))
    if asked.get("judged") == "stuck":
        found = found.filter(pk__in=board.judged_without_label(project).values("pk"))
    elif judged := asked.get("judged"):
        has_label = Exists(labels.filter(votes__gt=0))
        found = found.filter(has_label if judged == "yes" else ~has_label)
    if asked.get("votes") == "disagree":
        found = found.filter(Exists(labels.filter(votes__gte=2, agreement__lt=1)))
    if asked.get("votes") == "waiting":
        found = found.filter(places_open__gt=0)
    if asked.get("flagged"):
        found = found.filter(Exists(Flag.objects.filter(comparison=OuterRef("pk"), resolved_at=None)))
    if language := asked.get("language"):
        found = _by_language(found, project, is_english=language == "english")
    return found


def _by_language(found: QuerySet[Comparison], project: Project, *, is_english: bool) -> QuerySet[Comparison]:
    """By what the newest features say; a prompt too short to tell is neither, and without features none is."""
    newest = project.feature_sets.filter(state=FeatureSet.State.READY, names__contains=[ENGLISH]).order_by("-version")
    features = newest.first()
    if features is None:
        return found.none()
    place = features.names.index(ENGLISH) + 1
    rows = features.rows.annotate(english=RawSQL("values[%s]", [place])).filter(english=float(is_english))
    return found.filter(Exists(rows.filter(comparison=OuterRef("pk"))))


def has_languages(project: Project) -> bool:
    return project.feature_sets.filter(state=FeatureSet.State.READY, names__contains=[ENGLISH]).exists()
