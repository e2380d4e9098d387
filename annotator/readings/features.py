"""What a project's features are: how many comparisons have them, what they were made with, what each means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, QuerySet

from annotator.models import Features, FeatureSet, Job, Project

# Comparisons a second by TF-IDF before a project has a run of its own to go by (bench/features.py, one core).
USUAL_RATE = 140.0
SETS_SHOWN = 10


@dataclass(frozen=True)
class Meaning:
    """One column: its name, what it is, and where it comes from ("text", "tfidf", "sentences")."""

    name: str
    words: str
    source: str
    signed: bool


@dataclass(frozen=True)
class Dimension:
    """One tag of a prompt: its question, and its options with what they mean. `columns` are how many it has."""

    label: str
    question: str
    options: list[tuple[str, str]]
    columns: int


@dataclass(frozen=True)
class Numbers:
    """`rows` of the newest feature set, which may be in the making; `ready` is the newest that is complete."""

    comparisons: int
    newest: FeatureSet | None
    ready: FeatureSet | None
    rows: int


def numbers(project: Project) -> Numbers:
    newest = project.feature_sets.order_by("-version").first()
    ready = project.feature_sets.filter(state=FeatureSet.State.READY).order_by("-version").first()
    rows = Features.objects.filter(feature_set=newest).count() if newest else 0
    return Numbers(project.comparisons.count(), newest, ready, rows)


def seconds(project: Project, rows: int, embedding: dict[str, str]) -> float | None:
    """About how long `rows` comparisons take: as long as they did before; None for a model that never ran here."""
    made = project.feature_sets.filter(made_with__embedding=embedding, made_with__has_key="seconds")
    last = made.order_by("-version").values_list("made_with", flat=True).first()
    if last and last.get("rows", 0) >= 50:
        return float(rows * last["seconds"] / last["rows"])
    return None if embedding else rows / USUAL_RATE


def sets(project: Project) -> list[FeatureSet]:
    """The newest versions, with how many rows each has."""
    return list(project.feature_sets.annotate(count=Count("rows")).order_by("-version")[:SETS_SHOWN])


def jobs(project: Project) -> QuerySet[Job]:
    """The last computations of features and tags."""
    return project.jobs.filter(kind__in=(Job.Kind.FEATURISE, Job.Kind.TAG)).order_by("-id")[:3]


def meanings(names: Sequence[str]) -> list[Meaning]:
    """Of the columns that are no tags, in their order."""
    from routing.features import FEATURES

    found = [FEATURES[name] for name in names if name in FEATURES]
    return [Meaning(each.name, each.meaning, each.source, each.signed) for each in found]


def dimensions() -> list[Dimension]:
    """The eight tags."""
    from routing import tags

    return [
        Dimension(
            each.label,
            each.question,
            [(option.words, option.meaning) for option in each.options],
            len(each.columns),
        )
        for each in tags.DIMENSIONS
    ]
