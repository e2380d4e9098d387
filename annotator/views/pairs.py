"""Comparisons made of the responses that prompts have: scored by a labeler, the best against a worse one."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotator import access
from annotator.forms.pairs import PairsForm
from annotator.pipeline import pairs as step
from annotator.pipeline.work import StepRefused


@login_required
@require_http_methods(["GET", "POST"])
def pairs(request: HttpRequest, project_id: int) -> HttpResponse:
    """The form, and, sent, the job."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = PairsForm(request.POST if request.method == "POST" else None, project=project)
    if form.is_valid():
        given = form.cleaned_data
        try:
            step.refuse(given["labeler"])
        except StepRefused as refusal:
            form.add_error("labeler", str(refusal))
        else:
            job = step.request(given["labeler"], given["rule"], given["seed"], by=request.user)  # type: ignore[arg-type]
            return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "labelers",
        "form": form,
        "number": step.prompts_of(project).count(),
        "has_scorers": step.scorers(project).exists(),
    }
    return render(request, "pairs/pairs.html", context, status=422 if request.method == "POST" else 200)
