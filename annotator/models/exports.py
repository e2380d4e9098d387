from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.labels import Recipe
from annotator.models.people import User
from annotator.models.projects import Project


class Export(models.Model):
    """One immutable, reproducible dataset file set with manifest and checksum."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exports")
    number = models.PositiveIntegerField()
    # A key of `annotator.formats.WRITERS`.
    format = models.CharField(_("format"), max_length=40)
    container = models.CharField(_("file type"), max_length=10, default="parquet")
    recipe = models.ForeignKey(Recipe, models.PROTECT, null=True, related_name="exports")
    options = models.JSONField(default=dict)
    manifest = models.JSONField(default=dict)
    sha256 = models.CharField(max_length=64, blank=True)
    rows = models.PositiveIntegerField(default=0)
    # Addresses in storage, empty until the files are complete.
    files = models.JSONField(default=list)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="export_number_once")]

    def __str__(self) -> str:
        return f"export {self.number} ({self.format})"
