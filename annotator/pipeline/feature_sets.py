"""Feature sets: what a project's features are made with now, and the set of rows that was made so.

The columns are the features of the texts, what the embedding measures, and the tags of the prompt. A set is made anew
when any of their code, the embedding's weights or the tagger changes, and when the project has doubled since TF-IDF was
fitted on it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, Max
from django.utils.translation import gettext as _

from annotator.models import Comparison, Features, FeatureSet, Loop, Project, Prompt, PromptTags
from annotator.models.comparisons import CODE_DIGITS
from annotator.pipeline import taggers
from annotator.pipeline.work import StepRefused
from routing import features, sentences, tag_keywords, tags

if TYPE_CHECKING:
    # Imported where it is used: pages that only ask how features are made must not load scikit-learn.
    from routing import embeddings

    Embedding = embeddings.TextEmbedding | sentences.SentenceEmbedding

BATCH = 500
# Comparisons that a set's spread is found on, and the steps of rank it is kept at: two and a half percents each.
AMONG, STEPS = 5000, 41
# TF-IDF is fitted on at most this many comparisons' texts, spread evenly over the project.
FIT_ON = 20_000


@dataclass(frozen=True)
class Recipe:
    """What a project's features are made with: `embedding` {"name", "revision"} or {} for TF-IDF, and who tags.

    `tagger` is the digest of a tagger's version, or `taggers.KEYWORDS`; `tagger_name` its name, "" for the keywords.
    """

    embedding: dict[str, str]
    tagger: str
    tagger_name: str

    @property
    def source(self) -> str:
        return features.SENTENCES if self.embedding else features.TFIDF

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the features, in order."""
        return (*features.NAMES, *features.measured(self.source), *tags.NAMES)

    def digest(self, identity: str) -> str:
        """The first digits of a set's digest: the code, who tags, and the weights of a model (`identity`, "" = none).

        TF-IDF keeps the meaning of its columns when it is fitted anew, so its fit is told by the other digits.
        """
        told = "\n".join((features.version(self.names), self.tagger, identity))
        return hashlib.sha256(told.encode()).hexdigest()[:CODE_DIGITS]

    def is_of(self, feature_set: FeatureSet) -> bool:
        """Whether the set was made so, as far as that can be told without reading a model's weights."""
        made = feature_set.made_with
        return (
            feature_set.names == list(self.names)
            and made.get("embedding") == self.embedding
            and made.get("tagger") == self.tagger
            and feature_set.digest[:CODE_DIGITS] == self.digest(made.get("identity", ""))
        )


def recipe(project: Project) -> Recipe:
    """What the project's loop asks for now; TF-IDF and keywords where it asks for nothing."""
    loop = Loop.objects.filter(project=project).select_related("tagger").first() or Loop(project=project)
    tagger = taggers.current_version(loop.tagger).digest if loop.tagger else taggers.KEYWORDS
    return Recipe(dict(loop.embedding), tagger, loop.tagger.name if loop.tagger else "")


def current(project: Project) -> tuple[FeatureSet, Embedding]:
    """The newest set when it was made as is asked for now, or a new version; and its embedding.

    Raises StepRefused where a model is asked for that cannot be used here.
    """
    asked, newest = recipe(project), project.feature_sets.order_by("-version").first()
    number = (newest.version if newest else 0) + 1
    if asked.embedding:
        return _by_model(project, asked, newest, number)
    there = newest is not None and newest.artifact and asked.is_of(newest)
    if newest and there and project.comparisons.count() <= 2 * newest.fitted_on:
        return newest, load_embedding(newest)
    return _fitted(project, asked, number)


def _by_model(
    project: Project, asked: Recipe, newest: FeatureSet | None, number: int
) -> tuple[FeatureSet, sentences.SentenceEmbedding]:
    model = sentence_model(asked.embedding)
    identity = model.identity
    digest = asked.digest(identity) + hashlib.sha256(identity.encode()).hexdigest()[: 64 - CODE_DIGITS]
    if newest and newest.names == list(asked.names) and newest.digest == digest:
        return newest, model
    return _create(project, asked, number, digest, identity, fitted_on=project.comparisons.count()), model


