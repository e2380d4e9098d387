"""Prompts, the responses they have, and the generators that write them: the numbers of the page Responses."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from annotator import rendering
from annotator.models import Comparison, Job, Labeler, LabelerCall, LabelerVersion, Project, Prompt, Response
from annotator.readings.comparison import excerpt

# Newest calls shown of a generator.
CALLS_SHOWN = 50


@dataclass(frozen=True)
class Numbers:
    """Of a project: its prompts, those in no comparison, those of them that have two responses or more."""

    prompts: int
    waiting: int
    ready: int
    responses: int


@dataclass(frozen=True)
class Row:
    generator: Labeler
    version: LabelerVersion
    written: int
    cost: Decimal
    failed: int


@dataclass(frozen=True)
class Written:
    """One response with what made it, as the page of its prompt shows it."""

    response: Response
    html: str
    made: dict[str, Any]


def numbers(project: Project) -> Numbers:
    waiting = _waiting(project)
    several = waiting.annotate(n=Count("responses")).filter(n__gte=2)
    return Numbers(
        project.prompts.count(),
        waiting.count(),
        several.count(),
        Response.objects.filter(prompt__project=project).count(),
    )


def _waiting(project: Project) -> QuerySet[Prompt]:
    return project.prompts.filter(~Exists(Comparison.objects.filter(prompt=OuterRef("pk"))))


def generators(project: Project) -> list[Row]:
    """In the order in which they came, with what their calls gave and cost."""
    calls = LabelerCall.objects.filter(labeler_version__labeler__project=project, prompt__isnull=False).order_by()
    told = calls.values("labeler_version__labeler").annotate(
        written=Count("id", filter=Q(status="ok")),
        paid=Sum("cost"),
        failed=Count("id", filter=~Q(status__in=("ok", "in_flight"))),
    )
    by_labeler = {row["labeler_version__labeler"]: row for row in told}
    found = project.labelers.filter(kind=Labeler.GENERATOR).order_by("id").prefetch_related("versions")
    rows = []
    for labeler in found:
        row: dict[str, Any] = dict(by_labeler.get(labeler.pk, {}))
        version = max(labeler.versions.all(), key=lambda each: each.pk)
        paid = row.get("paid") or Decimal(0)
        rows.append(Row(labeler, version, row.get("written", 0), paid, row.get("failed", 0)))
    return rows


def prompts(project: Project, *, only_waiting: bool, after: int, most: int) -> list[dict[str, Any]]:
    """A page of prompts by keyset: one more than `most` when there are more."""
    found = (_waiting(project) if only_waiting else project.prompts.all()).filter(pk__gt=after).order_by("pk")
    page = found.defer("html", "context").annotate(answers=Count("responses", distinct=True))[: most + 1]
    compared = dict(
        Comparison.objects.filter(prompt__in=[prompt.pk for prompt in page])
        .order_by()
        .values("prompt")
        .annotate(n=Count("id"))
        .values_list("prompt", "n")
    )
    return [{"prompt": each, "excerpt": excerpt(each), "comparisons": compared.get(each.pk, 0)} for each in page]


def responses(prompt: Prompt) -> list[Written]:
    return [
        Written(response, rendering.rendered(response), response.metadata.get("generated", {}))
        for response in prompt.responses.order_by("id")
    ]


def calls(generator: Labeler) -> QuerySet[LabelerCall]:
    """The newest of its calls."""
    own = LabelerCall.objects.filter(labeler_version__labeler=generator, prompt__isnull=False)
    return own.select_related("prompt").defer("prompt__turns", "prompt__html").order_by("-id")[:CALLS_SHOWN]


def jobs(project: Project, generator: Labeler | None = None) -> QuerySet[Job]:
    """Its newest runs; of the project, those that are not over."""
    own = project.jobs.filter(kind=Job.Kind.GENERATE).order_by("-id")
    if generator:
        return own.filter(parameters__labeler=generator.pk)[:5]
    return own.filter(state__in=(Job.State.WAITING, Job.State.RUNNING, Job.State.PAUSED))
