"""What programs are given: tokens to ask with, answers kept so that asking twice does a thing once, and webhooks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotator.models.people import User
from annotator.models.projects import Project


class Token(models.Model):
    """A person's leave for a program to act for them. Only the digest is stored; the token is shown once."""

    class Scope(models.TextChoices):
        READ = "read", _("read projects, comparisons, judgments and datasets")
        INGEST = "ingest", _("import comparisons and recorded judgments")
        EXPORT = "export", _("make exports")
        ROUTE = "route", _("retrain and plan")
        LABEL = "label", _("run labelers, which spends money")
        WEBHOOKS = "webhooks", _("manage webhooks")

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    # Null: every project of the person, as their role there allows.
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="tokens")
    name = models.CharField(_("name"), max_length=100)
    # The first characters, by which a person knows it again, and the sha256 of all.
    start = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope))
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"


class KeptAnswer(models.Model):
    """What a request with an idempotency key was answered; the same request again gets the same answer."""

    token = models.ForeignKey(Token, models.CASCADE, related_name="answers")
    key = models.CharField(max_length=200)
    # sha256 of method, path and body: another request with the same key is refused.
    request = models.CharField(max_length=64)
    # Stored in the transaction that did it: while it is being worked on there is no row.
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="kept_answer_once")]

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"


class Webhook(models.Model):
    """An address that is told what happens in a project; every call is signed with its secret."""

    class Event(models.TextChoices):
        IMPORTED = "import.done", _("an import is done")
        EXPORTED = "export.done", _("an export is done")
        PLANNED = "plan.made", _("a plan is made")
        APPROVED = "plan.approved", _("a plan is approved")
        JUDGED = "judgments.final", _("judgments became final")
        FAILED = "job.failed", _("a job failed")

    project = models.ForeignKey(Project, models.CASCADE, related_name="webhooks")
    url = models.URLField(_("address"), max_length=500)
    events = ArrayField(models.CharField(max_length=20, choices=Event))
    sealed = models.BinaryField()
    is_active = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.url


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        """Those of webhooks that are switched off wait."""
        return self.filter(state=Delivery.State.WAITING, next_at__lte=now(), webhook__is_active=True)

    def announce(
        self,
        project_id: int,
        event: str,
        data: Mapping[str, Any],
        *,
        wait: timedelta = timedelta(0),
        told: Collection[int] = (),
    ) -> int:
        """A delivery for every webhook of the project that wants `event`, but those in `told`; gives how many.

        To be called inside the transaction that makes it true, late in it: until that ends the webhooks cannot be
        removed. `data`: ids, counts and links, never texts.
        """
        with connection.cursor() as cursor:
            begun = now()
            given: list[Any] = [event, json.dumps(data), begun + wait, begun, project_id, event, list(told)]
            cursor.execute(ANNOUNCE, given)
            return cursor.rowcount


# The lock of a foreign key, taken before: one that is removed meanwhile is passed over and breaks no transaction.
ANNOUNCE = """
    INSERT INTO annotator_delivery (webhook_id, event, key, payload, state, attempts, next_at, error, created_at)
    SELECT id, %s, gen_random_uuid(), %s::jsonb, 'waiting', 0, %s::timestamptz, '', %s::timestamptz
    FROM annotator_webhook
    WHERE project_id = %s AND is_active AND %s = ANY(events) AND NOT id = ANY(%s::bigint[])
    FOR KEY SHARE
"""


class Delivery(models.Model):
    """One event for one webhook: tried again with growing pauses until it is taken or given up, and on request."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        GIVEN_UP = "given_up", _("Given up")

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=20, choices=Webhook.Event)
    # The same id in every attempt, so that the receiver can tell a second one.
    key = models.UUIDField(unique=True)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    # The receiver's last status, or what kept the call from arriving.
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="delivery_due", condition=models.Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"
