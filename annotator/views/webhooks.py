"""Webhooks of a project: add one and see its secret once, see what it was sent, send that again, switch it off or on,
remove it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator.forms.webhooks import WebhookForm
from annotator.models import Delivery, Project, User, Webhook
from annotator.pipeline import webhooks as steps
from annotator.pipeline import work

# Deliveries a page.
SHOWN = 50


@login_required
@never_cache
@sensitive_variables("secret")
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the project's webhooks and the form. POST: add one; its secret stands on the page that answers only."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = WebhookForm(request.POST if request.method == "POST" else None)
    if not (form.is_bound and form.is_valid()):
        return _page(request, project, form, status=422 if form.is_bound else 200)
    assert isinstance(request.user, User)
    try:
        made, secret = steps.add(project, form.cleaned_data["url"], form.cleaned_data["events"], request.user)
    except work.StepRefused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, project, form, status=422)
    return _page(request, project, WebhookForm(), made=made, secret=secret)


def _page(request: HttpRequest, project: Project, form: WebhookForm, status: int = 200, **made: Any) -> HttpResponse:
    newest = Delivery.objects.filter(webhook=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    found = list(project.webhooks.order_by("pk").annotate(newest=Subquery(newest)))
    last = Delivery.objects.in_bulk([webhook.newest for webhook in found if webhook.newest])
    rows = [
        {"webhook": each, "events": _events(each), "last": last.get(each.newest), "failing": steps.is_failing(each)}
        for each in found
    ]
    context = {"project": project, "tab": "settings", "form": form, "rows": rows, **made}
    return render(request, "webhooks/webhooks.html", context, status=status)


def _events(webhook: Webhook) -> list[str]:
    return [str(Webhook.Event(event).label) for event in webhook.events]


@login_required
@require_safe
def webhook(request: HttpRequest, project_id: int, webhook_id: int) -> HttpResponse:
    """One webhook and its deliveries, the newest first; `?before=` an id goes on."""
    found = _found(request, project_id, webhook_id)
    deliveries = found.deliveries.order_by("-pk")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdecimal() and len(before) < 19:
        deliveries = deliveries.filter(pk__lt=int(before))
    shown = list(deliveries[: SHOWN + 1])
    context = {
        "project": found.project,
        "tab": "settings",
        "webhook": found,
        "events": _events(found),
        "failing": steps.is_failing(found),
        "deliveries": shown[:SHOWN],
        "before": shown[SHOWN - 1].pk if len(shown) > SHOWN else None,
        "attempts": steps.ATTEMPTS,
        "delivered_days": steps.KEPT[Delivery.State.DELIVERED].days,
        "given_up_days": steps.KEPT[Delivery.State.GIVEN_UP].days,
        "test": steps.TEST,
    }
    return render(request, "webhooks/webhook.html", context)


def _found(request: HttpRequest, project_id: int, webhook_id: int) -> Webhook:
    project = access.project_or_404(request, project_id, access.LEADS)
    return get_object_or_404(project.webhooks.select_related("project"), pk=webhook_id)


@login_required
@require_POST
def webhook_test(request: HttpRequest, project_id: int, webhook_id: int) -> HttpResponse:
    found = _found(request, project_id, webhook_id)
    steps.send_test(found)
    messages.success(request, _("A test event is on its way. Load this page again to see what came of it."))
    return redirect("webhook", found.project_id, found.pk)


@login_required
@require_POST
def webhook_switch(request: HttpRequest, project_id: int, webhook_id: int) -> HttpResponse:
    """POST `on`: yes or no, what it shall be; asking twice changes nothing."""
    found = _found(request, project_id, webhook_id)
    on = request.POST.get("on") == "yes"
    steps.switch(found, on)
    if on:
        messages.success(request, _("The webhook is switched on: what waits goes out now."))
    else:
        messages.success(request, _("The webhook is switched off: it is not called, and not told of what happens now."))
    return redirect("webhook", found.project_id, found.pk)


@login_required
@require_POST
def webhook_remove(request: HttpRequest, project_id: int, webhook_id: int) -> HttpResponse:
    found = _found(request, project_id, webhook_id)
    steps.remove(found)
    messages.success(request, _("The webhook and its deliveries are removed."))
    return redirect("webhooks", found.project_id)


@login_required
@require_POST
def delivery_again(request: HttpRequest, project_id: int, webhook_id: int, delivery_id: int) -> HttpResponse:
    found = _found(request, project_id, webhook_id)
    steps.send_again(get_object_or_404(found.deliveries, pk=delivery_id))
    messages.success(request, _("It is sent again, with the same key, so that the receiver knows it."))
    return redirect("webhook", found.project_id, found.pk)
