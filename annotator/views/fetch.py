"""Public sets by name: what is known to be readable, and asking for one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotator import access
from annotator.formats import public_sets
from annotator.forms.fetch import FetchForm
from annotator.forms.imports import PRESET_WORDS
from annotator.models import Project
from annotator.pipeline import fetch
from annotator.pipeline.work import StepRefused

PARTS = ("name", "config", "split")
# What an address may fill in.
ASKED = (*PARTS, "revision", "limit")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_fetch(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    is_possible = fetch.is_possible()
    form = FetchForm(request.POST or None, initial={part: request.GET.get(part, "") for part in ASKED})
    if request.method == "POST" and is_possible and form.is_valid():
        try:
            job = fetch.request_fetch(project, form.asked(), request.user)  # type: ignore[arg-type]
        except StepRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "board",
        "form": form,
        "is_possible": is_possible,
        "sets": [_as_shown(one, project) for one in public_sets.known()],
    }
    failed = request.method == "POST"
    return render(request, "imports/fetch.html", context, status=422 if failed else 200)


def _as_shown(one: public_sets.PublicSet, project: Project) -> dict[str, Any]:
    return {
        "set": one,
        # Its name alone: what it asks stands where a project is made.
        "preset": str(PRESET_WORDS.get(one.preset, "")).partition(":")[0],
        "fits": not one.preset or one.preset == project.protocol.preset,
        "query": urlencode({part: getattr(one, part) for part in PARTS}),
    }
