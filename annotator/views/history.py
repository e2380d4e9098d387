"""An annotator's own judgments: the list, and each on the screen it was given on, where it can be revised.

    GET  history  /projects/<project_id>/mine/            the list, by HistoryForm; ?after=<place> goes on behind it;
                                                          ?last=1 leads to the newest one's own page
    GET  revise   /projects/<project_id>/mine/<judgment>/  the comparison with the answer that stands
    POST revise   an answer, as `judgment` of views/annotate.py takes it. A page that sends JSON gets 200
                  {"revised": id, "next": address}, 422 {"error": {"field", "reason"}} or 409 {"error": {"reason"}};
                  a form is led back to the list, or sees the page again with what is wrong.
Whose judgment it is not finds nothing (404). An address names any revision; what is shown is the one that stands.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotator import access, protocols
from annotator.forms import seat
from annotator.forms.history import HistoryForm
from annotator.models import Judgment, Project, Return
from annotator.pipeline import judge
from annotator.pipeline import revise as revising
from annotator.readings import history as own_history
from annotator.readings import screen
from annotator.views.annotate import Refusal, on_screen


@login_required
@require_safe
def history(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    if request.GET.get("last"):
        newest = own_history.own(rater).first()
        return redirect("revise", project.pk, newest.pk) if newest else redirect("history", project.pk)
    form = HistoryForm(request.GET)
    form.is_valid()  # nonsense in the address is left out, not an error page
    page = own_history.page(rater, form.cleaned_data, request.GET.get("after", ""))
    context = {
        "project": project,
        "tab": "annotate",
        "form": form,
        "page": page,
        "is_filtered": any(form.cleaned_data.values()),
        "next_query": _query(request, page.following),
    }
    return render(request, "history/history.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revise(request: HttpRequest, project_id: int, judgment_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    judgment = _own(request, project, judgment_id)
    if request.method != "POST":
        return _page(request, project, judgment)
    sent = seat.Sent()
    try:
        sent = seat.read(request)
        if sent.client_id is None:
            raise protocols.AnswerInvalid("client_id", _("is missing; load the page again"))
        stored = revising.revise(
            judgment, sent.given, client_id=sent.client_id, active_ms=sent.active_ms, typed=sent.typed,
            protocol=_asked(project, sent.protocol_id),
        )  # fmt: skip
    except protocols.AnswerInvalid as invalid:
        refusal = Refusal(invalid.field, invalid.reason)
        if _is_script(request):
            return JsonResponse({"error": {"field": refusal.field, "reason": refusal.reason}}, status=422)
        return _page(request, project, judgment, given=sent.given, error=refusal)
    except revising.NotRevisable as refused:
        if _is_script(request):
            return JsonResponse({"error": {"reason": str(refused)}}, status=409)
        messages.error(request, str(refused))
        return redirect("history", project.pk)
    messages.success(request, _("Your answer is revised. What you said before is kept with it."))
    if _is_script(request):
        return JsonResponse({"revised": stored.pk, "next": reverse("history", args=[project.pk])})
    return redirect("history", project.pk)


def _page(
    request: HttpRequest,
    project: Project,
    judgment: Judgment,
    given: dict[str, Any] | None = None,
    error: Refusal | None = None,
) -> HttpResponse:
    assignment = judgment.assignment
    assert assignment is not None and judgment.protocol is not None
    shown = screen.read(judgment.comparison_id, a_first=assignment.a_first, shown_order=assignment.shown_order)
    context = {
        "project": project,
        "tab": "annotate",
        "assignment": assignment,
        **on_screen(shown, protocols.read(judgment.protocol.definition), given or judge.shown_answer(judgment)),
        "protocol": judgment.protocol,
        "error": error,
        "undo": None,
        "revised": judgment,
        "refusal": revising.refusal(judgment),
        "action": reverse("revise", args=[project.pk, judgment.pk]),
        "returned": Return.objects.filter(
            judgment__comparison=judgment.comparison_id, rater=judgment.rater_id, answered_at=None
        ).first(),
    }
    response = render(request, "history/revise.html", context, status=422 if error else 200)
    response["Cache-Control"] = "no-store"
    return response


def _own(request: HttpRequest, project: Project, judgment_id: int) -> Judgment:
    """The answer that stands of the showing that `judgment_id`, any of its revisions, belongs to; 404 when not mine."""
    mine = Judgment.objects.filter(project=project, rater__user=request.user, assignment__isnull=False)  # type: ignore[misc]
    asked = get_object_or_404(mine.exclude(purpose="review"), pk=judgment_id)
    stands = mine.filter(comparison=asked.comparison_id, rater=asked.rater_id, round=asked.round, is_current=True)
    related = stands.select_related("project", "protocol", "assignment__project", "rater")
    return related.first() or mine.select_related("project", "protocol", "assignment__project").get(pk=asked.pk)


def _asked(project: Project, protocol_id: int | None) -> Any:
    return project.protocols.filter(pk=protocol_id).first() if protocol_id else None


def _is_script(request: HttpRequest) -> bool:
    return request.content_type == "application/json"


def _query(request: HttpRequest, following: str) -> str:
    if not following:
        return ""
    query = request.GET.copy()
    query["after"] = following
    return query.urlencode()
