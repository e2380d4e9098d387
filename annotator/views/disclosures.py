"""What leaves for a labeler's endpoint: shown with a sample of the exact request, confirmed or taken back by a lead."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotator import access, readings
from annotator.models import Comparison
from annotator.pipeline import disclosures, keys, sample, versions


@login_required
@require_http_methods(["GET", "POST"])
def labeler_disclosure(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Which texts leave for which place; a POST confirms them for the place it names."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)
    version = versions.candidate(labeler) or versions.in_use(labeler)
    places = keys.places(version) if version else []
    parts = disclosures.parts_of(version) if version else []
    if request.method == "POST":
        place, seen = request.POST.get("place", ""), request.POST.getlist("parts")
        if place in places and seen == parts:
            disclosures.confirm(project, place, parts, request.user)  # type: ignore[arg-type]
            if disclosures.missing(labeler, version):
                return redirect("labeler_disclosure", project.pk, labeler.pk)
            messages.success(request, _("Confirmed. Next: try it on a few comparisons; you see the price first."))
            return redirect("labeler", project.pk, labeler.pk)
        messages.error(request, _("What would leave has changed meanwhile. Look again."))
        return redirect("labeler_disclosure", project.pk, labeler.pk)
    comparison = Comparison.objects.filter(project=project).select_related("prompt", "response_a", "response_b").first()
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": labeler,
        "parts": [(part, disclosures.PARTS[part]) for part in parts],
        "places": readings.disclosures.places(project, places, parts),
        "comparison": comparison,
        "sample": sample.request(version, comparison) if version and places and comparison else None,
    }
    return render(request, "labelers/disclosure.html", context)


@login_required
@require_POST
def disclosure_withdraw(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Nothing leaves for the place any more, whichever labeler calls it."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = get_object_or_404(project.labelers.judging(), pk=labeler_id)
    place = request.POST.get("place", "")
    if place not in set(project.disclosures.values_list("place", flat=True)):
        messages.error(request, _("Nothing was allowed to leave for such a place."))
    elif disclosures.withdraw(project, place):
        messages.success(request, _("Withdrawn. Runs stop at their next call; what was sent cannot be called back."))
    return redirect("labeler_disclosure", project.pk, labeler.pk)
