"""Featurise: the features and the embedding of every comparison, in batches, resumable, versioned (`feature_sets`).

Where a project names a model of sentences, the work is done by workers that may hold one (queue gpu).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator import rendering
from annotator.models import Comparison, Features, FeatureSet, Job, Project, PromptTags, User
from annotator.pipeline import domains, feature_sets, label, work
from annotator.pipeline.feature_sets import BATCH, prompt_text
from routing import features
from routing.sentences import SentenceEmbedding, UnfitSentenceModel

if TYPE_CHECKING:
    from annotator.pipeline.feature_sets import Embedding


@shared_task(name=work.TASKS[Job.Kind.FEATURISE])
def run_featurises() -> int:
    return work.work(Job.Kind.FEATURISE, featurise_job)


@shared_task(name=work.GPU_TASKS[Job.Kind.FEATURISE])
def run_model_featurises() -> int:
    return work.work(Job.Kind.FEATURISE, featurise_job, work.GPU)


def queue(project: Project) -> str:
    """Where the project's features are computed. With MODELS=no any worker takes the job, to say why it cannot."""
    return work.GPU if settings.MODELS and feature_sets.recipe(project).embedding else ""


def request(project: Project, by: User | None = None) -> Job:
    """The job that computes what is missing; to be called in the transaction that made it missing."""
    where = queue(project)
    job = Job.objects.request(project, Job.Kind.FEATURISE, by=by, queue=where)
    transaction.on_commit(lambda: work.nudge(work.task(Job.Kind.FEATURISE, where)))
    return job


def is_outdated(project: Project) -> bool:
    """Whether the newest features were made by other code, another tagger or another embedding than now."""
    newest = project.feature_sets.order_by("-version").first()
    return newest is not None and not feature_sets.recipe(project).is_of(newest)


def featurise_job(job: Job) -> str:
    """Run one FEATURISE job; gives its closing message. One that needs a model and has none goes where there is one."""
    if job.queue != queue(job.project):
        request(job.project, job.requested_by)
        return _("Waits for a worker that may hold a model.")
    made = featurise(job.project, job=job)
    return ngettext("%(n)s comparison featurised", "%(n)s comparisons featurised", made) % {"n": made}


def featurise(project: Project, *, job: Job | None = None) -> int:
    """Give every comparison its features and its rendered texts; then ask the free labelers. Returns the rows made.

    Repeatable: what has features of the current set is passed over. Raises StepRefused without comparisons, and where
    a model is asked for that cannot be read.
    """
    total = project.comparisons.count()
    if not total:
        raise work.StepRefused(_("There is nothing to featurise yet: import comparisons first."))
    _find_domains(project, job)
    try:
        feature_set, embedding = feature_sets.current(project)
        made = _make(feature_set, embedding, total, job)
    except (UnfitSentenceModel, OSError) as error:
        words = _("The embedding cannot be read: %(reason)s")
        raise work.StepRefused(words % {"reason": " ".join(str(error).split())[:300]}) from error
    for _rendered in rendering.render_missing(project.pk, BATCH):
        if job:
            job.beat(total, total, _("rendering"))
    if made or "spread" not in feature_set.made_with:
        feature_sets.keep_spread(feature_set)
    FeatureSet.objects.filter(pk=feature_set.pk).update(state=FeatureSet.State.READY)
    label.request_free(project)
    return made


def _find_domains(project: Project, job: Job | None) -> None:
    def beat(done: int, total: int) -> None:
        if job:
            job.beat(done, total, _("finding what prompts are about"))

    domains.find(project, beat)


def _make(feature_set: FeatureSet, embedding: Embedding, total: int, job: Job | None) -> int:
    """All rows that are missing; what they took is kept with the set, for estimates."""
    made, done = 0, Features.objects.filter(feature_set=feature_set).count()
    last, started, tagged = 0, time.monotonic(), _newest_tags(feature_set)
    try:
        while batch := _missing(feature_set, after=last):
            made += _featurise_batch(feature_set, embedding, batch)
            last = batch[-1].pk
            done += len(batch)
            if job:
                job.beat(done, total)
    finally:
        if isinstance(embedding, SentenceEmbedding):
            embedding.free()
    _put_late_tags(feature_set, tagged)
    if made:
        feature_set.made_with |= {"rows": made, "seconds": round(time.monotonic() - started, 2)}
        feature_set.save(update_fields=["made_with"])
    return made


def _newest_tags(feature_set: FeatureSet) -> int:
    return _tags(feature_set).order_by("-id").values_list("id", flat=True).first() or 0


def _tags(feature_set: FeatureSet) -> QuerySet[PromptTags]:
    return PromptTags.objects.filter(tagger=feature_set.made_with["tagger"], prompt__project=feature_set.project_id)


def _put_late_tags(feature_set: FeatureSet, after: int) -> None:
    """Tags that came while rows were made: whoever wrote them may not have seen the rows, nor these the tags."""
    late = _tags(feature_set).select_related("prompt").order_by("id")
    while rows := list(late.filter(id__gt=after)[:BATCH]):
        feature_sets.put_tags(feature_set, [row.prompt for row in rows])
        after = rows[-1].pk


def _missing(feature_set: FeatureSet, after: int) -> list[Comparison]:
    """The next batch without features; `after` keeps each query's cost that of its batch."""
    have = Features.objects.filter(feature_set=feature_set, comparison=OuterRef("pk"))
    return list(
        feature_set.project.comparisons.filter(~Exists(have), pk__gt=after)
        .select_related("prompt", "response_a", "response_b")
        .order_by("id")[:BATCH]
    )


def _featurise_batch(feature_set: FeatureSet, embedding: Embedding, batch: list[Comparison]) -> int:
    vectors, near = embedding.triples(
        [prompt_text(comparison) for comparison in batch],
        [comparison.response_a.text for comparison in batch],
        [comparison.response_b.text for comparison in batch],
    )
    values = np.hstack(
        [
            features.extract(batch),
            features.measure(near, embedding.SOURCE),
            feature_sets.tag_columns(feature_set.made_with["tagger"], [comparison.prompt for comparison in batch]),
        ]
    )
    rows = [
        Features(
            feature_set=feature_set,
            comparison=comparison,
            values=row.tolist(),
            embedding=vector.astype(np.float32).tobytes(),
        )
        for comparison, row, vector in zip(batch, values, vectors, strict=True)
    ]
    return len(Features.objects.bulk_create(rows, ignore_conflicts=True))
