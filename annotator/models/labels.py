from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison
from annotator.models.projects import Project


class Recipe(models.Model):
    """Which raters count and how they are combined. The default takes only the source the route chose."""

    class Source(models.TextChoices):
        ROUTED = "routed", _("the source each route chose")
        PEOPLE = "people", _("people only")
        POOLED = "pooled", _("people and AI together")

    project = models.ForeignKey(Project, models.CASCADE, related_name="recipes")
    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField(default=1)
    source = models.CharField(max_length=10, choices=Source, default=Source.ROUTED)
    method = models.CharField(max_length=20, default="majority")
    is_default = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "version"], name="recipe_version_once"),
            models.UniqueConstraint(fields=["project"], condition=models.Q(is_default=True), name="recipe_one_default"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Label(models.Model):
    """The aggregate of a comparison's judgments under a recipe. Recomputed, never edited."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="labels")
    recipe = models.ForeignKey(Recipe, models.CASCADE, related_name="labels")
    # Soft probability that B is better (ties count half); null when nobody gave an answer on the scale.
    p_b = models.FloatField(null=True)
    p_tie = models.FloatField(null=True)
    # Mean preference of people in [-1, 1]; never read as a probability.
    strength = models.FloatField(null=True)
    # Share of votes that agree with the majority.
    agreement = models.FloatField(null=True)
    votes = models.PositiveSmallIntegerField(default=0)
    source = models.CharField(max_length=100, blank=True)
    attributes = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["comparison", "recipe"], name="label_once_a_recipe")]
        indexes = [models.Index(fields=["recipe", "comparison"], name="label_keyset")]

    def __str__(self) -> str:
        return f"{self.comparison_id}: p_b={self.p_b}"
