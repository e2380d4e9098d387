"""The reviewer's seat: what is disputed, one case at a time, blind first; and the thread every judge of it can read."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, protocols
from annotator.forms import seat
from annotator.forms.reviews import Decision, Words
from annotator.models import (
    Comparison,
    Contest,
    Gold,
    Judgment,
    Project,
    Rater,
    Return,
    Review,
    Role,
    Standards,
)
from annotator.pipeline import review as steps
from annotator.readings import heat_maps, screen
from annotator.readings import reviews as reading
from annotator.views.annotate import Refusal, on_screen


@login_required
@require_safe
def reviews(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    lines = reading.disputed(project, _after(request))
    context = {
        "project": project,
        "tab": "reviews",
        "lines": lines,
        "waiting": reading.waiting(project),
        "next_after": f"{lines[-1].agreed}:{lines[-1].comparison.pk}" if len(lines) == reading.PAGE else "",
        "closed": reading.closed(project),
        "contests": reading.contests(project),
    }
    return render(request, "reviews/reviews.html", context)


def _after(request: HttpRequest) -> tuple[float, int] | None:
    agreed, _colon, pk = request.GET.get("after", "").partition(":")
    try:
        return float(agreed), int(pk)
    except ValueError:
        return None


@login_required
@require_POST
def review_next(request: HttpRequest, project_id: int) -> HttpResponse:
    """The next case: mine, or the head of the queue."""
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    return _to_next(request, project, access.rater_of(request, project))


def _to_next(request: HttpRequest, project: Project, rater: Rater) -> HttpResponse:
    comparison = reading.first(project, rater)
    if comparison is None:
        messages.success(request, _("Nothing is disputed any more."))
        return redirect("reviews", project.pk)
    return _opened(request, project, rater, comparison)


@login_required
@require_POST
def review_open(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    comparison = get_object_or_404(project.comparisons, pk=comparison_id)
    return _opened(request, project, access.rater_of(request, project), comparison)


def _opened(request: HttpRequest, project: Project, rater: Rater, comparison: Comparison) -> HttpResponse:
    try:
        found = steps.open_review(project, rater, comparison)
    except steps.ReviewRefused as refused:
        messages.error(request, str(refused))
        return redirect("reviews", project.pk)
    return redirect("review", project.pk, found.pk)


@login_required
@require_safe
def review(request: HttpRequest, project_id: int, review_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    return _page(request, project, _review(project, review_id))


def _review(project: Project, review_id: int) -> Review:
    found = project.reviews.select_related("project", "comparison", "reviewer__user", "judgment__protocol")
    return get_object_or_404(found, pk=review_id)


def _page(
    request: HttpRequest,
    project: Project,
    found: Review,
    *,
    given: dict[str, Any] | None = None,
    error: Refusal | None = None,
) -> HttpResponse:
    shown = screen.read(found.comparison_id, a_first=found.a_first, shown_order=found.shown_order)
    protocol = project.protocol
    revealed = found.revealed_at is not None or found.state != Review.State.OPEN
    definition = protocols.read(protocol.definition)
    context = {
        "project": project,
        "tab": "reviews",
        "review": found,
        "is_mine": found.reviewer.user_id == request.user.pk,
        "revealed": revealed,
        # In the reviewer's own words and order; nothing of it is in the page before they have answered.
        "votes": reading.votes(found) if revealed else [],
        "maps": heat_maps.of(found.comparison, reading.order_of(found)) if revealed else [],
        "settled": reading.settled(found),
        "comments": found.comparison.comments.select_related("author").order_by("pk") if revealed else [],
        "protocol": protocol,
        "error": error,
        **on_screen(shown, definition, given or found.blind),
    }
    return render(request, "reviews/review.html", context, status=422 if error else 200)


@login_required
@require_POST
def review_answer(request: HttpRequest, project_id: int, review_id: int) -> HttpResponse:
    """The blind answer first; sent once the votes are in view, it settles the comparison."""
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    found = _own(request, project, review_id)
    given: dict[str, Any] = {}
    # What a second press of Enter sends is the blind answer still: it must not settle what was not seen.
    stage = "blind" if found.revealed_at is None else "settle"
    if request.POST.get("stage") != stage:
        return redirect("review", project.pk, found.pk)
    try:
        given = seat.read(request).given
        if stage == "blind":
            steps.answer_blind(found, given)
            return redirect("review", project.pk, found.pk)
        steps.settle(found, given, note=request.POST.get("note", "").replace("\x00", "").strip()[:5000])
    except protocols.AnswerInvalid as invalid:
        return _page(request, project, found, given=given, error=Refusal(invalid.field, invalid.reason))
    except steps.ReviewRefused as refused:
        messages.error(request, str(refused))
        return redirect("review", project.pk, found.pk)
    messages.success(request, _("Settled."))
    return _to_next(request, project, found.reviewer)


def _own(request: HttpRequest, project: Project, review_id: int) -> Review:
    """The review that this person has open; another reviewer's is only to be read."""
    own = project.reviews.filter(reviewer__user=request.user.pk)
    return get_object_or_404(own.select_related("project", "comparison", "reviewer__user"), pk=review_id)


