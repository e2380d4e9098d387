"""An annotator's own page: what they did, how it compares with known answers, what they do not want to see."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, readings, rendering
from annotator.forms.quality import OptOutForm
from annotator.models import Standards
from annotator.pipeline import admission, assign


@login_required
@require_safe
def my_statistics(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    own = readings.own.numbers(rater, Standards.of(project))
    context = {
        "project": project,
        "tab": "annotate",
        "own": own,
        "missed": [
            (each, readings.own.known_answer(each), rendering.to_html(each.comparison.gold.explanation))
            for each in own.missed
        ],
        "hindrance": admission.hindrance(project, rater),
        "opt_outs": OptOutForm(initial={"kinds": rater.opted_out}),
    }
    return render(request, "quality/mine.html", context)


@login_required
@require_POST
def my_opt_outs(request: HttpRequest, project_id: int) -> HttpResponse:
    """All kinds at once: what is not ticked is offered again."""
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    form = OptOutForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose from the kinds on this page; nothing was changed."))
        return redirect("my_statistics", project.pk)
    assign.set_opt_outs(rater, form.cleaned_data["kinds"])
    messages.success(request, _("Saved. It holds from your next comparison."))
    return redirect("my_statistics", project.pk)
