"""Which comparisons a run of a labeler is about, which of them it has not judged yet, and what these can cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Avg, Count, Exists, OuterRef, QuerySet

from annotator.models import Comparison, Job, Judgment, Labeler, LabelerCall, LabelerVersion, Plan, Project, Rater
from annotator.pipeline import models, probes, versions
from annotator.readings import filters
from labelers import base

TRIAL = 20
# An estimate reads at most this many comparisons and scales.
SAMPLE = 300
# Bytes of usual text in a token, where no call of the labeler has told better.
BYTES_A_TOKEN = 4
UNIT = Decimal("0.000001")


@dataclass(frozen=True)
class Estimate:
    """What judging `number` comparisons costs: `most` if every byte were a token and every answer as long as it may
    be, retries aside; `likely` by the mean of what `measured` comparisons did cost, or by four bytes a token.
    """

    number: int
    calls: int = 0
    most: Decimal = Decimal(0)
    likely: Decimal = Decimal(0)
    measured: int = 0


def of_job(job: Job, labeler: Labeler, version: LabelerVersion) -> QuerySet[Comparison]:
    """The comparisons the job is about, in the order of their ids."""
    parameters = job.parameters
    plan_id, scope = parameters.get("plan"), parameters.get("scope", "")
    if plan_id:
        found = Comparison.objects.filter(project=job.project, routes__plan=plan_id, routes__labeler=labeler)
    elif parameters.get("comparisons"):
        found = job.project.comparisons.filter(pk__in=parameters["comparisons"])
    elif scope == probes.SCOPE or parameters.get("batch_file"):
        found = job.project.comparisons.none()  # about pairs made for it, or about calls of a file
    elif scope == "people":
        found = judged_by_people(job.project)
    else:
        found = of_filter(job.project, parameters.get("filter") or {})
    if parameters.get("failed"):
        found = failed(found, version)
    return found.order_by("pk")


def asked(labeler: Labeler, on: str, filter: Mapping[str, Any]) -> tuple[list[int], QuerySet[Comparison]]:
    """What somebody chose to run it on; the ids too when they are a few that another choice would not find again."""
    project = labeler.project
    if on == "trial":
        ids = trial_comparisons(labeler)
        return ids, project.comparisons.filter(pk__in=ids)
    if on == "people":
        return [], judged_by_people(project)
    return [], of_filter(project, filter)


def of_filter(project: Project, asked: Mapping[str, Any]) -> QuerySet[Comparison]:
    """Those that fit the fields of `forms.comparisons.ComparisonFilter`, and the `domain` of their prompt's words."""
    number = asked.get("plan")
    plans = project.plans.filter(number=number) if number else project.plans.filter(status=Plan.Status.APPROVED)
    found = filters.chosen(project, plans.order_by("-number").first(), asked)
    if domain := asked.get("domain"):
        found = found.filter(prompt__domain=domain)
    return found


def failed(comparisons: QuerySet[Comparison], version: LabelerVersion) -> QuerySet[Comparison]:
    """Those that `version` was asked about in vain, the latest time; pairs made for checks are another matter."""
    calls = LabelerCall.objects.filter(labeler_version=version, comparison=OuterRef("pk"))
    calls = calls.exclude(step__startswith=probes.PREFIX)
    bad = calls.filter(status__in=(LabelerCall.Status.FAILED, LabelerCall.Status.LOST))
    return unjudged(version, comparisons).filter(Exists(bad))


def judged_by_people(project: Project) -> QuerySet[Comparison]:
    """Where people's and AI judgments can be compared: the seed set above all."""
    people = Judgment.objects.effective().filter(comparison=OuterRef("pk"), rater__kind=Rater.Kind.PERSON)
    return Comparison.objects.filter(Exists(people), project=project)


def trial_comparisons(labeler: Labeler, number: int = TRIAL) -> list[int]:
    """A few comparisons it has not judged, such as people have judged first."""
    version = versions.current_version(labeler)
    chosen: list[int] = []
    for group in (judged_by_people(labeler.project), Comparison.objects.filter(project=labeler.project)):
        left = unjudged(version, group).exclude(pk__in=chosen).order_by("pk")
        chosen += left.values_list("pk", flat=True)[: number - len(chosen)]
    return chosen


def unjudged(version: LabelerVersion, comparisons: QuerySet[Comparison]) -> QuerySet[Comparison]:
    """Those that the version has not judged, and that are not out with a file of its (`batches`)."""
    own = Judgment.objects.filter(comparison=OuterRef("pk"), rater__labeler_version=version)
    out = LabelerCall.objects.filter(
        comparison=OuterRef("pk"), labeler_version=version, status="in_flight", batch_file__isnull=False
    )
    return comparisons.filter(~Exists(own), ~Exists(out))


def batches(version: LabelerVersion, comparisons: QuerySet[Comparison], size: int) -> Iterator[list[Comparison]]:
    """Those of `comparisons` that are not judged yet, with their texts, `size` at a time, each once."""
    last = 0
    left = _with_texts(unjudged(version, comparisons)).order_by("pk")
    while batch := list(left.filter(pk__gt=last)[:size]):
        yield batch
        last = batch[-1].pk


def _with_texts(comparisons: QuerySet[Comparison]) -> QuerySet[Comparison]:
    whole = comparisons.select_related("prompt", "response_a", "response_b")
    return whole.defer("prompt__html", "response_a__html", "response_b__html")


def estimate(
    labeler: Labeler,
    comparisons: QuerySet[Comparison],
    version: LabelerVersion | None = None,
    *,
    look_up: bool = True,
) -> Estimate:
    """How many of `comparisons` it (or the candidate `version`) would judge and what that costs.

    Exact up to 300 comparisons, scaled up from 300 beyond. Raises StepRefused as `versions.build` does; but without
    `look_up`, for inside a transaction, a judge's endpoint and key are not looked at: its run will.
    """
    version = versions.asked_for(labeler, version.pk if version else None)
    left = unjudged(version, comparisons)
    number = left.count()
    if models.is_model(labeler.kind):  # its weights are no business of the process that asks
        models.refuse_without_models()
        return Estimate(number)
    connected = look_up or labeler.kind != versions.JUDGE
    judge = versions.build(version) if connected else versions.unconnected(version)
    if not number or not isinstance(judge, base.Asking):
        return Estimate(number)
    sample = list(_with_texts(left.order_by("pk"))[:SAMPLE])
    steps = sum(len(judge.steps(each)) for each in sample)
    most = versions.highest_price(judge, sample)
    measured, likely = _paid_so_far(version)
    if not measured:
        fixed = labeler.price_per_call * steps
        likely = (fixed + (most - fixed) / BYTES_A_TOKEN) / len(sample)
    scale = Decimal(number) / len(sample)
    return Estimate(
        number,
        calls=round(steps * scale),
        most=(most * scale).quantize(UNIT),
        likely=min(likely * number, most * scale).quantize(UNIT),
        measured=measured,
    )


def _paid_so_far(version: LabelerVersion) -> tuple[int, Decimal]:
    """How many comparisons this version has judged and what one did cost on average."""
    own = Judgment.objects.filter(rater__labeler_version=version).aggregate(n=Count("id"), mean=Avg("cost"))
    return own["n"], own["mean"] or Decimal(0)
