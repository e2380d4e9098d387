from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Avg, Case, Count, Value, When
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison
from annotator.models.labelers import Rater
from annotator.models.projects import Project, Protocol
from annotator.models.routes import Plan


class Outcome(models.TextChoices):
    LEVEL = "level", _("an answer on the scale")
    # Best and worst of several are known, and neither says which of A and B is better.
    RANKED = "ranked", _("an order of several responses")
    NEITHER_VALID = "neither_valid", _("neither response is valid")
    CANNOT_JUDGE = "cannot_judge", _("cannot judge")
    ABSTAIN = "abstain", _("abstains")


class Purpose(models.TextChoices):
    """Why a comparison is on somebody's screen. Only JUDGE takes one of its places."""

    JUDGE = "judge", _("to be judged")
    GOLD = "gold", _("its answer is known")
    REPEAT = "repeat", _("judged by the same person before")
    REVIEW = "review", _("to be settled by a reviewer")


class Assignment(models.Model):
    """A lease of one comparison to one annotator, with its draft and the order on screen, drawn once."""

    class State(models.TextChoices):
        LEASED = "leased", _("Leased")
        JUDGED = "judged", _("Judged")
        SKIPPED = "skipped", _("Skipped")
        EXPIRED = "expired", _("Lease ran out")

    project = models.ForeignKey(Project, models.CASCADE, related_name="assignments")
    # Both are the head of an index below.
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="assignments", db_index=False)
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="assignments", db_index=False)
    round = models.PositiveSmallIntegerField(default=1)
    purpose = models.CharField(max_length=6, choices=Purpose, default=Purpose.JUDGE)
    state = models.CharField(max_length=10, choices=State, default=State.LEASED)
    leased_until = models.DateTimeField()
    # Null while only prefetched: such a lease may be taken over, one being read may not.
    opened_at = models.DateTimeField(null=True)
    # True when response A is shown first (left).
    a_first = models.BooleanField()
    # Where there are more than two responses: their places in the comparison's own order (0 = A), first on screen
    # first. Null for a pair, where `a_first` says all.
    shown_order = ArrayField(models.PositiveSmallIntegerField(), null=True)
    draft = models.JSONField(default=dict)
    draft_saved_at = models.DateTimeField(null=True)
    active_ms = models.PositiveIntegerField(default=0)
    # Why it was skipped, or what was flagged about the comparison.
    skip_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "rater", "round"], name="assignment_once_a_round"),
        ]
        indexes = [
            # The last one says where in the queue this person is.
            models.Index(fields=["rater", "id"], name="assignment_of_rater"),
            models.Index(fields=["rater", "id"], name="assignment_leased", condition=models.Q(state="leased")),
            models.Index(fields=["project", "id"], name="assignment_live", condition=models.Q(state="leased")),
            models.Index(fields=["leased_until"], name="assignment_expiry", condition=models.Q(state="leased")),
        ]

    def __str__(self) -> str:
        return f"{self.comparison_id} for {self.rater_id} ({self.state})"


