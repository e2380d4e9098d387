from __future__ import annotations

import secrets
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotator.models.comparisons import Comparison, Prompt
from annotator.models.credentials import Credential
from annotator.models.people import User
from annotator.models.projects import Project

# What pages call a kind; one without words of its own is called by its key, as in exports.
KIND_WORDS = {
    "llm_judge": _("Judge"),
    "density_ratio": _("Density ratio"),
    "implicit_reward": _("Implicit reward"),
    "contrastive_prompts": _("Contrastive prompts"),
    "follow_up": _("Follow-up"),
    "reward_model": _("Reward model"),
    "ensemble": _("Ensemble"),
    "null_relevance": _("Relevance by words"),
}


class LabelerQuerySet(models.QuerySet["Labeler"]):
    def judging(self) -> Self:
        """Those that judge. A generator writes responses and a tagger reads prompts: operations, which share prices,
        versions, keys and calls with them."""
        return self.exclude(kind__in=Labeler.OPERATIONS)


class Labeler(models.Model):
    """An AI labeler of a project as the lead configured it; every change of it makes a new version."""

    GENERATOR, TAGGER = "generator", "tagger"
    # Kinds that judge nothing: what they say is about prompts.
    OPERATIONS = (GENERATOR, TAGGER)

    project = models.ForeignKey(Project, models.CASCADE, related_name="labelers")
    name = models.CharField(_("name"), max_length=100)
    # A key of `labelers.KINDS`, or "recorded" for verdicts that came with the data.
    kind = models.CharField(_("kind"), max_length=40)
    # Of one whose verdicts came with a lossless store: the kind that gave them there, where its own is "recorded".
    restored_kind = models.CharField(max_length=40, blank=True)
    # Unit prices in the project's currency. A labeler whose prices are all zero is free and runs on everything.
    price_per_call = models.DecimalField(_("price of a call"), max_digits=12, decimal_places=6, default=0)
    price_per_million_input = models.DecimalField(
        _("price of a million input tokens"), max_digits=12, decimal_places=6, default=0
    )
    price_per_million_output = models.DecimalField(
        _("price of a million output tokens"), max_digits=12, decimal_places=6, default=0
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    # The key its endpoint is called with; null where the operator set one in the environment, or none is needed.
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, blank=True, related_name="labelers")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabelerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="labeler_name_once"),
            # A route's source is a labeler's name or Route.PEOPLE.
            # Plans call people with so many votes "people:1".
            models.CheckConstraint(
                condition=~models.Q(name__iexact="people") & ~models.Q(name__istartswith="people:"),
                name="labeler_not_people",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kind_words(self) -> str:
        return str(KIND_WORDS.get(self.kind, self.kind))

    @property
    def is_free(self) -> bool:
        return not (self.price_per_call or self.price_per_million_input or self.price_per_million_output)

    @property
    def version(self) -> LabelerVersion:
        """The one that judges: of those accepted, the newest."""
        return self.versions.accepted().latest("accepted_at", "id")


class LabelerVersionQuerySet(models.QuerySet["LabelerVersion"]):
    def accepted(self) -> Self:
        """Those that were taken into use. Only their judgments count in labels, in routing and in accuracies."""
        return self.filter(accepted_at__isnull=False)

    def candidates(self) -> Self:
        """Those that wait for the lead's word."""
        return self.filter(accepted_at=None, discarded_at=None)


class LabelerVersion(models.Model):
    """One exact version: model, revision, prompt file hash, parameters, seed. Immutable."""

    labeler = models.ForeignKey(Labeler, models.CASCADE, related_name="versions")
    parameters = models.JSONField(default=dict)
    # sha256 over kind, parameters, prompt file and code version.
    digest = models.CharField(max_length=64)
    # When it was taken into use; null for one that first has to show that it is no worse than the one in use.
    accepted_at = models.DateTimeField(null=True, default=now)
    # A candidate's key; one that is accepted gives it to the labeler, whose key all have that were taken into use.
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, related_name="candidates")
    # When the lead, or a newer candidate, put a candidate aside. What it has judged stays and is never asked again.
    discarded_at = models.DateTimeField(null=True)
    # While its judgments wait to be counted anew because it was taken into use: the last that `aggregate` has marked.
    recount_after = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabelerVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["labeler", "digest"], name="labeler_version_once"),
            models.UniqueConstraint(
                fields=["labeler"],
                condition=models.Q(accepted_at=None, discarded_at=None),
                name="labeler_one_candidate",
            ),
            models.CheckConstraint(
                condition=models.Q(accepted_at=None) | models.Q(discarded_at=None),
                name="labeler_version_accepted_or_discarded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.labeler} {self.digest[:8]}"


def new_pseudonym() -> str:
    """Says nothing of whom it is drawn for: neither their id nor when they came. 48 random bits."""
    return f"person-{secrets.token_hex(6)}"


class RaterQuerySet(models.QuerySet["Rater"]):
    def people(self) -> Self:
        return self.filter(kind=Rater.Kind.PERSON)


class Rater(models.Model):
    """Whoever judges in a project: a person, or one exact version of an AI labeler."""

    class Kind(models.TextChoices):
        PERSON = "person", _("Person")
        LABELER = "labeler", _("AI labeler")

    project = models.ForeignKey(Project, models.CASCADE, related_name="raters")
    kind = models.CharField(max_length=10, choices=Kind)
    user = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="raters")
    labeler_version = models.OneToOneField(LabelerVersion, models.PROTECT, null=True, blank=True, related_name="rater")
    # Who an imported person was: the name in the source, "" for its anonymous people (one rater a source).
    source = models.CharField(max_length=100, blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    # What exports call a person, for good: drawn at random, or as the lossless store had it that they came with.
    pseudonym = models.CharField(max_length=30, blank=True)
    # Whether a person who came with a data set was an expert there, as who reviewed or led a project is.
    was_expert = models.BooleanField(default=False)
    # Kinds of harm (`Harm`) this person does not want to see.
    opted_out = ArrayField(models.CharField(max_length=20), default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RaterQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "user"], name="rater_user_once", condition=models.Q(user__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["project", "source", "external_id"],
                name="rater_imported_once",
                condition=models.Q(user__isnull=True, labeler_version__isnull=True),
            ),
            models.CheckConstraint(
                condition=models.Q(kind="labeler", labeler_version__isnull=False, user__isnull=True)
                | models.Q(kind="person", labeler_version__isnull=True),
                name="rater_is_person_or_labeler",
            ),
            models.UniqueConstraint(
                fields=["project", "pseudonym"], name="rater_pseudonym_once", condition=models.Q(kind="person")
            ),
            models.CheckConstraint(condition=~models.Q(kind="person", pseudonym=""), name="rater_person_has_pseudonym"),
        ]

    def __str__(self) -> str:
        if self.labeler_version:
            return str(self.labeler_version)
        return str(self.user) if self.user else f"{self.source}:{self.external_id or 'anonymous'}"

    def save(self, **options: Any) -> None:
        if self.kind == Rater.Kind.PERSON and not self.pseudonym:
            self.pseudonym = new_pseudonym()
            if options.get("update_fields") is not None:
                options["update_fields"] = {*options["update_fields"], "pseudonym"}
        super().save(**options)


