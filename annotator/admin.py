"""The site's administration, for staff with Django's permissions: people, projects, and a look at the rest.

What decided something is never edited here: judgments, labels, routes and money can only be read.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from annotator import models


@admin.register(models.User)
class PeopleAdmin(UserAdmin):
    fieldsets = (*UserAdmin.fieldsets, (_("Shown to others"), {"fields": ("display_name",)}))  # type: ignore[misc]
    list_display = ("username", "display_name", "email", "is_active", "is_staff", "last_login")


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(models.Project)
class ProjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "status", "currency", "provenance", "created_at")
    list_filter = ("status",)
    search_fields = ("name",)
    inlines = (MembershipInline,)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at. No counts over the whole table: there may be millions."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return tuple(field.name for field in self.model._meta.fields)


@admin.register(models.Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "kind", "state", "attempts", "created_at", "ended_at", "message")
    list_filter = ("kind", "state")


@admin.register(models.Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ("project", "cap", "spent", "reserved")


@admin.register(models.LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "amount", "settled", "created_at", "note")


@admin.register(models.Plan)
class PlanAdmin(ReadOnlyAdmin):
    list_display = ("project", "number", "status", "strategy", "budget", "cost", "created_at")
    list_filter = ("status",)


@admin.register(models.Export)
class ExportAdmin(ReadOnlyAdmin):
    list_display = ("project", "number", "format", "rows", "created_at", "completed_at")


@admin.register(models.Labeler)
class LabelerAdmin(ReadOnlyAdmin):
    list_display = ("project", "name", "kind", "enabled", "price_per_call")


@admin.register(models.Protocol)
class ProtocolAdmin(ReadOnlyAdmin):
    list_display = ("project", "version", "preset", "created_at")