@login_required
@require_POST
def review_send_back(request: HttpRequest, project_id: int, review_id: int, judgment_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    found = _own(request, project, review_id)
    judgment = get_object_or_404(Judgment, pk=judgment_id, comparison=found.comparison_id, project=project)
    form = Words(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say what its author should look at again; at most 5,000 characters."))
        return redirect("review", project.pk, found.pk)
    return _stepped(
        request,
        lambda: steps.send_back(found, judgment, form.cleaned_data["words"]),
        _("Sent back with your comment."),
        redirect("reviews", project.pk),
    )


@login_required
@require_POST
def review_reopen(request: HttpRequest, project_id: int, review_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    found = _review(project, review_id)
    there = redirect("review", project.pk, found.pk)
    return _stepped(request, lambda: steps.reopen(found), _("Open again; the settlement counts no more."), there)


@login_required
@require_safe
def review_raw(request: HttpRequest, project_id: int, review_id: int) -> HttpResponse:
    """The texts exactly as stored, in the reviewer's on-screen order (as `views.reading.raw`)."""
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    found = _review(project, review_id)
    shown = screen.read(found.comparison_id, a_first=found.a_first, shown_order=found.shown_order)
    texts = {"turns": found.comparison.prompt.turns, "sides": [side.text for side in shown.sides]}
    return JsonResponse(texts, headers={"Cache-Control": "no-store"})


@login_required
def thread(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    """What was remarked about a comparison. Annotators find it once they have judged the comparison themselves."""
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    comparison = get_object_or_404(project.comparisons.select_related("prompt"), pk=comparison_id)
    rater = access.rater_of(request, project)
    if not (_reviews(request, project) or steps.has_judged(rater, comparison)):
        return render(request, "404.html", status=404)
    form = Words(request.POST or None)
    if request.method == "POST" and form.is_valid():
        steps.comment(project, request.user, comparison, form.cleaned_data["words"])  # type: ignore[arg-type]
        return redirect("thread", project.pk, comparison.pk)
    context = {
        "project": project,
        "tab": "annotate",
        "comparison": comparison,
        "thread": reading.thread(comparison, rater),
        "form": form,
    }
    return render(request, "reviews/thread.html", context, status=422 if form.is_bound else 200)


def _reviews(request: HttpRequest, project: Project) -> bool:
    return project.memberships.filter(user=request.user, role__in=(Role.LEAD, Role.REVIEWER)).exists()  # type: ignore[misc]


@login_required
@require_POST
def return_stand(request: HttpRequest, project_id: int, return_id: int) -> HttpResponse:
    """The author stands to an answer that was sent back."""
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    found = get_object_or_404(
        Return.objects.select_related("judgment"), pk=return_id, rater__user=request.user.pk, rater__project=project
    )
    steps.answered(found.judgment)
    messages.success(request, _("Thank you: your answer stays as it is, and the reviewer sees that you looked again."))
    return redirect("thread", project.pk, found.judgment.comparison_id)


@login_required
def contest_gold(request: HttpRequest, project_id: int, gold_id: int) -> HttpResponse:
    """Somebody who has seen a known answer says why it is wrong. Where gold is not explained, nobody learns of it."""
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    gold = get_object_or_404(Gold.objects.select_related("comparison__project"), pk=gold_id, project=project)
    rater = access.rater_of(request, project)
    explained = gold.use != Gold.Use.HIDDEN or Standards.of(project).gold_feedback
    if not (explained and steps.has_judged(rater, gold.comparison)):
        return render(request, "404.html", status=404)
    if request.method == "POST":
        return _contested(request, project, gold.comparison, {"gold": gold})
    about = {"project": project, "tab": "annotate", "gold": gold, "thread": reading.thread(gold.comparison, rater)}
    return render(request, "reviews/contest.html", {**about, "form": Words()})


@login_required
@require_POST
def contest_review(request: HttpRequest, project_id: int, review_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    settled = project.reviews.filter(state=Review.State.SETTLED).select_related("comparison__project")
    found = get_object_or_404(settled, pk=review_id)
    return _contested(request, project, found.comparison, {"review": found})


def _contested(request: HttpRequest, project: Project, comparison: Comparison, about: dict[str, Any]) -> HttpResponse:
    rater = access.rater_of(request, project)
    if not steps.has_judged(rater, comparison):
        return render(request, "404.html", status=404)
    form = Words(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say why; at most 5,000 characters."))
        return redirect("thread", project.pk, comparison.pk)
    return _stepped(
        request,
        lambda: steps.contest(rater, form.cleaned_data["words"], **about),
        _("Thank you. A reviewer will look at it and answer you here."),
        redirect("thread", project.pk, comparison.pk),
    )


@login_required
@require_POST
def contest_decide(request: HttpRequest, project_id: int, contest_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.REVIEWERS)
    contest = get_object_or_404(Contest, pk=contest_id, project=project)
    there = redirect("reviews", project.pk)
    form = Decision(request.POST)
    if not form.is_valid():
        messages.error(request, _("Uphold it or reject it; a reply has at most 5,000 characters."))
        return there
    upheld = form.cleaned_data["decision"] == "upheld"
    user = request.user
    return _stepped(
        request,
        lambda: steps.decide(contest, user, upheld=upheld, reply=form.cleaned_data["reply"]),  # type: ignore[arg-type]
        _("Decided; the annotator sees it with your reply."),
        there,
    )


def _stepped(request: HttpRequest, step: Any, words: str, there: HttpResponse) -> HttpResponse:
    """Take one step and say what became of it."""
    try:
        step()
    except steps.ReviewRefused as refused:
        messages.error(request, str(refused))
    except protocols.AnswerInvalid as invalid:
        messages.error(request, invalid.reason)
    else:
        messages.success(request, words)
    return there