def sentence_model(embedding: dict[str, str]) -> sentences.SentenceEmbedding:
    """The model a lead named, checked as any model is. Raises StepRefused in words for the lead. Loads nothing yet."""
    from annotator.pipeline import models

    if not settings.MODELS:
        raise StepRefused(_("This site was started without models (MODELS=no), so the embedding cannot be computed."))
    checked = models.checked(embedding)
    try:
        return sentences.SentenceEmbedding(checked["name"], checked.get("revision", ""))
    except sentences.UnfitSentenceModel as unfit:
        raise StepRefused(_("The embedding cannot be read: %(reason)s") % {"reason": unfit}) from unfit


def _fitted(project: Project, asked: Recipe, number: int) -> tuple[FeatureSet, embeddings.TextEmbedding]:
    """Fit TF-IDF and store it before the row that names it: a crash leaves at most an unused file."""
    from routing import embeddings

    texts, fitted_on = _texts(project)
    embedding = embeddings.TextEmbedding().fit(texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedding"
        embedding.save(path)
        content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    address = default_storage.save(f"projects/{project.pk}/embedding-{sha256[:12]}", ContentFile(content))
    digest = asked.digest("") + sha256[: 64 - CODE_DIGITS]
    stored = {"artifact": address, "artifact_sha256": sha256, "fitted_on": fitted_on}
    return _create(project, asked, number, digest, "", **stored), embedding


def _create(project: Project, asked: Recipe, number: int, digest: str, identity: str, **stored: Any) -> FeatureSet:
    made_with = {
        "code": features.version(asked.names),
        "embedding": asked.embedding,
        "identity": identity,
        "tagger": asked.tagger,
        "tagger_name": asked.tagger_name,
    }
    with transaction.atomic():
        return FeatureSet.objects.create(
            project=project, version=number, names=list(asked.names), digest=digest, made_with=made_with, **stored
        )


def _texts(project: Project) -> tuple[list[str], int]:
    """What TF-IDF is fitted on, and how many comparisons there are of which that is an even sample."""
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
    """The TF-IDF of a feature set. Raises routing.artifact.ArtifactMismatch when the file is not what was stored."""
    from routing import embeddings

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedding"
        with default_storage.open(feature_set.artifact) as stored:
            path.write_bytes(stored.read())
        return embeddings.TextEmbedding.load(path, sha256=feature_set.artifact_sha256)


# What is usual


def keep_spread(feature_set: FeatureSet) -> None:
    """Store, by column, values at even steps of rank: where one value stands is told without reading the others.

    Found on up to AMONG comparisons, spread evenly over the project; NaN left out, tags left out, who only hold or not.
    """
    rows = Features.objects.filter(feature_set=feature_set)
    found = rows.annotate(turn=F("comparison_id") % (rows.count() // AMONG + 1)).filter(turn=0)
    values = np.array(list(found.values_list("values", flat=True)), dtype=np.float64)
    spread: dict[str, list[float]] = {}
    for name, column in zip(feature_set.names, values.T, strict=False):
        known = column[~np.isnan(column)]
        if len(known) > 1 and name not in tags.NAMES:
            ranks = (np.arange(STEPS) + 0.5) / STEPS
            spread[name] = np.quantile(known, ranks, method="inverted_cdf").tolist()
    feature_set.made_with["spread"] = spread
    feature_set.save(update_fields=["made_with"])


# Tags


def tag_columns(tagger: str, prompts: Sequence[Prompt]) -> np.ndarray:
    """(n, 63) the columns of `routing.tags`; NaN where a tagger has not said anything (yet)."""
    if tagger == taggers.KEYWORDS:
        return tags.columns([tag_keywords.tag(prompt.turns, prompt.context) for prompt in prompts])
    rows = PromptTags.objects.filter(tagger=tagger, prompt__in={prompt.pk for prompt in prompts})
    known = dict(rows.values_list("prompt_id", "tags"))
    return tags.columns([known.get(prompt.pk) for prompt in prompts])


def put_tags(feature_set: FeatureSet, prompts: Sequence[Prompt]) -> int:
    """Write the tags of `prompts` into rows of the set that were made before the prompts had any; gives how many."""
    columns = tag_columns(feature_set.made_with["tagger"], prompts)
    of_prompt = {prompt.pk: row.tolist() for prompt, row in zip(prompts, columns, strict=True)}
    rows = list(
        Features.objects.filter(feature_set=feature_set, comparison__prompt__in=of_prompt)
        .select_related("comparison")
        .defer("embedding")
    )
    for row in rows:
        # Tags are the last columns (`Recipe.names`).
        row.values[-len(tags.NAMES) :] = of_prompt[row.comparison.prompt_id]
    Features.objects.bulk_update(rows, ["values"], batch_size=BATCH)
    return len(rows)
