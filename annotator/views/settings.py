"""What the lead sets once and changes seldom: name, prices, hard budget, protocol, pause and close."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, protocols
from annotator.forms.settings import CapForm, GeneralForm, StatusForm, WorkForm
from annotator.models import Project
from annotator.pipeline import ledger


@login_required
@require_safe
def project_settings(request: HttpRequest, project_id: int) -> HttpResponse:
    return _page(request, access.project_or_404(request, project_id, access.LEADS))


def _page(request: HttpRequest, project: Project, status: int = 200, **forms: Any) -> HttpResponse:
    stored = Project.objects.get(pk=project.pk)
    account = ledger.account_of(stored)
    protocol = stored.protocols.order_by("-version").first()
    whole = {
        "project": stored,
        "tab": "settings",
        "account": account,
        "protocol": protocol,
        "definition": protocols.read(protocol.definition) if protocol else None,
        "general": GeneralForm(instance=stored),
        "work": WorkForm(instance=stored),
        "cap": CapForm(initial={"cap": round(account.cap, 2)}),
    }
    return render(request, "settings/settings.html", {**whole, **forms}, status=status)


@login_required
@require_POST
def settings_general(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = GeneralForm(request.POST, instance=project)
    if not form.is_valid():
        return _page(request, project, 422, general=form)
    form.save()
    messages.success(request, _("Saved."))
    return redirect("project_settings", project.pk)


@login_required
@require_POST
def settings_work(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = WorkForm(request.POST, instance=project)
    if not form.is_valid():
        return _page(request, project, 422, work=form)
    form.save()
    messages.success(request, _("Saved. Plans made from now on use it; an approved plan keeps its prices and votes."))
    return redirect("project_settings", project.pk)


@login_required
@require_POST
def settings_cap(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = CapForm(request.POST)
    if form.is_valid():
        try:
            ledger.set_cap(project, form.cleaned_data["cap"])
        except ledger.OverBudget as refusal:
            form.add_error("cap", str(refusal))
    if not form.is_valid():
        return _page(request, project, 422, cap=form)
    messages.success(request, _("The hard budget is set."))
    return redirect("project_settings", project.pk)


@login_required
@require_POST
def settings_status(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = StatusForm(request.POST)
    if not form.is_valid():
        return _page(request, project, 422)
    Project.objects.filter(pk=project.pk).update(status=form.cleaned_data["status"])
    project.refresh_from_db()
    messages.success(request, _("The project is %(state)s now.") % {"state": project.get_status_display().lower()})
    return redirect("project_settings", project.pk)
