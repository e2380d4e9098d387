from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from annotator.models.people import User
from annotator.models.projects import Project


class Credential(models.Model):
    """A key for one endpoint, sealed. Only the worker that makes a call opens it; no page shows it again."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=100)
    # Host and port, and whether the way is open (`labelers.endpoint.place`): it is sent there and nowhere else.
    place = models.CharField(max_length=300)
    sealed = models.BinaryField()
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="credential_name_once")]

    def __str__(self) -> str:
        return f"{self.name} for {self.place}"


class Disclosure(models.Model):
    """A lead's word that texts of the project may leave for an endpoint. Without it no call is made."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="disclosures")
    place = models.CharField(max_length=300)
    # What may leave: "prompt", "documents", "responses", "guidelines", "judgments" (gold shown as exemplars).
    parts = ArrayField(models.CharField(max_length=20))
    confirmed_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    confirmed_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["project", "place"], name="disclosure_place")]

    def __str__(self) -> str:
        return f"{', '.join(self.parts)} to {self.place}"
