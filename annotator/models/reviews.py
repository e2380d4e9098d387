from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison
from annotator.models.judgments import Judgment
from annotator.models.labelers import Rater
from annotator.models.people import User
from annotator.models.projects import Project
from annotator.models.standards import Gold

# An opened review that nobody went on with goes to whoever opens it next.
IDLE = timedelta(hours=2)


class ReviewQuerySet(models.QuerySet["Review"]):
    def at_work(self) -> Self:
        """Open ones that somebody is at now."""
        return self.filter(state=Review.State.OPEN, touched_at__gt=now() - IDLE)


class Review(models.Model):
    """A reviewer's work on one disputed comparison: first judged blind, then settled or sent back."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        SETTLED = "settled", _("Settled")
        SENT_BACK = "sent_back", _("Sent back")

    project = models.ForeignKey(Project, models.CASCADE, related_name="reviews")
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(Rater, models.CASCADE, related_name="reviews")
    state = models.CharField(max_length=9, choices=State, default=State.OPEN)
    # Order on screen, drawn once, as of an assignment.
    a_first = models.BooleanField()
    shown_order = ArrayField(models.PositiveSmallIntegerField(), null=True)
    # The reviewer's answer before the votes were revealed (shape of a draft, on-screen order); {} while still blind.
    blind = models.JSONField(default=dict)
    revealed_at = models.DateTimeField(null=True)
    touched_at = models.DateTimeField(default=now)
    # The judgment that settled it (purpose "review").
    judgment = models.ForeignKey(Judgment, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["comparison"], condition=models.Q(state="open"), name="review_open_once_a_comparison"
            )
        ]
        indexes = [models.Index(fields=["project", "state", "id"], name="review_queue")]

    def __str__(self) -> str:
        return f"{self.comparison_id}: {self.state}"


class Return(models.Model):
    """A judgment sent back to its author with a comment, until they have looked at it again."""

    judgment = models.ForeignKey(Judgment, models.CASCADE, related_name="returns")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="returns")
    review = models.ForeignKey(Review, models.SET_NULL, null=True, related_name="returns")
    comment = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    # Answered by a revision or by standing to the answer.
    answered_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["rater", "id"], name="return_waiting", condition=models.Q(answered_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"return of {self.judgment_id}"


class Comment(models.Model):
    """One remark in the thread of a comparison. Annotators see the thread of what they have judged only."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="comments")
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="comments")
    author = models.ForeignKey(User, models.PROTECT, related_name="comments")
    text = models.TextField(_("comment"), max_length=5000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["comparison", "id"], name="comment_thread")]

    def __str__(self) -> str:
        return f"{self.author_id} on {self.comparison_id}"


class Contest(models.Model):
    """An annotator disagrees with a gold answer or with how a review settled their comparison."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        UPHELD = "upheld", _("Upheld")
        REJECTED = "rejected", _("Rejected")

    project = models.ForeignKey(Project, models.CASCADE, related_name="contests")
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="contests")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="contests")
    # Exactly one of the two.
    gold = models.ForeignKey(Gold, models.CASCADE, null=True, related_name="contests")
    review = models.ForeignKey(Review, models.CASCADE, null=True, related_name="contests")
    reason = models.TextField(_("why"), max_length=5000)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    reply = models.TextField(_("reply"), blank=True, max_length=5000)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(gold__isnull=False, review__isnull=True)
                | models.Q(gold__isnull=True, review__isnull=False),
                name="contest_of_gold_or_review",
            ),
            models.UniqueConstraint(
                fields=["rater", "gold"], condition=models.Q(gold__isnull=False), name="contest_gold_once"
            ),
            models.UniqueConstraint(
                fields=["rater", "review"], condition=models.Q(review__isnull=False), name="contest_review_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rater_id} contests {self.comparison_id}"
