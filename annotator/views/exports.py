"""Data sets out: ask for one, follow it, publish it. `downloads` gives out the files."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models.fields.json import KeyTransform
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotator import access, readings, rendering, stored
from annotator.forms.datasets import KeepForm
from annotator.forms.export_words import FILE_TYPES, SOURCES
from annotator.forms.exports import ExportForm
from annotator.forms.pushes import PushForm
from annotator.models import Export, Job, Project, Recipe, User
from annotator.pipeline import aggregate, datasets, export, links, push, work
from annotator.readings import consent

SHOWN = 100
# As much of a card as a page shows, in bytes; and the YAML before its first heading.
CARD_SIZE = 200_000
HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def exports(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the exports so far and the form. POST (leads): ask for one; it is written in the background."""
    project = access.project_or_404(request, project_id, access.LEADS if request.method == "POST" else access.READERS)
    form = ExportForm(request.POST if request.method == "POST" else None, project)
    if request.method == "POST" and form.is_valid():
        try:
            made = _ask(request, project, form.cleaned_data)
        except work.StepRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("Export %(number)s was asked for.") % {"number": made.number})
            return redirect("exports", project.pk)
    assert isinstance(request.user, User)
    rows = _rows(project, request.user)
    context = {
        "project": project,
        "tab": "exports",
        "form": form,
        "rows": rows,
        "ready": sum(row["export"].completed_at is not None for row in rows),
    }
    return render(request, "exports/exports.html", context, status=422 if form.is_bound else 200)


def _ask(request: HttpRequest, project: Project, asked: dict[str, Any]) -> Export:
    recipe = aggregate.recipe(project, asked["source"])
    assert isinstance(request.user, User)
    choices = {"container": asked["container"], "recipe": recipe, "options": asked["options"]}
    filters = asked.get("filters") or {}
    if name := asked.get("dataset"):
        _dataset, first = datasets.begin(
            project, name, request.user, format=asked["format"], filters=filters, **choices
        )
        return first
    return export.request_export(project, asked["format"], by=request.user, filters=filters, **choices)[0]


def _rows(project: Project, user: User) -> list[dict[str, Any]]:
    """The newest exports with their jobs and how many live links `user` sees.

    Of manifests, which may be large, only what is left out and who is in it.
    """
    left_out = KeyTransform("left_out", KeyTransform("filters", "manifest"))
    told = KeyTransform("profiles", KeyTransform("counted", "manifest"))
    exports = project.exports.select_related("recipe", "created_by", "dataset").defer("manifest")
    exports = exports.annotate(left_out=left_out, told=told)
    newest = list(exports.order_by("-number")[:SHOWN])
    live = links.numbers(project, newest, user)
    gone = set(consent.gone(project.pk, {name for made in newest for name in made.told or ()}))
    written_by = {
        job.parameters["export"]: job
        for job in Job.objects.filter(
            project=project, kind=Job.Kind.EXPORT, parameters__export__in=[made.pk for made in newest]
        ).order_by("pk")
    }
    return [
        {
            "export": made,
            "title": readings.datasets.title(made.format),
            "file_type": FILE_TYPES.get(made.container, made.container),
            "source": SOURCES[Recipe.Source(made.recipe.source)] if made.recipe else "",
            "bytes": sum(file["bytes"] for file in made.files),
            "job": written_by.get(made.pk),
            "live_links": live.get(made.pk, 0),
            "withdrawn": consent.WORDS if gone.intersection(made.told or ()) else "",
        }
        for made in newest
    ]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def export_keep(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """GET: asks for a name. POST: the export becomes the first version of a data set of that name."""
    project = access.project_or_404(request, project_id, access.LEADS)
    made = _finished(project, number)
    form = KeepForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            kept = datasets.keep(made, form.cleaned_data["name"], request.user)  # type: ignore[arg-type]
        except work.StepRefused as refusal:
            form.add_error("name", str(refusal))
        else:
            return redirect("dataset", project.pk, kept.pk)
    context = {"project": project, "tab": "exports", "export": made, "form": form}
    return render(request, "exports/keep.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def export_push(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """GET: what would be published, and where to. POST: asks for it, once the lead says that it may be."""
    project = access.project_or_404(request, project_id, access.LEADS)
    made = _finished(project, number)
    form = PushForm(request.POST or None, project)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            _push, job = push.request_push(
                made,
                asked["hub"],
                asked["repository"],
                asked["key"],
                request.user,  # type: ignore[arg-type]
                private=not asked["is_public"],
            )
        except work.StepRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "exports",
        "export": made,
        "title": readings.datasets.title(made.format),
        "bytes": sum(file["bytes"] for file in made.files),
        "published": readings.datasets.published(made),
        "card": _card(made),
        "withdrawn": consent.withdrawn(made),
        "pushes": readings.datasets.pushes(made),
        "tokens": project.credentials.filter(labelers=None, candidates=None).order_by("pk"),
        "form": form,
    }
    return render(request, "exports/push.html", context, status=422 if form.errors else 200)


def _card(made: Export) -> SafeString:
    """The card as a hub shows it, without the head that is for programs; "" where the export has none."""
    address = next((file["address"] for file in made.files if file["name"] == "README.md"), "")
    if not address:
        return SafeString()
    with stored.opened(address) as file:
        text = file.read(CARD_SIZE).decode(errors="ignore")
    return rendering.to_html(HEAD.sub("", text, count=1))


@login_required
@require_POST
def token_forget(request: HttpRequest, project_id: int, credential_id: int) -> HttpResponse:
    """A hub's token that was entered for pushes is deleted; one that a labeler uses as well is not one."""
    project = access.project_or_404(request, project_id, access.LEADS)
    credential = get_object_or_404(project.credentials, pk=credential_id)
    if push.forget(credential):
        messages.success(request, _("The token is forgotten."))
    else:
        messages.error(request, _("A labeler uses this key as well; it stays."))
    return redirect("exports", project.pk)


def _finished(project: Project, number: int) -> Export:
    return get_object_or_404(
        project.exports.filter(completed_at__isnull=False).select_related("project"), number=number
    )
