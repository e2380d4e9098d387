"""The user's projects, and one project's board."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotator import access
from annotator.models import Membership


@login_required
@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    mine = (
        Membership.objects.filter(user=request.user).select_related("project").order_by("project__status", "-project_id")
    )
    rows = [
        {
            "project": membership.project,
            "role": membership.get_role_display(),
            "reads": membership.role in access.READERS,
            "annotates": membership.role in access.ANNOTATORS,
        }
        for membership in mine
    ]
    return render(request, "projects/projects.html", {"rows": rows})
