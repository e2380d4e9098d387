from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.people import User
from annotator.models.projects import Project


class Guidelines(models.Model):
    """One version of a project's guidelines, immutable; the newest is repeated in `Project.guidelines`."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="guidelines_versions")
    version = models.PositiveIntegerField()
    text = models.TextField(_("guidelines"), blank=True)
    # What changed, in the lead's words; shown to annotators with the difference.
    change_note = models.TextField(_("what changed"), blank=True)
    # Whether annotators must acknowledge it (and be certified again, where `Standards.recertify`) before they go on.
    must_acknowledge = models.BooleanField(_("annotators must acknowledge it"), default=False)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="guidelines_version_once")]
        verbose_name_plural = "guidelines"

    def __str__(self) -> str:
        return f"guidelines v{self.version}"
