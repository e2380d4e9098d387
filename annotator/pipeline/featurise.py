"""Featurise: the model-free features and the text embedding of every comparison, in batches, resumable, versioned."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from celery import shared_task
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from annotator import rendering
from annotator.models import Comparison, Features, FeatureSet, Job, Project, Prompt
from annotator.models.comparisons import CODE_DIGITS
from annotator.pipeline import label, work
from labelers.domains import Keywords
from routing import embeddings, features

BATCH = 500
# The embedding is fitted on at most this many comparisons' texts, spread evenly over the project.
FIT_ON = 20_000


@shared_task(name=work.TASKS[Job.Kind.FEATURISE])
def run_featurises() -> int:
    return work.work(Job.Kind.FEATURISE, lambda job: f"{featurise(job.project, job=job)} comparisons featurised")


def featurise(project: Project, *, job: Job | None = None) -> int:
    """Give every comparison its features and its rendered texts; then ask the free labelers. Returns the rows made.

    Repeatable: what has features of the current set is passed over. Raises StepRefused without comparisons.
    """
    total = project.comparisons.count()
    if not total:
        raise work.StepRefused("There is nothing to featurise yet: import comparisons first.")
    find_domains(project)
    feature_set = current_set(project, total)
    embedding = load_embedding(feature_set)
    made, done = 0, Features.objects.filter(feature_set=feature_set).count()
    last = 0
    while batch := _missing(feature_set, after=last):
        made += _featurise_batch(feature_set, embedding, batch)
        last = batch[-1].pk
        done += len(batch)
        if job:
            job.beat(done, total)
    for _rendered in rendering.render_missing(project.pk, BATCH):
        if job:
            job.beat(total, total, "rendering")
    FeatureSet.objects.filter(pk=feature_set.pk).update(state=FeatureSet.State.READY)
    label.request_free(project)
    return made


def find_domains(project: Project) -> None:
    """Say what each prompt is about that nobody has looked at, so that runs can be about a domain."""
    domain_of = Keywords()
    unseen = Prompt.objects.filter(project=project, domain="").only("turns").order_by("pk")
    while prompts := list(unseen[: 4 * BATCH]):
        for prompt in prompts:
            prompt.domain = domain_of(prompt.turns)
        Prompt.objects.bulk_update(prompts, ["domain"], batch_size=BATCH)


def current_set(project: Project, total: int) -> FeatureSet:
    """The newest feature set, or a new version when the extractors changed or the project doubled since the fit."""
    newest = project.feature_sets.order_by("-version").first()
    if newest and newest.same_features(features.NAMES, _code_digest()) and total <= 2 * newest.fitted_on:
        return newest
    return _new_set(project, (newest.version if newest else 0) + 1)


def _code_digest() -> str:
    return hashlib.sha256(features.VERSION.encode()).hexdigest()[:CODE_DIGITS]


def _new_set(project: Project, version: int) -> FeatureSet:
    """Fit the embedding and store it before the row that names it: a crash leaves at most an unused file."""
    texts, fitted_on = _texts(project)
    embedding = embeddings.TextEmbedding().fit(texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedding"
        embedding.save(path)
        content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    address = default_storage.save(f"projects/{project.pk}/embedding-{sha256[:12]}", ContentFile(content))
    with transaction.atomic():
        return FeatureSet.objects.create(
            project=project,
            version=version,
            names=list(features.NAMES),
            digest=_code_digest() + sha256[: 64 - CODE_DIGITS],
            fitted_on=fitted_on,
            artifact=address,
            artifact_sha256=sha256,
        )


def _texts(project: Project) -> tuple[list[str], int]:
    """What the embedding is fitted on, and how many comparisons there are of which that is an even sample."""
    last = project.comparisons.aggregate(last=Max("id"))["last"]
    there = project.comparisons.filter(id__lte=last)
    count = there.count()
    step = -(-count // FIT_ON)
    rows = there.order_by("id").select_related("prompt", "response_a", "response_b")
    texts: list[str] = []
    for number, comparison in enumerate(rows.iterator(chunk_size=BATCH)):
        if number % step == 0:
            texts += [prompt_text(comparison), comparison.response_a.text, comparison.response_b.text]
    return texts, count


def prompt_text(comparison: Comparison) -> str:
    """All turns of the prompt as one text; context documents are left out, they would drown the question."""
    return "\n\n".join(turn["content"] for turn in comparison.prompt.turns)


def load_embedding(feature_set: FeatureSet) -> embeddings.TextEmbedding:
    """The embedding of a feature set. Raises routing.artifact.ArtifactMismatch when the file is not what was stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedding"
        with default_storage.open(feature_set.artifact) as stored:
            path.write_bytes(stored.read())
        return embeddings.TextEmbedding.load(path, sha256=feature_set.artifact_sha256)


def _missing(feature_set: FeatureSet, after: int) -> list[Comparison]:
    """The next batch without features; `after` keeps each query's cost that of its batch."""
    have = Features.objects.filter(feature_set=feature_set, comparison=OuterRef("pk"))
    return list(
        feature_set.project.comparisons.filter(~Exists(have), pk__gt=after)
        .select_related("prompt", "response_a", "response_b")
        .order_by("id")[:BATCH]
    )


def _featurise_batch(feature_set: FeatureSet, embedding: embeddings.TextEmbedding, batch: list[Comparison]) -> int:
    values = features.extract(batch)
    vectors = np.hstack(
        [
            embedding.transform([prompt_text(comparison) for comparison in batch]),
            embedding.transform([comparison.response_a.text for comparison in batch]),
            embedding.transform([comparison.response_b.text for comparison in batch]),
        ]
    ).astype(np.float32)
    rows = [
        Features(feature_set=feature_set, comparison=comparison, values=row.tolist(), embedding=vector.tobytes())
        for comparison, row, vector in zip(batch, values, vectors, strict=True)
    ]
    return len(Features.objects.bulk_create(rows, ignore_conflicts=True))
