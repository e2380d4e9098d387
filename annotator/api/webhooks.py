"""Webhooks: add, list, try, switch and remove them; what they were sent, and to send it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from pydantic import WithJsonSchema

from annotator import access
from annotator.api.auth import WEBHOOKS, project_of
from annotator.api.exports import Strict
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Delivery, Webhook
from annotator.pipeline import webhooks

router = Router(tags=["webhooks"])
# In its place: by its name the document has one `State`, which is a job's.
DeliveryState = Annotated[Delivery.State, WithJsonSchema({"type": "string", "enum": Delivery.State.values})]
SAME = (
    "id",
    "event",
    "key",
    "payload",
    "state",
    "attempts",
    "next_at",
    "status",
    "error",
    "created_at",
    "delivered_at",
)


class WebhookIn(Strict):
    url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9]", max_length=500, examples=["https://hooks.example/"])]
    events: Annotated[list[Webhook.Event], Field(min_length=1, max_length=len(Webhook.Event))]


class WebhookOut(Schema):
    """`is_active`: not switched off. `is_failing`: its last deliveries were all given up. It stays in force."""

    id: int
    url: str
    events: list[str]
    is_active: bool
    is_failing: bool
    created_at: datetime


class WebhookChange(Strict):
    is_active: Annotated[bool, Field(strict=True)]


class NewWebhook(WebhookOut):
    secret: str | None = Field(description="Shown this once; null where the answer is given again.")

    def kept(self) -> NewWebhook:
        """What is stored for the same request with the same key: without the secret."""
        return self.model_copy(update={"secret": None})


class DeliveryOut(Schema):
    """`key` is the same at every attempt. `next_at` counts while `state` is waiting."""

    id: int
    event: str
    key: UUID
    payload: dict[str, Any]
    state: str
    attempts: int
    next_at: datetime
    status: int | None
    error: str
    created_at: datetime
    delivered_at: datetime | None


def _columns(webhook: Webhook) -> dict[str, Any]:
    same = {name: getattr(webhook, name) for name in ("id", "url", "events", "is_active", "created_at")}
    return {**same, "is_failing": webhooks.is_failing(webhook)}


def shown(webhook: Webhook) -> WebhookOut:
    return WebhookOut(**_columns(webhook))


def delivery_shown(delivery: Delivery) -> DeliveryOut:
    return DeliveryOut(**{name: getattr(delivery, name) for name in SAME})


def _found(request: HttpRequest, project_id: int, webhook_id: int) -> Webhook:
    return get_object_or_404(project_of(request, project_id, access.LEADS).webhooks, pk=webhook_id)


@router.get("/projects/{project_id}/webhooks", auth=WEBHOOKS, response=Page[WebhookOut])
def list_webhooks(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Webhooks by id."""
    return page(project_of(request, project_id, access.LEADS).webhooks, "id", after, limit, shown)


@router.post("/projects/{project_id}/webhooks", auth=WEBHOOKS, response={201: NewWebhook})
def create_webhook(request: HttpRequest, project_id: Number, asked: WebhookIn) -> Status[NewWebhook]:
    """Add a webhook. Its secret stands in this answer and nowhere else; the host is looked up at every call."""
    project = project_of(request, project_id, access.LEADS)
    made, secret = webhooks.add(project, asked.url, asked.events, request.user)  # type: ignore[arg-type]
    return Status(201, NewWebhook(**_columns(made), secret=secret))


@router.patch("/projects/{project_id}/webhooks/{webhook_id}", auth=WEBHOOKS, response=WebhookOut)
def update_webhook(request: HttpRequest, project_id: Number, webhook_id: Number, asked: WebhookChange) -> WebhookOut:
    """Switch a webhook off or on. Off, what waits for it is kept, and of what happens meanwhile it is never told."""
    found = _found(request, project_id, webhook_id)
    webhooks.switch(found, asked.is_active)
    found.refresh_from_db()
    return shown(found)


@router.delete("/projects/{project_id}/webhooks/{webhook_id}", auth=WEBHOOKS, response={204: None})
def delete_webhook(request: HttpRequest, project_id: Number, webhook_id: Number) -> Status[None]:
    """Remove a webhook with its deliveries."""
    webhooks.remove(_found(request, project_id, webhook_id))
    return Status(204, None)


@router.post("/projects/{project_id}/webhooks/{webhook_id}/test", auth=WEBHOOKS, response={202: DeliveryOut})
def test_webhook(request: HttpRequest, project_id: Number, webhook_id: Number) -> Status[DeliveryOut]:
    """Send an event `test`; its delivery tells what came of it."""
    return Status(202, delivery_shown(webhooks.send_test(_found(request, project_id, webhook_id))))


@router.get("/projects/{project_id}/webhooks/{webhook_id}/deliveries", auth=WEBHOOKS, response=Page[DeliveryOut])
def list_deliveries(
    request: HttpRequest,
    project_id: Number,
    webhook_id: Number,
    after: After = 0,
    limit: Limit = 100,
    state: DeliveryState | None = None,
) -> dict[str, Any]:
    """What the webhook was sent and is to be sent, by id."""
    rows = _found(request, project_id, webhook_id).deliveries
    return page(rows.filter(state=state) if state else rows, "id", after, limit, delivery_shown)


@router.post(
    "/projects/{project_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    auth=WEBHOOKS,
    response={202: DeliveryOut},
)
def replay_delivery(
    request: HttpRequest, project_id: Number, webhook_id: Number, delivery_id: Number
) -> Status[DeliveryOut]:
    """Send a delivery again, with the same key and content."""
    delivery = get_object_or_404(_found(request, project_id, webhook_id).deliveries, pk=delivery_id)
    webhooks.send_again(delivery)
    return Status(202, delivery_shown(delivery))