class Flag(models.Model):
    """Something an annotator reported about a comparison; the lead resolves it."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="flags")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="flags")
    reason = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["comparison", "rater"], name="flag_once_a_rater")]

    def __str__(self) -> str:
        return f"{self.comparison_id}: {self.reason[:40]}"


# An undo that began in time is stored a little later; what it takes back must not be counted or paid meanwhile.
UNDO_MARGIN = timedelta(seconds=1)


# Marks in `provenance` of revisions that are no answer of their own: corrected later, taken back, sent a second time.
NOT_FIRST = ["revises", "undone", "second_answer_to"]


class JudgmentQuerySet(models.QuerySet["Judgment"]):
    def effective(self) -> Self:
        """Current revisions whose undo window is over: what labels and exports may see."""
        return self.filter(is_current=True, effective_at__lte=now())

    def given_in_seat(self) -> Self:
        """Answers of annotators, each once: what came with a file or was written by a command is no work done here.

        The first revision that was meant stands for its answer: what was thought over later is no further work.
        """
        here = self.filter(assignment__isnull=False).exclude(purpose=Purpose.REVIEW)
        return here.exclude(provenance__has_any_keys=NOT_FIRST)

    def levels_of_people(self, last_judgment: int | None = None) -> Self:
        """Answers of people on the scale, one a person: what routing and the proxy learn from, up to a judgment.

        As in labels, the newest settlement of a reviewer stands alone.
        """
        until = models.Q() if last_judgment is None else models.Q(pk__lte=last_judgment)
        levels = self.filter(until, rater__kind=Rater.Kind.PERSON, outcome=Outcome.LEVEL)
        levels = levels.exclude(purpose=Purpose.REPEAT)
        settling = Judgment.objects.effective().filter(
            until,
            comparison=models.OuterRef("comparison"),
            purpose=Purpose.REVIEW,
            outcome__in=(Outcome.LEVEL, Outcome.NEITHER_VALID),
        )
        newer = settling.filter(pk__gt=models.OuterRef("pk"))
        is_review = models.Q(purpose=Purpose.REVIEW)
        return levels.filter(is_review & ~models.Exists(newer) | ~is_review & ~models.Exists(settling))

    def votes_by_comparison(self) -> models.QuerySet[Judgment, tuple[int, float, int]]:
        """(comparison id, mean vote for B in [0, 1], votes) of levels; a tie is half a vote for B."""
        vote = Case(
            When(level__gt=0, then=Value(1.0)),
            When(level=0, then=Value(0.5)),
            default=Value(0.0),
            output_field=models.FloatField(),
        )
        by_comparison = self.order_by().values("comparison_id").annotate(mean=Avg(vote), votes=Count("id"))
        return by_comparison.values_list("comparison_id", "mean", "votes")

    def final(self) -> Self:
        """All revisions that nobody can take back any more: what is settled and aggregated."""
        return self.filter(self.is_final())

    def not_final(self) -> Self:
        """All revisions that may still be taken back."""
        return self.exclude(self.is_final())

    @staticmethod
    def is_final(prefix: str = "") -> models.Q:
        """The condition of `final`, for queries that reach judgments by `prefix`."""
        current = now()
        over = models.Q(**{f"{prefix}effective_at__lte": current})
        # Only what was judged in the seat can be undone.
        in_seat = models.Q(**{f"{prefix}assignment__isnull": False})
        return over & (~in_seat | models.Q(**{f"{prefix}effective_at__lte": current - UNDO_MARGIN}))


class Judgment(models.Model):
    """What one rater said of one comparison. Everything is in the comparison's own order: negative means A."""

    # All three are indexed as the start of a longer index.
    project = models.ForeignKey(Project, models.CASCADE, related_name="judgments", db_index=False)
    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="judgments", db_index=False)
    rater = models.ForeignKey(Rater, models.PROTECT, related_name="judgments", db_index=False)
    round = models.PositiveSmallIntegerField(default=1)
    purpose = models.CharField(max_length=6, choices=Purpose, default=Purpose.JUDGE)
    revision = models.PositiveSmallIntegerField(default=1)
    is_current = models.BooleanField(default=True)
    # The people protocol it answered; null for labelers, which answer the overall question.
    protocol = models.ForeignKey(Protocol, models.PROTECT, null=True, related_name="judgments")
    # The guidelines in force when it was given; null where unknown (imported, labelers).
    guidelines_version = models.PositiveIntegerField(null=True)
    plan = models.ForeignKey(Plan, models.SET_NULL, null=True, related_name="judgments")
    assignment = models.ForeignKey(Assignment, models.SET_NULL, null=True, related_name="judgments")

    outcome = models.CharField(max_length=14, choices=Outcome, default=Outcome.LEVEL)
    level = models.SmallIntegerField(null=True)
    # level / highest level, in [-1, 1]; null unless a level was given.
    preference = models.FloatField(null=True)
    # A labeler's probability that B is better, and of a tie.
    p_b = models.FloatField(null=True)
    p_tie = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    aspects = models.JSONField(default=dict)
    attributes = models.JSONField(default=dict)
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    # Errors marked: [{"side", "start", "end", "type", "severity", "comment", "text"}], code points of the stored text.
    spans = models.JSONField(default=list)
    justification = models.TextField(blank=True)
    # Words about each response, by side: {"a": str, "b": str}.
    feedback = models.JSONField(default=dict)
    # The better response as its judge would have it: {"side", "text"}; {} when it was not edited.
    edit = models.JSONField(default=dict)
    # Of all responses in the comparison's own order (A first): {"ranks": [1, 3, 2]} (1 is best, ties share a rank)
    # or {"best": 0, "worst": 2}; {} where the protocol asks for no ranking.
    ranking = models.JSONField(default=dict)
    flags = ArrayField(models.CharField(max_length=60), default=list)

    # A client id makes a retried submission the same submission.
    client_id = models.UUIDField(null=True)
    # True when response A was shown first; null where unknown (imported) or both orders were asked.
    a_first = models.BooleanField(null=True)
    active_ms = models.PositiveIntegerField(null=True)
    is_surplus = models.BooleanField(default=False)
    cost = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    provenance = models.JSONField(default=dict)
    # Its id in the lossless store that it came with, which its exports keep; unique in the project.
    restored_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(default=now)
    effective_at = models.DateTimeField(default=now)
    # False until `aggregate` has seen it; the tick finds work by the partial index on it.
    aggregated = models.BooleanField(default=False)

    objects = JudgmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "rater", "round", "revision"], name="judgment_revision_once"),
            models.UniqueConstraint(
                fields=["comparison", "rater", "round"],
                condition=models.Q(is_current=True),
                name="judgment_one_current",
            ),
            models.UniqueConstraint(
                fields=["rater", "client_id"],
                condition=models.Q(client_id__isnull=False),
                name="judgment_client_id_once",
            ),
            models.UniqueConstraint(
                fields=["project", "restored_id"],
                condition=models.Q(restored_id__isnull=False),
                name="judgment_restored_once",
            ),
            models.CheckConstraint(
                condition=models.Q(preference__isnull=True) | models.Q(preference__gte=-1, preference__lte=1),
                name="judgment_preference_in_range",
            ),
            models.CheckConstraint(
                condition=models.Q(p_b__isnull=True) | models.Q(p_b__gte=0, p_b__lte=1), name="judgment_p_b_in_range"
            ),
            models.CheckConstraint(
                condition=models.Q(preference__isnull=True) | models.Q(outcome="level", level__isnull=False),
                name="judgment_preference_needs_level",
            ),
        ]
        indexes = [
            models.Index(
                fields=["effective_at", "id"], name="judgment_unaggregated", condition=models.Q(aggregated=False)
            ),
            models.Index(fields=["project", "id"], name="judgment_keyset"),
            models.Index(fields=["rater", "-created_at"], name="judgment_own_history"),
            # Few among many, asked for beside all others.
            models.Index(fields=["comparison"], name="judgment_settling", condition=models.Q(purpose="review")),
        ]

    def __str__(self) -> str:
        return f"{self.rater_id} on {self.comparison_id}: {self.outcome} {self.level}"