class BatchFile(models.Model):
    """Calls of a judge that go out as one file of a batch interface instead of one by one, and come back as another."""

    class State(models.TextChoices):
        PREPARING = "preparing", _("Being written")
        OUT = "out", _("Out")
        CLOSED = "closed", _("Closed")

    labeler_version = models.ForeignKey(LabelerVersion, models.CASCADE, related_name="batch_files")
    # The money of its calls; null for a labeler that costs nothing.
    reservation = models.ForeignKey("Reservation", models.PROTECT, null=True, related_name="batch_files")
    # What a call costs by this way, as a share of its usual price.
    factor = models.DecimalField(max_digits=4, decimal_places=3)
    # The labeler's prices when the lead confirmed it: {"per_call", "per_million_input", "per_million_output"}.
    prices = models.JSONField(default=dict)
    # On what ("people", "everything"), how many comparisons at most, and what it may cost at most.
    scope = models.CharField(max_length=20)
    asked_for = models.PositiveIntegerField()
    most = models.DecimalField(max_digits=14, decimal_places=6)
    state = models.CharField(max_length=10, choices=State, default=State.PREPARING)
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"file {self.pk} of {self.labeler_version}"


class LabelerCall(models.Model):
    """One call of a labeler that cost or could have cost something: the call ledger, failures included."""

    class Status(models.TextChoices):
        IN_FLIGHT = "in_flight", _("In flight")
        OK = "ok", _("OK")
        UNPARSED = "unparsed", _("Not understood")
        FAILED = "failed", _("Failed")
        LOST = "lost", _("Lost in a crash, counted as paid")

    labeler_version = models.ForeignKey(LabelerVersion, models.CASCADE, related_name="calls")
    # What it was about: a comparison that is judged, or a prompt that is to be answered.
    comparison = models.ForeignKey(Comparison, models.CASCADE, null=True, related_name="calls")
    prompt = models.ForeignKey(Prompt, models.CASCADE, null=True, related_name="calls")
    # Which of the labeler's steps it was: "ab" showed response A first, "ba" B; others stand in the labeler's class.
    # Room for those of checks, which name the check too (`pipeline.probes`).
    step = models.CharField(max_length=100, default="ab")
    status = models.CharField(max_length=10, choices=Status, default=Status.IN_FLIGHT)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    # Whose money it is; null for a labeler that costs nothing.
    reservation = models.ForeignKey("Reservation", models.PROTECT, null=True, related_name="calls")
    # The file it went out with; null for a call that was made here. In flight it waits for what the lead brings back.
    batch_file = models.ForeignKey(BatchFile, models.SET_NULL, null=True, related_name="calls")
    # While in flight (and when lost) the highest it can cost, which its reservation holds; then what it did cost.
    cost = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    latency_ms = models.PositiveIntegerField(default=0)
    # What came back, as far as it is needed to never buy it again: {"text", "p_b", "logprobs", …}
    answer = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(comparison__isnull=False, prompt__isnull=True)
                | models.Q(comparison__isnull=True, prompt__isnull=False),
                name="labeler_call_has_one_subject",
            )
        ]
        indexes = [
            models.Index(
                fields=["labeler_version", "prompt", "step"],
                name="labeler_call_prompt",
                condition=models.Q(prompt__isnull=False),
            ),
            models.Index(fields=["labeler_version", "comparison", "step"], name="labeler_call_lookup"),
            # What a version did cost and how its calls ended, without reading their answers; its newest failures.
            models.Index(
                fields=["labeler_version", "status"],
                include=["cost", "input_tokens", "output_tokens"],
                name="labeler_call_totals",
            ),
            models.Index(
                fields=["labeler_version", "-id"],
                name="labeler_call_failed",
                condition=models.Q(status__in=("failed", "lost")),
            ),
            # What a reservation holds is summed before every call.
            models.Index(fields=["reservation"], name="labeler_call_held", condition=models.Q(status="in_flight")),
        ]

    def __str__(self) -> str:
        return f"{self.labeler_version_id} {self.comparison_id or self.prompt_id} {self.step} {self.status}"


class LabelerReport(models.Model):
    """What was measured of a labeler's version, on which judgments: calibration, checks, comparison with another."""

    version = models.ForeignKey(LabelerVersion, models.CASCADE, related_name="reports")
    # sha256 over what it was computed from; the same judgments give the same report.
    digest = models.CharField(max_length=64)
    # JSON as `labelers.report` writes it; its "format" names the layout.
    data = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "digest"], name="labeler_report_once")]

    def __str__(self) -> str:
        return f"report of {self.version}"
