from __future__ import annotations

from collections.abc import Sequence

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.projects import Project


class Prompt(models.Model):
    """A conversation so far: `turns` is [{"role": "system"|"user"|"assistant", "content": str}, …]."""

    # Indexed as the start of a longer index, like those below: every index is written to for every row that comes in.
    project = models.ForeignKey(Project, models.CASCADE, related_name="prompts", db_index=False)
    external_id = models.CharField(max_length=200)
    turns = models.JSONField()
    # Documents the answer should rest on: [{"title": str, "text": str}, …]
    context = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)
    # sha256 of turns + context: equal texts must never cross a split.
    text_hash = models.CharField(max_length=64)
    html = models.TextField(default="")
    html_version = models.PositiveSmallIntegerField(default=0)
    # What it is about (`labelers.domains`), by its words; empty until featurise has looked.
    domain = models.CharField(max_length=20, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "external_id"], name="prompt_external_id_once")]

    def __str__(self) -> str:
        return self.external_id


class Response(models.Model):
    """One candidate continuation, with the model that wrote it; shared by the comparisons it appears in."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="responses", db_index=False)
    external_id = models.CharField(max_length=200)
    text = models.TextField()
    model = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict)
    text_hash = models.CharField(max_length=64)
    # Sanitised rendering; rendering costs a whole judgment's budget, so it is stored (ARCHITECTURE, data model).
    html = models.TextField(default="")
    html_version = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prompt", "external_id"], name="response_external_id_once")]

    def __str__(self) -> str:
        return self.external_id


class Harm(models.TextChoices):
    """What a comparison may confront its annotator with."""

    VIOLENCE = "violence", _("violence")
    SELF_HARM = "self_harm", _("self-harm and suicide")
    SEXUAL = "sexual", _("sexual content")
    HATE = "hate", _("hate and abuse")
    MEDICAL = "medical", _("illness and medical detail")
    DRUGS = "drugs", _("drugs")
    CRIME = "crime", _("crime")


class Comparison(models.Model):
    """A prompt with response A and response B: the paper's *instance*. Satisfies `labelers.base.Pair` as it is."""

    # Whoever makes a comparison takes prompt and project from its responses. The database holds these and what they are
    # of; checking each row for prompt and project as well was an eighth of what an import costs it.
    project = models.ForeignKey(
        Project, models.CASCADE, related_name="comparisons", db_index=False, db_constraint=False
    )
    external_id = models.CharField(max_length=200)
    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="comparisons", db_constraint=False)
    response_a = models.ForeignKey(Response, models.CASCADE, related_name="+")
    response_b = models.ForeignKey(Response, models.CASCADE, related_name="+")
    metadata = models.JSONField(default=dict)
    # By what the better one is to be told, where that differs from comparison to comparison.
    criterion = models.TextField(blank=True)
    # Kinds of harm its texts touch (`Harm`): annotators are warned, and may opt out of a kind.
    harms = ArrayField(models.CharField(max_length=20), default=list)
    # How many responses beyond A and B are ranked with them (`Candidate`); nothing is looked up where there are none.
    candidates_count = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    # How many people's judgments are wanted (set by plans and by the control share) and how many of these
    # places nobody holds. `places_open` is recomputed from judgments and live leases in the transaction that
    # changes either; the partial index below is the annotators' queue.
    votes_wanted = models.PositiveSmallIntegerField(default=0)
    places_open = models.PositiveSmallIntegerField(default=0)
    # When places were last added or given back: where somebody looks who has been through the whole queue.
    reopened_at = models.DateTimeField(null=True)
    queue_order = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="comparison_external_id_once"),
            models.CheckConstraint(
                condition=~models.Q(response_a=models.F("response_b")), name="comparison_needs_two_responses"
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "queue_order", "id"],
                name="comparison_queue",
                condition=models.Q(places_open__gt=0),
            ),
            models.Index(
                fields=["project", "reopened_at"],
                name="comparison_reopened",
                condition=models.Q(places_open__gt=0, reopened_at__isnull=False),
            ),
            models.Index(fields=["project", "id"], name="comparison_keyset"),
        ]

    def __str__(self) -> str:
        return self.external_id


class Candidate(models.Model):
    """A response that is ranked together with A and B: `place` 2 is C, 3 is D, up to 7."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="candidates")
    response = models.ForeignKey(Response, models.CASCADE, related_name="+")
    place = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "place"], name="candidate_place_once"),
            models.CheckConstraint(condition=models.Q(place__gte=2, place__lte=7), name="candidate_place_in_range"),
        ]

    def __str__(self) -> str:
        return f"{self.comparison_id}[{self.place}]"


# Digits of `FeatureSet.digest` that name the extractors.
CODE_DIGITS = 16


class FeatureSet(models.Model):
    """One version of the features: names, and the fitted text embedding they were computed with."""

    class State(models.TextChoices):
        BUILDING = "building", _("Building")
        READY = "ready", _("Ready")

    project = models.ForeignKey(Project, models.CASCADE, related_name="feature_sets")
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.BUILDING)
    names = ArrayField(models.CharField(max_length=80))
    # What made a row can be told years later: the first digits say which extractors, the others which embedding.
    digest = models.CharField(max_length=64)
    # How many comparisons the project had when the embedding was fitted on them.
    fitted_on = models.PositiveIntegerField(default=0)
    # {"code", "embedding": {"name", "revision"} or {}, "identity" of its weights, "tagger": a version's digest or the
    # keywords' version, "tagger_name", "rows", "seconds": what the last run made and took, "spread": {column:
    # values at even steps of rank}}.
    made_with = models.JSONField(default=dict)
    artifact = models.CharField(max_length=300, blank=True)
    artifact_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="feature_set_version_once")]

    def __str__(self) -> str:
        return f"features v{self.version}"

    def same_features(self, names: Sequence[str], digest: str) -> bool:
        """Whether the values, not the embedding, were made by the extractors of `names` and `digest`."""
        return self.names == list(names) and self.digest[:CODE_DIGITS] == digest[:CODE_DIGITS]


class Features(models.Model):
    """The features of one comparison: `values` in the order of `FeatureSet.names` (NaN = not defined)."""

    feature_set = models.ForeignKey(FeatureSet, models.CASCADE, related_name="rows")
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="features")
    values = ArrayField(models.FloatField())
    # [prompt | response A | response B], each of the embedding's width, float32.
    embedding = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feature_set", "comparison"], name="features_once")]
        verbose_name_plural = "features"

    def __str__(self) -> str:
        return f"{self.feature_set} of {self.comparison_id}"
