"""Onboarding: tutorial and qualification in the seat, with the answers explained; for leads what everybody did.

    GET  onboarding         /projects/<project_id>/onboarding/  where I stand and what comes next
    POST onboarding_start   use=tutorial|qualification: leads to the first step without an answer
    GET  onboarding_step    <attempt_id>/<number>/  the comparison; once answered, what I said beside what is right
    POST onboarding_step    an answer, form-encoded, fields as `judgment` of views/annotate.py; the first one counts
    GET  onboarding_result  <attempt_id>/  all answers explained; a lead sees everybody's
    GET  onboarding_raw     the texts on screen exactly as stored
Steps are numbered from 1 in addresses. Nothing of it is a judgment, none of it is paid.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, protocols
from annotator.forms import seat
from annotator.models import Attempt, Gold, Project, Rater
from annotator.pipeline import onboarding as pipeline
from annotator.pipeline.work import StepRefused
from annotator.readings import onboarding as reading
from annotator.readings import screen
from annotator.views.annotate import Refusal, on_screen


@login_required
@require_safe
def onboarding(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    left = pipeline.attempts_left(project, rater)
    state = reading.state(project, rater, due_version=pipeline.due_version(project), attempts_left=left)
    context = {
        "project": project,
        "tab": "annotate",
        "state": state,
        "left": left,
        "begun": {use.value: pipeline.open_attempt(project, rater, use) for use in Gold.Use},
        "explained": reading.explained(state.last) if state.last and state.stage == "qualification" else [],
    }
    return render(request, "onboarding/onboarding.html", context)


@login_required
@require_POST
def onboarding_start(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    use = request.POST.get("use", "")
    if use not in (Gold.Use.TUTORIAL, Gold.Use.QUALIFICATION):
        return redirect("onboarding", project.pk)
    is_lead = Project.objects.of(request.user, *access.LEADS).filter(pk=project.pk).exists()  # type: ignore[arg-type]
    try:
        attempt = pipeline.start(
            project, access.rater_of(request, project), use, protocol=project.protocol, unlimited=is_lead
        )
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("onboarding", project.pk)
    return _onwards(project, attempt)


def _onwards(project: Project, attempt: Attempt) -> HttpResponse:
    step = pipeline.next_step(attempt)
    if step is None:
        return redirect("onboarding_result", project.pk, attempt.pk)
    return redirect("onboarding_step", project.pk, attempt.pk, step + 1)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def onboarding_step(request: HttpRequest, project_id: int, attempt_id: int, number: int) -> HttpResponse:
    project, attempt = _mine(request, project_id, attempt_id)
    gold = _gold(attempt, number)
    if request.method != "POST":
        waiting = pipeline.next_step(attempt)
        if attempt.answers[number - 1]["given"] is None and waiting != number - 1:
            return _onwards(project, attempt)
        return _step(request, project, attempt, number, gold)
    sent = seat.Sent()
    try:
        sent = seat.read(request)
        pipeline.answer(attempt, number - 1, sent.given, client_id=sent.client_id)
    except protocols.AnswerInvalid as invalid:
        error = Refusal(invalid.field, invalid.reason)
        return _step(request, project, attempt, number, gold, given=sent.given, error=error)
    except StepRefused:
        return _onwards(project, attempt)
    return redirect("onboarding_step", project.pk, attempt.pk, number)


def _step(
    request: HttpRequest,
    project: Project,
    attempt: Attempt,
    number: int,
    gold: Gold,
    given: dict[str, Any] | None = None,
    error: Refusal | None = None,
) -> HttpResponse:
    drawn = attempt.answers[number - 1]
    definition = protocols.read(attempt.protocol.definition)
    asked = pipeline.asked(attempt, number - 1, gold)
    shown = screen.read(gold.comparison_id, a_first=asked.a_first, shown_order=asked.shown_order)
    is_answered = drawn["given"] is not None
    following = pipeline.next_step(attempt)
    context = {
        "project": project,
        "tab": "annotate",
        **on_screen(shown, definition, given or drawn["given"] or {}),
        "protocol": attempt.protocol,
        "error": error,
        "attempt": attempt,
        "number": number,
        "steps": len(attempt.answers),
        "explained": reading.explain(definition, number, drawn, gold) if is_answered else None,
        "following": None if following is None else following + 1,
    }
    response = render(request, "onboarding/step.html", context, status=422 if error else 200)
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_safe
def onboarding_raw(request: HttpRequest, project_id: int, attempt_id: int, number: int) -> HttpResponse:
    """As `views.reading.raw`."""
    _project, attempt = _mine(request, project_id, attempt_id)
    gold = _gold(attempt, number)
    asked = pipeline.asked(attempt, number - 1, gold)
    shown = screen.read(gold.comparison_id, a_first=asked.a_first, shown_order=asked.shown_order)
    texts = {"turns": gold.comparison.prompt.turns, "sides": [side.text for side in shown.sides]}
    return JsonResponse(texts, headers={"Cache-Control": "no-store"})


def _mine(request: HttpRequest, project_id: int, attempt_id: int) -> tuple[Project, Attempt]:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    attempts = Attempt.objects.filter(rater__project=project).select_related("protocol", "rater__project")
    return project, get_object_or_404(attempts, pk=attempt_id, rater__user=request.user)


def _gold(attempt: Attempt, number: int) -> Gold:
    if not 1 <= number <= len(attempt.answers):
        raise Http404
    golds = Gold.objects.select_related("comparison__prompt")
    return get_object_or_404(golds, pk=attempt.answers[number - 1]["gold"])


@login_required
@require_safe
def onboarding_result(request: HttpRequest, project_id: int, attempt_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    attempts = Attempt.objects.filter(rater__project=project).select_related("protocol", "rater__user")
    is_lead = Project.objects.of(request.user, *access.LEADS).filter(pk=project.pk).exists()  # type: ignore[arg-type]
    whose = {} if is_lead else {"rater__user": request.user}
    attempt = get_object_or_404(attempts, pk=attempt_id, **whose)
    is_mine = attempt.rater.user_id == request.user.pk
    if is_mine and attempt.finished_at is None:
        return redirect("onboarding", project.pk)
    left = pipeline.attempts_left(project, attempt.rater)
    explained = reading.explained(attempt)
    graded = [each for each in explained if each.is_right is not None and not each.is_retired]
    context = {
        "project": project,
        "tab": "annotate" if is_mine else "people",
        "attempt": attempt,
        "is_mine": is_mine,
        "explained": explained,
        "right": sum(each.is_right for each in graded),  # type: ignore[misc]  # graded: not None
        "graded": len(graded),
        "left": left,
        "state": reading.state(project, attempt.rater, due_version=pipeline.due_version(project), attempts_left=left),
    }
    return render(request, "onboarding/result.html", context)


@login_required
@require_POST
def onboarding_admit(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    """A lead lets somebody in without the tutorial and the qualification."""
    project = access.project_or_404(request, project_id, access.LEADS)
    membership = get_object_or_404(project.memberships.select_related("user"), pk=membership_id)  # type: ignore[attr-defined]
    rater, _created = Rater.objects.get_or_create(
        project=project, user=membership.user, defaults={"kind": Rater.Kind.PERSON}
    )
    pipeline.admit(project, rater)
    messages.success(request, _("%(who)s may judge without tutorial and qualification.") % {"who": membership.user})
    return redirect("people", project.pk)
