from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison
from annotator.models.judgments import Judgment, Outcome, Purpose
from annotator.models.labelers import Rater
from annotator.models.people import User
from annotator.models.projects import Project, Protocol

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Standards(models.Model):
    """What a project asks of its annotators. A project without a row has the defaults: nothing is checked."""

    project = models.OneToOneField(Project, models.CASCADE, related_name="standards")
    tutorial_required = models.BooleanField(_("the tutorial comes first"), default=False)
    qualification_required = models.BooleanField(_("annotators must qualify"), default=False)
    pass_mark = models.FloatField(_("share of right answers to qualify"), default=0.8, validators=SHARE)
    attempts_allowed = models.PositiveSmallIntegerField(_("attempts to qualify"), default=3)
    recertify = models.BooleanField(_("qualify again when guidelines change"), default=False)
    gold_share = models.FloatField(_("share of comparisons with a known answer"), default=0.05, validators=SHARE)
    repeat_share = models.FloatField(_("share shown to the same person again"), default=0.0, validators=SHARE)
    repeat_after = models.PositiveSmallIntegerField(_("judgments between the two showings"), default=20)
    # Rolling accuracy: of the last `accuracy_window` gold answers, judged once there are `accuracy_least` of them.
    accuracy_window = models.PositiveSmallIntegerField(_("gold answers looked at"), default=20)
    accuracy_least = models.PositiveSmallIntegerField(_("gold answers before anything is concluded"), default=8)
    pause_below = models.FloatField(_("pause below this share of right answers"), default=0.6, validators=SHARE)
    gold_feedback = models.BooleanField(_("annotators may see their gold answers"), default=True)
    reading_rate = models.PositiveIntegerField(_("fastest believable reading, words a minute"), default=1000)
    daily_cap = models.PositiveIntegerField(_("judgments a person may give in a day"), null=True, blank=True)
    break_after_minutes = models.PositiveSmallIntegerField(_("minutes until a break is suggested"), default=50)

    class Meta:
        verbose_name_plural = "standards"

    def __str__(self) -> str:
        return f"standards of {self.project_id}"

    @classmethod
    def of(cls, project: Project) -> Standards:
        """The project's standards; unsaved defaults where it has none."""
        return cls.objects.filter(project=project).first() or cls(project=project)


class Standing(models.Model):
    """Where one person stands in a project: what they have read and passed, and whether they are paused."""

    rater = models.OneToOneField(Rater, models.CASCADE, related_name="standing")
    # Newest guidelines version they acknowledged, and the one in force when they qualified; 0 = none.
    acknowledged = models.PositiveIntegerField(default=0)
    certified = models.PositiveIntegerField(default=0)
    tutorial_done_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    pause_reason = models.TextField(blank=True)
    # Of the last `Standards.accuracy_window` gold answers since they were last let back in.
    gold_seen = models.PositiveIntegerField(default=0)
    gold_right = models.PositiveIntegerField(default=0)
    resumed_at = models.DateTimeField(null=True)
    # When the whole queue held nothing for them; null from the moment it does again.
    nothing_left_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"standing of {self.rater_id}"


class GoldQuerySet(models.QuerySet["Gold"]):
    def teaching(self) -> Self:
        """What people learn from: nobody who has seen the answer can judge it any more, so no plan sends it to them."""
        return self.filter(use__in=(Gold.Use.TUTORIAL, Gold.Use.QUALIFICATION), retired_at=None)

    def examples(self) -> Self:
        """What a labeler may be shown: teaching gold with one right answer.

        Never what is mixed in unseen: an example leaves the site, and a labeler that was shown the answers by which
        people are measured is measured by nothing.
        """
        return self.teaching().filter(better__len=1).exclude(better=[Gold.Better.NEITHER])


