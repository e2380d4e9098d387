"""The project's members: roles, adding, inviting, removing. For leads."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotator import access
from annotator.forms.people import AddForm, InviteForm, RoleForm
from annotator.models import Membership, Project, User
from annotator.pipeline import members
from annotator.pipeline.work import StepRefused


@login_required
@require_safe
def people(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    return _page(request, project)


def _page(request: HttpRequest, project: Project, status: int = 200, **context: Any) -> HttpResponse:
    memberships = project.memberships.select_related("user").order_by("role", "user__username")  # type: ignore[attr-defined]
    rows = [
        {
            "membership": membership,
            "form": RoleForm(instance=membership, auto_id=f"id_{membership.pk}_%s"),
            "is_invited": not membership.user.last_login and not membership.user.has_usable_password(),
        }
        for membership in memberships
    ]
    whole = {
        "project": project,
        "tab": "people",
        "rows": rows,
        "add": AddForm(),
        "invite": InviteForm(auto_id="id_invite_%s"),
    }
    return render(request, "people/people.html", {**whole, **context}, status=status)


@login_required
@require_POST
def member_add(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = AddForm(request.POST)
    user = members.find(form.cleaned_data["name"].strip()) if form.is_valid() else None
    if user is None:
        if form.is_valid():
            form.add_error("name", _("Nobody with an account has this name. Invite them below instead."))
        return _page(request, project, 422, add=form)
    try:
        membership = members.add(project, user, form.cleaned_data["role"])
    except StepRefused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, project, 422, add=form)
    said = {"who": user, "role": membership.get_role_display()}
    messages.success(request, _("%(who)s takes part as %(role)s.") % said)
    return redirect("people", project.pk)


@login_required
@never_cache
@require_POST
def member_invite(request: HttpRequest, project_id: int) -> HttpResponse:
    """Makes the account and shows, once, the link that sets its password."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = InviteForm(request.POST, auto_id="id_invite_%s")
    if not form.is_valid():
        return _page(request, project, 422, invite=form)
    asked = form.cleaned_data
    try:
        user, _membership = members.invite(
            project, asked["name"].strip(), asked["role"], display_name=asked["display_name"]
        )
    except StepRefused as refusal:
        form.add_error("name", forms.ValidationError(str(refusal)))
        return _page(request, project, 422, invite=form)
    return _page(request, project, invited=user, link=password_link(request, user))


@login_required
@never_cache
@require_POST
def member_link(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    """A new link for somebody who has not chosen a password yet; older links of theirs stay valid for three days."""
    project = access.project_or_404(request, project_id, access.LEADS)
    membership = get_object_or_404(project.memberships.select_related("user"), pk=membership_id)  # type: ignore[attr-defined]
    if not members.may_hand_over_link(request.user, membership.user):  # type: ignore[arg-type]
        messages.error(request, _("They have logged in before or work elsewhere: they reset the password themselves."))
        return redirect("people", project.pk)
    return _page(request, project, invited=membership.user, link=password_link(request, membership.user))


def password_link(request: HttpRequest, user: User) -> str:
    """A link with which `user` sets a password, once, within PASSWORD_RESET_TIMEOUT (three days)."""
    key = default_token_generator.make_token(user)
    address = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    return request.build_absolute_uri(address)


@login_required
@require_POST
def member_role(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    membership = _membership(project, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose one of the roles."))
        return redirect("people", project.pk)
    try:
        members.change_role(membership, form.cleaned_data["role"])
    except StepRefused as refusal:
        messages.error(request, str(refusal))
    else:
        said = {"who": membership.user, "role": membership.get_role_display()}
        messages.success(request, _("%(who)s is %(role)s now.") % said)
    return _after(request, project)


@login_required
@require_POST
def member_remove(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    membership = _membership(project, membership_id)
    try:
        members.remove(membership)
    except StepRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("%(who)s no longer takes part; their judgments stay.") % {"who": membership.user})
    return _after(request, project)


def _membership(project: Project, membership_id: int) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user"), project=project, pk=membership_id)


def _after(request: HttpRequest, project: Project) -> HttpResponse:
    """Back to the page, which a lead who gave up the role may no longer see."""
    is_lead = Project.objects.of(request.user, *access.LEADS).filter(pk=project.pk).exists()  # type: ignore[arg-type]
    return redirect("people", project.pk) if is_lead else redirect("projects")
