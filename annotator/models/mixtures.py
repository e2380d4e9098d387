from __future__ import annotations

from django.db import models

from annotator.models.comparisons import FeatureSet
from annotator.models.projects import Project


class MixtureSet(models.Model):
    """Candidate mixtures drawn at once over the comparisons that people had judged by then.

    Kept so that a mixture can be exported, trained on elsewhere, and its score brought back years later.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="mixture_sets")
    number = models.PositiveIntegerField()
    # Names of the sources in the order of their index, people first.
    sources = models.JSONField(default=list)
    # Ids of the comparisons, int64, ascending; and which sampler drew ("space-filling" or "hyper") with what seed.
    comparisons = models.BinaryField()
    sampler = models.CharField(max_length=20)
    seed = models.PositiveBigIntegerField(default=0)
    feature_set = models.ForeignKey(FeatureSet, models.PROTECT, related_name="mixture_sets")
    # Bins as in `PerformanceModel.metrics["bins"]`: what `described` was described with.
    bins = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="mixture_set_number_once")]

    def __str__(self) -> str:
        return f"mixtures {self.number}"


class Mixture(models.Model):
    """Whose judgment is used for each comparison of its set: `assignment` int8, a source's index, -1 = left out."""

    mixture_set = models.ForeignKey(MixtureSet, models.CASCADE, related_name="mixtures")
    number = models.PositiveIntegerField()
    assignment = models.BinaryField()
    # What a performance model reads of it (`routing.mixtures.describe`), float64.
    described = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mixture_set", "number"], name="mixture_number_once")]

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        """What people and files call it. With a letter: a spreadsheet takes 3.10 for a number and 3-10 for a day."""
        return f"M{self.mixture_set.number}-{self.number}"


class MixtureScore(models.Model):
    """How good a reward model trained on a mixture was found to be, by one fidelity and seed.

    `fidelity`: "proxy" (Bradley-Terry on frozen features), "trained" (a reward model trained on a worker), or
    "external:NAME" (brought in from a file). `score` in the unit of that fidelity, an accuracy unless external.
    """

    PROXY, TRAINED, EXTERNAL = "proxy", "trained", "external:"

    mixture = models.ForeignKey(Mixture, models.CASCADE, related_name="scores")
    fidelity = models.CharField(max_length=60)
    seed = models.PositiveBigIntegerField(default=0)
    score = models.FloatField()
    # Model and revision, hyperparameters, versions of the libraries, seconds; or the file's name and row.
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mixture", "fidelity", "seed"], name="mixture_score_once")]

    def __str__(self) -> str:
        return f"{self.mixture}: {self.score:.3f} ({self.fidelity})"
