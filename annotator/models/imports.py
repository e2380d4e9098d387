from __future__ import annotations

from django.db import models

from annotator.models.people import User
from annotator.models.projects import Project


class Import(models.Model):
    """A file that came in: what it was, how it was read and what of it could not be carried."""

    # The filename of rows that a program sent: many small ones.
    PROGRAM = "program interface"

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    filename = models.CharField(max_length=200, blank=True)
    # Of a public set by name: "owner/name", its configuration and split, and the revision that was read.
    origin = models.JSONField(default=dict)
    # A key of `annotator.formats.READERS`, or "mapped": by the columns that `mapping` names.
    format = models.CharField(max_length=40)
    mapping = models.JSONField(default=dict)
    source = models.CharField(max_length=100, blank=True)
    sha256 = models.CharField(max_length=64)
    bytes = models.PositiveBigIntegerField(default=0)
    rows = models.PositiveIntegerField(default=0)
    # Counts of what was new, and {"left": {words: times}} of what could not be carried.
    report = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.filename or str(self.origin.get("name", ""))
