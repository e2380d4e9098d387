from __future__ import annotations

from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.people import User


class Role(models.TextChoices):
    LEAD = "lead", _("Lead")
    REVIEWER = "reviewer", _("Reviewer")
    ANNOTATOR = "annotator", _("Annotator")
    VIEWER = "viewer", _("Viewer")


class ProjectQuerySet(models.QuerySet["Project"]):
    def of(self, user: User, *roles: str) -> Self:
        """Projects where `user` has one of `roles` (any role when none is named). Object access starts here."""
        mine = {"memberships__user": user}
        if roles:
            mine["memberships__role__in"] = roles  # type: ignore[assignment]
        return self.filter(**mine)


class Project(models.Model):
    """One data collection: guidelines, protocol, prices, members."""

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        PAUSED = "paused", _("Paused")
        CLOSED = "closed", _("Closed")

    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    # "written for the demo" / "generated": shown wherever the project appears; empty for real data.
    provenance = models.CharField(_("provenance"), max_length=200, blank=True)
    guidelines = models.TextField(_("guidelines"), blank=True, help_text=_("Markdown"))
    guidelines_version = models.PositiveIntegerField(default=1)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.ACTIVE)
    currency = models.CharField(_("currency"), max_length=3, default="USD")
    price_per_judgment = models.DecimalField(
        _("price of one person's judgment"), max_digits=12, decimal_places=6, default=0
    )
    votes = models.PositiveSmallIntegerField(_("people who judge one comparison"), default=1)
    control_share = models.FloatField(_("random control share"), default=0.05)
    lease_seconds = models.PositiveIntegerField(_("seconds a comparison stays with one annotator"), default=1800)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(price_per_judgment__gte=0), name="project_price_not_negative"),
            models.CheckConstraint(
                condition=models.Q(control_share__gte=0, control_share__lte=1), name="project_control_share_is_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def protocol(self) -> Protocol:
        """The newest version; older judgments keep theirs."""
        return self.protocols.latest("version")


class Membership(models.Model):
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="membership_one_role_a_project")]

    def __str__(self) -> str:
        return f"{self.user} · {self.project} · {self.role}"


class Protocol(models.Model):
    """The versioned, immutable form of what a judgment contains. `annotator/protocols.py` reads `definition`."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="protocols")
    version = models.PositiveIntegerField()
    preset = models.CharField(max_length=40)
    definition = models.JSONField()
    # Null for versions that came with the project or were published before this was kept.
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="protocol_version_once")]

    def __str__(self) -> str:
        return f"{self.preset} v{self.version}"
