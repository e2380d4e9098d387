"""Files of finished exports: downloads of readers, links for others, and which links are live.

An export that tells of somebody who has withdrawn it since is given to nobody any more.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotator import access
from annotator.models import Export, Project, User
from annotator.pipeline import links
from annotator.readings import consent
from annotator.sending import send


@login_required
@require_safe
def export_download(request: HttpRequest, project_id: int, number: int, name: str = "") -> HttpResponseBase:
    """One file of a finished export, or without `name` all of them as a zip. Always a download, but when refused."""
    project = access.project_or_404(request, project_id, access.READERS)
    made = _finished(project, number)
    try:
        return send(request, made, name)
    except consent.Withdrawn:
        return _withdrawn(request, project, made)


def _finished(project: Project, number: int) -> Export:
    finished = project.exports.filter(completed_at__isnull=False).select_related("project")
    return get_object_or_404(finished, number=number)


def _withdrawn(request: HttpRequest, project: Project, made: Export) -> HttpResponse:
    context = {"project": project, "tab": "exports", "export": made, "words": consent.WORDS}
    return render(request, "exports/withdrawn.html", context, status=410)


@login_required
@require_POST
def export_link(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """A page with a link to one file (or all) that needs no login and works for a day."""
    project = access.project_or_404(request, project_id, access.READERS)
    made, name = _finished(project, number), request.POST.get("name", "")
    assert isinstance(request.user, User)
    try:
        link, token = links.make(made, name, request.user)
    except ValueError:
        raise Http404 from None
    except consent.Withdrawn:
        return _withdrawn(request, project, made)
    context = {
        "project": project,
        "tab": "exports",
        "export": made,
        "name": name,
        "link": request.build_absolute_uri(reverse("linked_download", args=[token])),
        "until": link.until,
    }
    return render(request, "exports/link.html", context)


@login_required
@require_safe
def export_links(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """The live links of an export, to leads all, to others their own: to what, by whom, until when.

    Their addresses are shown to nobody again.
    """
    project = access.project_or_404(request, project_id, access.READERS)
    made = _finished(project, number)
    assert isinstance(request.user, User)
    context = {
        "project": project,
        "tab": "exports",
        "export": made,
        "links": links.live(made, request.user),
        "withdrawn": bool(consent.withdrawn(made)),
    }
    return render(request, "exports/links.html", context)


@login_required
@require_POST
def export_link_take_back(request: HttpRequest, project_id: int, number: int, link_id: int) -> HttpResponse:
    """A lead takes any back, whoever else their own."""
    project = access.project_or_404(request, project_id, access.READERS)
    made = _finished(project, number)
    assert isinstance(request.user, User)
    links.take_back(get_object_or_404(links.of(made, request.user), pk=link_id))
    messages.success(request, _("The link is taken back: it leads nowhere any more."))
    return redirect("export_links", project.pk, made.number)


@never_cache
@require_safe
def linked_download(request: HttpRequest, token: str) -> HttpResponseBase:
    """What a signed link leads to, for anybody who has it; one that is over or taken back does not exist."""
    link = links.follow(token)
    if link is None:
        raise Http404
    try:
        return send(request, link.export, link.name)
    except consent.Withdrawn:  # within this moment
        raise Http404 from None