class Gold(models.Model):
    """A comparison whose answer is known, in the comparison's own order, and why."""

    class Use(models.TextChoices):
        TUTORIAL = "tutorial", _("Tutorial")
        QUALIFICATION = "qualification", _("Qualification")
        HIDDEN = "hidden", _("Mixed in unseen")

    class Better(models.TextChoices):
        A = "a", _("A is better")
        TIE = "tie", _("Tie")
        B = "b", _("B is better")
        NEITHER = "neither_valid", _("Neither is valid")

    project = models.ForeignKey(Project, models.CASCADE, related_name="golds")
    comparison = models.OneToOneField(Comparison, models.CASCADE, related_name="gold")
    use = models.CharField(max_length=13, choices=Use, default=Use.HIDDEN)
    # Every answer that is right (`Better`).
    better = ArrayField(models.CharField(max_length=13))
    # Ratings that are right: {attribute: {"a": [lowest, highest], "b": […]}}; {} where only `better` is checked.
    ratings = models.JSONField(default=dict)
    # Markdown, shown where the use teaches.
    explanation = models.TextField(blank=True)
    retired_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GoldQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "use"], name="gold_in_use", condition=models.Q(retired_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.use}: {self.comparison_id}"

    @property
    def words(self) -> str:
        """The right answers, in the comparison's own order."""
        return ", ".join(str(self.Better(better).label) for better in self.better)

    def accepts(self, outcome: str, level: int | None, attributes: dict[str, Any]) -> bool:
        """Whether an answer in the comparison's own order is right."""
        if outcome == self.Better.NEITHER:
            return self.Better.NEITHER in self.better
        if outcome != "level" or level is None:
            return False
        side = self.Better.A if level < 0 else self.Better.B if level > 0 else self.Better.TIE
        return side in self.better and all(
            side in attributes.get(key, {}) and lowest <= attributes[key][side] <= highest
            for key, sides in self.ratings.items()
            for side, (lowest, highest) in sides.items()
        )


def gold_answers(**of: Any) -> models.QuerySet[Judgment]:
    """Final answers to hidden gold, `of` a project, rater or gold (filters), newest first, with their gold.

    What was said first counts, unless it was undone: a correction made after the answer is known says nothing. A gold
    comparison that reached somebody through the queue counts too, when its answer was known by then. Retired gold
    counts no more, nor does an order of several responses that says nothing of A and B. Whether one is right says
    `is_right`.
    """
    meant = Judgment.objects.exclude(provenance__has_key="undone").exclude(provenance__has_key="second_answer_to")
    earlier = meant.filter(
        comparison=models.OuterRef("comparison"),
        rater=models.OuterRef("rater"),
        round=models.OuterRef("round"),
        revision__lt=models.OuterRef("revision"),
    )
    asked = (
        meant.final()
        .filter(
            ~models.Exists(earlier),
            assignment__isnull=False,
            purpose__in=(Purpose.JUDGE, Purpose.GOLD),
            comparison__gold__use=Gold.Use.HIDDEN,
            comparison__gold__retired_at=None,
            created_at__gte=models.F("comparison__gold__created_at"),
            **of,
        )
        .exclude(outcome=Outcome.RANKED)
    )
    return asked.select_related("comparison__gold").order_by("-created_at", "-id")


def is_right(judgment: Judgment) -> bool:
    """Whether an answer of `gold_answers` is right."""
    return judgment.comparison.gold.accepts(judgment.outcome, judgment.level, judgment.attributes)


class Attempt(models.Model):
    """One person's run through the tutorial or the qualification set."""

    rater = models.ForeignKey(Rater, models.CASCADE, related_name="attempts")
    use = models.CharField(max_length=13, choices=Gold.Use)
    number = models.PositiveSmallIntegerField()
    protocol = models.ForeignKey(Protocol, models.PROTECT, related_name="+")
    guidelines_version = models.PositiveIntegerField()
    # In the order asked: [{"gold": id, "a_first": bool, "given": answer as shown | null, "right": bool | null}].
    answers = models.JSONField(default=list)
    score = models.FloatField(null=True)
    passed = models.BooleanField(null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rater", "use", "number"], name="attempt_number_once")]

    def __str__(self) -> str:
        return f"{self.use} {self.number} of {self.rater_id}"


class Concern(models.Model):
    """Something about how a person judges that a lead should look at. It never changes anything by itself."""

    class Kind(models.TextChoices):
        GOLD = "gold", _("misses known answers")
        FAST = "fast", _("faster than the texts can be read")
        STRAIGHT_LINE = "straight_line", _("the same answer again and again")
        FIRST_SIDE = "first_side", _("prefers one side of the screen")
        INCONSISTENT = "inconsistent", _("answers repeats differently")
        PASTED = "pasted", _("justification was pasted")
        MACHINE_WRITTEN = "machine_written", _("justification may be machine-written")

    project = models.ForeignKey(Project, models.CASCADE, related_name="concerns")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="concerns")
    kind = models.CharField(max_length=15, choices=Kind)
    # Null where it is about many judgments; then one row a person and kind is open at a time.
    judgment = models.ForeignKey(Judgment, models.CASCADE, null=True, related_name="concerns")
    # What was seen, in numbers.
    evidence = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "kind"],
                condition=models.Q(judgment__isnull=True, resolved_at__isnull=True),
                name="concern_open_once",
            ),
            models.UniqueConstraint(
                fields=["judgment", "kind"], condition=models.Q(judgment__isnull=False), name="concern_judgment_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.rater_id}"
