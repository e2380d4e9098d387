from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotator.models.labelers import Labeler
from annotator.models.projects import Project
from annotator.models.routes import PerformanceModel, Plan


class Loop(models.Model):
    """How a project's routing learns again from what came back. One a project; defaults do nothing by themselves."""

    class Replan(models.TextChoices):
        OFF = "off", _("Never")
        DRAFT = "draft", _("Make a draft for a lead")
        APPROVE = "approve", _("Approve it within the budget")

    project = models.OneToOneField(Project, models.CASCADE, related_name="loop")
    # The random slice that people judge first: a share of the comparisons, and at least so many of them.
    seed_share = models.FloatField(default=0.1)
    seed_at_least = models.PositiveIntegerField(default=300)
    # Learn again after so many new judgments of people, or so many hours with any; null = not by itself.
    refit_after_judgments = models.PositiveIntegerField(null=True)
    refit_every_hours = models.PositiveIntegerField(null=True)
    replan = models.CharField(max_length=8, choices=Replan, default=Replan.OFF)
    # Money that one point (0.01) of predicted performance is worth to the lead; null = never suggest to stop.
    point_price = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    # {source name: share of the comparisons it may judge at most}, and how many votes of people a plan may choose from.
    caps = models.JSONField(default=dict)
    votes = models.JSONField(default=list)
    # The version that plans use; null = the newest. Restoring an earlier one sets it.
    performance_model = models.ForeignKey(PerformanceModel, models.SET_NULL, null=True, related_name="+")
    # Who tags prompts (an operation over an endpoint); null = keywords, without a model.
    tagger = models.ForeignKey(Labeler, models.SET_NULL, null=True, related_name="+")
    # {"name", "revision"} of a sentence-transformers model; {} = TF-IDF, without a model.
    embedding = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seed_share__gte=0, seed_share__lte=1), name="loop_seed_is_a_share")
        ]

    def __str__(self) -> str:
        return f"loop of {self.project_id}"


class Realised(models.Model):
    """What a plan had achieved at one moment, measured as its prediction was: on prompts the proxy has not seen."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="realised")
    # Judgments of people and labels there were, and the money spent.
    judgments = models.PositiveIntegerField()
    labels = models.PositiveIntegerField()
    spent = models.DecimalField(max_digits=16, decimal_places=8)
    accuracy = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    # Where the plan's routes are judged: how often labelers were right by control and inverse propensity, and more.
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "realised"

    def __str__(self) -> str:
        return f"{self.plan} at {self.judgments} judgments"


class PromptTags(models.Model):
    """What a prompt is like, by one tagger: the eight dimensions of `routing.tags`, each null where it failed."""

    prompt = models.ForeignKey("annotator.Prompt", models.CASCADE, related_name="tags")
    # Digest of the tagger: its model, prompts and code.
    tagger = models.CharField(max_length=64)
    tags = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prompt", "tagger"], name="prompt_tags_once")]
        verbose_name_plural = "prompt tags"

    def __str__(self) -> str:
        return f"tags of prompt {self.prompt_id}"
