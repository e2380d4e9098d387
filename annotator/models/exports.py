from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotator.models.credentials import Credential
from annotator.models.labels import Recipe
from annotator.models.people import User
from annotator.models.projects import Project


class Dataset(models.Model):
    """What an export is a version of: a name and the choices that every version shares."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="datasets")
    name = models.CharField(_("name"), max_length=100)
    # A key of `annotator.formats.WRITERS`.
    format = models.CharField(_("format"), max_length=40)
    container = models.CharField(_("file type"), max_length=10, default="parquet")
    recipe = models.ForeignKey(Recipe, models.PROTECT, related_name="datasets")
    options = models.JSONField(default=dict)
    filters = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once")]

    def __str__(self) -> str:
        return self.name


class Export(models.Model):
    """One immutable, reproducible dataset file set with manifest and checksum."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exports")
    number = models.PositiveIntegerField()
    # Null for one that belongs to no dataset; its version counts up within one.
    dataset = models.ForeignKey(Dataset, models.CASCADE, null=True, related_name="versions")
    version = models.PositiveIntegerField(null=True)
    # A key of `annotator.formats.WRITERS`.
    format = models.CharField(_("format"), max_length=40)
    container = models.CharField(_("file type"), max_length=10, default="parquet")
    recipe = models.ForeignKey(Recipe, models.PROTECT, null=True, related_name="exports")
    options = models.JSONField(default=dict)
    # `formats.source.Filters` as a dict.
    filters = models.JSONField(default=dict)
    manifest = models.JSONField(default=dict)
    sha256 = models.CharField(max_length=64, blank=True)
    rows = models.PositiveIntegerField(default=0)
    # Addresses in storage, empty until the files are complete.
    files = models.JSONField(default=list)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="export_number_once"),
            models.UniqueConstraint(fields=["dataset", "version"], name="export_version_once"),
        ]

    def __str__(self) -> str:
        return f"export {self.number} ({self.format})"


class ExportLink(models.Model):
    """A link to a file of an export, or to all, for somebody without an account. Taken back, its row is gone."""

    export = models.ForeignKey(Export, models.CASCADE, related_name="links")
    # What its address holds, signed: never shown again.
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # "" for all files as a zip.
    name = models.CharField(max_length=500, blank=True)
    maker = models.ForeignKey(User, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"link to {self.name or 'all files'} of {self.export}"


class Push(models.Model):
    """An export put into a repository of a hub; `revision` is what the hub calls the state it made."""

    export = models.ForeignKey(Export, models.CASCADE, related_name="pushes")
    # Address of the hub, and "owner/name" there.
    hub = models.CharField(_("hub"), max_length=300)
    repository = models.CharField(_("repository"), max_length=200)
    is_private = models.BooleanField(_("private"), default=True)
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, related_name="+")
    revision = models.CharField(max_length=100, blank=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.export} to {self.repository}"
