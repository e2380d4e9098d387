from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison, FeatureSet
from annotator.models.labelers import Labeler
from annotator.models.people import User
from annotator.models.projects import Project


class PerformanceModel(models.Model):
    """Predicts a reward model's performance from a mixture. One fitted version; the artefact lies in storage."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="performance_models")
    version = models.PositiveIntegerField()
    # The kind that cross-validation chose (a key of routing.performance.KINDS) and every kind's score.
    kind = models.CharField(max_length=40)
    metrics = models.JSONField(default=dict)
    feature_set = models.ForeignKey(FeatureSet, models.PROTECT, related_name="performance_models")
    artifact = models.CharField(max_length=300)
    artifact_sha256 = models.CharField(max_length=64)
    # How many judgments of people there were to learn from; a schedule counts from here.
    judgments = models.PositiveIntegerField(default=0)
    seed = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="performance_model_version_once")]

    def __str__(self) -> str:
        return f"performance model {self.version}"


class Plan(models.Model):
    """A budgeted choice of who judges what. Approving it reserves its money and hands out its routes."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        APPROVED = "approved", _("Approved")
        SUPERSEDED = "superseded", _("Superseded")

    project = models.ForeignKey(Project, models.CASCADE, related_name="plans")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=Status, default=Status.DRAFT)
    strategy = models.CharField(max_length=40)
    budget = models.DecimalField(max_digits=14, decimal_places=6)
    # What the routes cost in full, at most `budget`; what recorded judgments already cover is not paid again.
    # As exact as the prices of the routes: approving never reserves more than `cost`.
    cost = models.DecimalField(max_digits=16, decimal_places=8, default=0)
    cost_to_pay = models.DecimalField(max_digits=16, decimal_places=8, default=0)
    performance_model = models.ForeignKey(PerformanceModel, models.PROTECT, null=True, related_name="plans")
    predicted = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    # Shares by source, baselines, the budget curve, why groups of comparisons go to people (see pipeline/route.py).
    summary = models.JSONField(default=dict)
    seed = models.PositiveBigIntegerField(default=0)
    # The random slice that people judge first; its plan routes nothing else.
    is_seed_set = models.BooleanField(default=False)
    # The plan that was at work when this one was made for what was not yet judged; what made it by itself, in words.
    revises = models.ForeignKey("self", models.SET_NULL, null=True, related_name="revisions")
    occasion = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="plan_number_once"),
            models.UniqueConstraint(
                fields=["project"], condition=models.Q(status="approved"), name="plan_one_approved_a_project"
            ),
            models.CheckConstraint(condition=models.Q(cost__lte=models.F("budget")), name="plan_cost_within_budget"),
        ]

    def __str__(self) -> str:
        return f"plan {self.number}"


def vote_price(price: Decimal, votes: int) -> Decimal:
    """What one of the votes that `price` pays for costs, in whole units of the ledger and never rounded up."""
    return (price / max(1, votes)).quantize(Decimal("1e-8"), ROUND_DOWN)


class Route(models.Model):
    """A plan's decision for one comparison."""

    PEOPLE = "people"

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="routes")
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="routes")
    # "people", or the labeler's name with `labeler` set.
    source = models.CharField(max_length=100)
    labeler = models.ForeignKey(Labeler, models.PROTECT, null=True, related_name="routes")
    votes = models.PositiveSmallIntegerField(default=1)
    price = models.DecimalField(max_digits=14, decimal_places=8)
    # The chance with which this source was drawn, for off-policy estimates (1 = certain).
    propensity = models.FloatField(default=1)
    is_control = models.BooleanField(default=False)
    # Decided by an earlier plan and judged before this one was made: what this plan reaches is not measured on it.
    is_kept = models.BooleanField(default=False)
    gain = models.FloatField(null=True)
    # Every source that could have judged it: {name: {"right": chance that it says what people's majority says, or null,
    # "error": standard error of that, or null, "price": money as a text}}. Empty in plans of earlier releases.
    values = models.JSONField(default=dict)
    reason = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "comparison"], name="route_once_a_plan")]
        indexes = [models.Index(fields=["plan", "source"], name="route_by_source")]

    def __str__(self) -> str:
        return f"{self.comparison_id} → {self.source}"
