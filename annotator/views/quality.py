"""How well people judge, for leads: everybody at a glance, one person, what is asked of all, and known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.quality import GoldForm, PauseForm, StandardsForm, new_gold
from annotator.models import Concern, Gold, Project, Rater, Standards
from annotator.pipeline import standing


@login_required
@require_safe
def quality(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    rows, more = readings.quality.people(project)
    context = {
        "project": project,
        "tab": "quality",
        "rows": rows,
        "more": more,
        "paused": sum(bool(row.standing.paused_at) for row in rows),
        "worrying": sum(bool(row.concerns) for row in rows),
        "standards": Standards.of(project),
        "golds": project.golds.filter(retired_at=None, use=Gold.Use.HIDDEN).count(),  # type: ignore[attr-defined]
    }
    return render(request, "quality/quality.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def quality_standards(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = StandardsForm(request.POST or None, instance=Standards.of(project))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved. It holds from the next comparison on."))
        return redirect("quality", project.pk)
    uses = set(project.golds.filter(retired_at=None).values_list("use", flat=True))  # type: ignore[attr-defined]
    context = {"project": project, "tab": "quality", "form": form, "uses": uses}
    return render(request, "quality/standards.html", context, status=422 if form.errors else 200)


# One person


def _rater_or_404(project: Project, rater_id: int) -> Rater:
    people = project.raters.people().filter(user__isnull=False)  # type: ignore[attr-defined]
    return get_object_or_404(people.select_related("user", "standing", "project"), pk=rater_id)


@login_required
@require_safe
def quality_person(request: HttpRequest, project_id: int, rater_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    return _person(request, project, _rater_or_404(project, rater_id), PauseForm())


def _person(request: HttpRequest, project: Project, rater: Rater, pause: PauseForm, status: int = 200) -> HttpResponse:
    standards = Standards.of(project)
    blocks = readings.quality.over_time(rater, standards)
    context = {
        "project": project,
        "tab": "quality",
        "person": readings.quality.person(project, rater),
        "standards": standards,
        "worries": readings.quality.worries(project, rater),
        "settled": readings.quality.settled(project, rater),
        "blocks": blocks,
        "charts": _charts(blocks, standards),
        "pause": pause,
    }
    return render(request, "quality/person.html", context, status=status)


def _charts(blocks: list[readings.quality.Block], standards: Standards) -> list[dict[str, Any]]:
    """Lines over the person's judgments; one that has no two points is left out."""
    asked = (
        ("gold", _("Right answers to known comparisons"), (_("pause below"), standards.pause_below)),
        ("first_side", _("Chose the side shown first"), (_("no preference"), 0.5)),
    )
    drawn = []
    for which, title, reference in asked:
        line = readings.quality.points(blocks, which)
        if svg := readings.charts.curve(line, here=None, references=[reference], title=title):
            drawn.append({"title": title, "svg": svg})
    return drawn


@login_required
@require_POST
def quality_pause(request: HttpRequest, project_id: int, rater_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    rater = _rater_or_404(project, rater_id)
    form = PauseForm(request.POST)
    if not form.is_valid():
        return _person(request, project, rater, form, 422)
    standing.pause(rater, form.cleaned_data["reason"])
    messages.success(request, _("Paused. They read your words and get no new comparison until you let them go on."))
    return redirect("quality_person", project.pk, rater.pk)


@login_required
@require_POST
def quality_resume(request: HttpRequest, project_id: int, rater_id: int) -> HttpResponse:
    return _acted(
        request, project_id, rater_id, standing.resume, _("They go on. Known answers are counted anew from here.")
    )


@login_required
@require_POST
def quality_requalify(request: HttpRequest, project_id: int, rater_id: int) -> HttpResponse:
    words = _("They qualify again before their next comparison.")
    return _acted(request, project_id, rater_id, standing.require_qualification, words)


@login_required
@require_POST
def quality_certify(request: HttpRequest, project_id: int, rater_id: int) -> HttpResponse:
    return _acted(request, project_id, rater_id, standing.certify, _("They count as qualified."))


def _acted(
    request: HttpRequest, project_id: int, rater_id: int, step: Callable[[Rater], object], words: str
) -> HttpResponse:
    """Take one step for a person of the lead's project and say what became of it."""
    project = access.project_or_404(request, project_id, access.LEADS)
    rater = _rater_or_404(project, rater_id)
    step(rater)
    messages.success(request, words)
    return redirect("quality_person", project.pk, rater.pk)


@login_required
@require_POST
def concern_settle(request: HttpRequest, project_id: int, rater_id: int, kind: str) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    rater = _rater_or_404(project, rater_id)
    if kind not in Concern.Kind.values:
        raise Http404
    standing.settle(project, rater, kind, request.user)  # type: ignore[arg-type]
    messages.success(request, _("Settled. Only what comes from now on is reported again."))
    return redirect("quality_person", project.pk, rater.pk)


@login_required
@require_POST
def concern_reopen(request: HttpRequest, project_id: int, concern_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    concern = get_object_or_404(Concern, pk=concern_id, project=project, resolved_at__isnull=False)
    standing.reopen(concern)
    return redirect("quality_person", project.pk, concern.rater_id)


# Known answers


@login_required
@require_safe
def golds(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    reviews = readings.quality.settled_reviews(project)[: readings.quality.COMPARISONS_SHOWN]
    context = {
        "project": project,
        "tab": "quality",
        "rows": readings.quality.golds(project),
        "reviews": [(review, readings.quality.better(review.judgment)) for review in reviews],  # type: ignore[arg-type]
    }
    return render(request, "quality/golds.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def gold(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    """Make a comparison gold, or change its answer: then everybody who answered it is counted anew."""
    project = access.project_or_404(request, project_id, access.LEADS)
    comparison = get_object_or_404(project.comparisons.select_related("prompt"), pk=comparison_id)
    known = Gold.objects.filter(comparison=comparison).first() or new_gold(project, comparison)
    initial = {"better": [request.GET["better"]]} if request.GET.get("better") in Gold.Better.values else {}
    form = GoldForm(request.POST or None, instance=known, initial=initial)
    if request.method == "POST" and form.is_valid():
        form.instance.created_by = form.instance.created_by or request.user
        standing.make_known(form.save(commit=False))
        messages.success(request, _("The answer is known now."))
        return redirect("golds", project.pk)
    context = {
        "project": project,
        "tab": "quality",
        "comparison": comparison,
        "excerpt": readings.comparison.excerpt(comparison.prompt),
        "sides": readings.comparison.sides(comparison),
        "known": known,
        "form": form,
    }
    return render(request, "quality/gold.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def gold_retire(request: HttpRequest, project_id: int, gold_id: int) -> HttpResponse:
    """Retire it, or take that back."""
    project = access.project_or_404(request, project_id, access.LEADS)
    known = get_object_or_404(Gold, pk=gold_id, project=project)
    if known.retired_at:
        standing.restore(known)
        messages.success(request, _("In use again, and counted again."))
    else:
        standing.retire(known)
        messages.success(request, _("Retired. It counts no more for anybody who answered it."))
    return redirect("golds", project.pk)
