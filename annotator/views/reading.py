"""The texts of a comparison exactly as stored, for the annotator who has it: what Markdown hides must be seen.

Asked for when somebody looks, not with every comparison: the page would hold each text twice.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from annotator import access, protocols
from annotator.models import Assignment


@login_required
@require_safe
def raw(request: HttpRequest, assignment_id: int) -> HttpResponse:
    """{"turns": [{"role", "content"}], "sides": [text, in on-screen order]}"""
    assignment = get_object_or_404(
        Assignment.objects.select_related("comparison__prompt", "comparison__response_a", "comparison__response_b"),
        pk=assignment_id,
        rater__user=request.user,
        project__memberships__user=request.user,
        project__memberships__role__in=access.ANNOTATORS,
    )
    texts = {"turns": assignment.comparison.prompt.turns, "sides": _on_screen(assignment)}
    return JsonResponse(texts, headers={"Cache-Control": "no-store"})


def _on_screen(assignment: Assignment) -> list[str]:
    comparison = assignment.comparison
    texts = [comparison.response_a.text, comparison.response_b.text]
    definition = protocols.read(assignment.project.protocol.definition)
    if definition.ranks:
        candidates = comparison.candidates.select_related("response").order_by("place")
        texts += [candidate.response.text for candidate in candidates]
    order = protocols.on_screen(
        definition, a_first=assignment.a_first, shown_order=assignment.shown_order, count=len(texts)
    )
    return [texts[place] for place in order]
