"""Guidelines: read, compared, written by leads, and acknowledged by those who judge.

The drawer beside the work is `guidelines/_drawer.html`: part of the seat's page, and fetched again from
`guidelines_drawer` when a comparison arrives after newer guidelines came into force.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, protocols
from annotator.forms.guidelines import LONGEST, GuidelinesForm, ReadForm, VersionsForm
from annotator.models import Project, Rater
from annotator.pipeline import guidelines as pipeline
from annotator.readings import guidelines as reading


@login_required
@require_safe
def guidelines(request: HttpRequest, project_id: int) -> HttpResponse:
    """The text in force (or `version`), all versions, and what changed from `old` to `new`."""
    return _page(request, access.project_or_404(request, project_id, access.MEMBERS))


def _page(request: HttpRequest, project: Project, status: int = 200, **context: Any) -> HttpResponse:
    asked = VersionsForm(request.GET)
    chosen = asked.cleaned_data if asked.is_valid() else {}
    newest = reading.newest(project)
    stored = {version.version: version for version in project.guidelines_versions.select_related("created_by")}
    shown = stored.get(chosen.get("version") or 0, newest)
    old, new = stored.get(chosen.get("old") or 0), stored.get(chosen.get("new") or 0)
    whole = {
        "project": project,
        "tab": "guidelines",
        "newest": newest,
        "shown": shown,
        "html": reading.to_html(shown.text),
        "versions": sorted(stored.values(), key=lambda version: -version.version),
        "old": old,
        "new": new,
        "passages": reading.passages(old.text, new.text) if old and new else None,
        "notes": reading.notes(stored.values(), old, new) if old and new else [],
        "form": None,
    }
    return render(request, "guidelines/guidelines.html", {**whole, **context}, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def guidelines_edit(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    newest = reading.newest(project)
    if request.method != "POST":
        form = GuidelinesForm(initial={"text": newest.text, "base": newest.version})
        return _editor(request, project, form)
    form = GuidelinesForm(request.POST)
    if not form.is_valid():
        return _editor(request, project, form, 422)
    asked = form.cleaned_data
    try:
        published = pipeline.publish(
            project,
            asked["text"],
            author=request.user,  # type: ignore[arg-type]
            change_note=asked["change_note"].strip(),
            must_acknowledge=asked["must_acknowledge"],
            base=asked["base"],
        )
    except pipeline.Outdated as outdated:
        return _outdated(request, project, outdated)
    if published.version == asked["base"]:
        messages.info(request, _("Nothing was changed: the text is that of version %(n)d.") % {"n": published.version})
    else:
        messages.success(request, _("Version %(n)d is in force; annotators are told now.") % {"n": published.version})
    return redirect("guidelines", project.pk)


def _outdated(request: HttpRequest, project: Project, outdated: pipeline.Outdated) -> HttpResponse:
    """Somebody else published meanwhile: the text stays in the editor, with what would be lost beside it."""
    newest = outdated.newest
    form = GuidelinesForm({**request.POST.dict(), "base": newest.version})
    form.is_valid()
    form.add_error(
        None,
        _(
            "%(who)s published version %(n)d while you wrote. Below is what publishing your text would change in it:"
            " take over what you want to keep, then publish again."
        )
        % {"who": newest.created_by or _("Somebody"), "n": newest.version},
    )
    changes = reading.changed_passages(newest.text, form.cleaned_data["text"])
    return _editor(request, project, form, 422, passages=changes)


def _editor(
    request: HttpRequest, project: Project, form: GuidelinesForm, status: int = 200, **context: Any
) -> HttpResponse:
    text = form["text"].value() or ""
    whole = {"project": project, "tab": "guidelines", "form": form, "html": reading.draft_to_html(text), **context}
    return render(request, "guidelines/edit.html", whole, status=status)


@login_required
@require_POST
def guidelines_preview(request: HttpRequest, project_id: int) -> HttpResponse:
    access.project_or_404(request, project_id, access.LEADS)
    text = request.POST.get("text", "")[:LONGEST]
    return render(request, "guidelines/_text.html", {"html": reading.draft_to_html(text)})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def guidelines_read(request: HttpRequest, project_id: int) -> HttpResponse:
    """What changed and the whole text, until somebody says that they have read it; then the work goes on.

    A request of the seat's script gets the drawer back instead of the way to the work.
    """
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    if request.method == "POST":
        form = ReadForm(request.POST)
        if form.is_valid():
            pipeline.acknowledge(rater, form.cleaned_data["version"])
        if request.htmx:  # type: ignore[attr-defined]
            return _drawer(request, project, rater)
        return redirect("annotate", project.pk)
    newest = reading.newest(project)
    context = {
        "project": project,
        "tab": "annotate",
        "newest": newest,
        "changed": reading.changed(project, rater),
        "html": reading.to_html(newest.text),
    }
    return render(request, "guidelines/read.html", context)


@login_required
@require_safe
def guidelines_drawer(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    return _drawer(request, project, access.rater_of(request, project))


def _drawer(request: HttpRequest, project: Project, rater: Rater) -> HttpResponse:
    protocol = project.protocols.order_by("-version").first()
    definition = protocols.read(protocol.definition) if protocol else None
    return render(request, "guidelines/_drawer.html", reading.drawer(project, rater, definition))
