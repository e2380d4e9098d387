"""AI labelers of a project: what they cost and how good they are, adding a judge, trying it, switching it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, readings
from annotator.forms.labelers import PricesForm
from annotator.models import Comparison, Job, Labeler, LabelerCall, Project
from annotator.pipeline import disclosures, keys, label, operations, proxy, sample, scope, versions
from annotator.views import configure

# Newest calls shown of one labeler.
CALLS_SHOWN = 50
# Newest runs.
RUNS_SHOWN = 5


def _labeler_or_404(project: Project, labeler_id: int) -> Labeler:
    return get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)


@login_required
@require_safe
def labelers(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    rows = readings.labelers.rows(project)
    context = {
        "project": project,
        "tab": "labelers",
        "rows": rows,
        "best": _best([row for row in rows if not row.is_null]),
        "best_null": _best([row for row in rows if row.is_null]),
        "has_proxy": any(row.labeler.kind == versions.PROXY for row in rows),
        "can_learn": proxy.can_learn(project),
        "enough": proxy.ENOUGH,
    }
    return render(request, "labelers/labelers.html", context)


def _best(rows: list[readings.labelers.Row]) -> readings.labelers.Row | None:
    """By the lower end of the interval: five lucky comparisons make nobody the best."""
    measured = [row for row in rows if row.accuracy]
    return max(measured, key=lambda row: row.accuracy.low, default=None)  # type: ignore[union-attr]


@login_required
@require_POST
def labeler_add_proxy(request: HttpRequest, project_id: int) -> HttpResponse:
    """The project's own proxy reward model; one a project."""
    project = access.project_or_404(request, project_id, access.LEADS)
    if not proxy.can_learn(project):
        words = _("The proxy learns from people: it needs %(n)s comparisons they have judged, with features.")
        messages.error(request, words % {"n": proxy.ENOUGH})
        return redirect("labelers", project.pk)
    labeler = project.labelers.filter(kind=versions.PROXY).first()
    if labeler is None:
        labeler = Labeler.objects.create(project=project, name="own proxy", kind=versions.PROXY)
    return redirect("job", project.pk, label.request_run(labeler, scope="everything", by=request.user).pk)  # type: ignore[arg-type]


@login_required
@require_safe
def labeler(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    return _page(request, project, _labeler_or_404(project, labeler_id))


def _page(request: HttpRequest, project: Project, chosen: Labeler, status: int = 200, **more: Any) -> HttpResponse:
    version = versions.in_use(chosen)
    waiting = versions.candidate(chosen)
    newest = waiting or version
    whole = {
        "project": project,
        "tab": "labelers",
        "labeler": chosen,
        "version": version,
        "candidate": waiting,
        "replaced": versions.replaced_by_code(version) if version else None,
        "is_judge": chosen.kind == versions.JUDGE,
        "can_edit": chosen.kind in configure.KINDS,
        "can_run": chosen.kind in configure.KINDS,
        "is_outdated": bool(version and versions.is_outdated(version)),
        "places": keys.places(newest) if newest else [],
        "missing": disclosures.missing(chosen, newest) if newest else None,
        "parameters": dict(version.parameters) if version else {},
        "history": readings.labeler_versions.rows(chosen),
        "accuracy": readings.labelers.accuracies(project).get(chosen.pk),
        "calls": _newest_calls(request, chosen),
        "statuses": readings.labelers.call_statuses(chosen),
        "failures": readings.labelers.failures(chosen),
        "runs": project.jobs.filter(kind=Job.Kind.LABEL, parameters__labeler=chosen.pk).order_by("-id")[:RUNS_SHOWN],
        "trial": scope.TRIAL,
        "prices": PricesForm(instance=chosen) if _has_prices(chosen) else None,
    }
    return render(request, "labelers/labeler.html", {**whole, **more}, status=status)


def _newest_calls(request: HttpRequest, chosen: Labeler) -> QuerySet[LabelerCall]:
    """For leads only: a reviewer judges blind, and here stands what the labeler said of each comparison."""
    calls = LabelerCall.objects.filter(labeler_version__labeler=chosen).select_related("comparison", "prompt")
    return calls.order_by("-id")[:CALLS_SHOWN] if access.leads(request, chosen.project) else calls.none()


@login_required
@require_safe
def labeler_asked(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """What a judge is told before it sees any text of a comparison: a fragment, made when somebody opens it."""
    project = access.project_or_404(request, project_id, access.READERS)
    chosen = _labeler_or_404(project, labeler_id)
    version = versions.in_use(chosen) or versions.candidate(chosen)
    comparison = Comparison.objects.filter(project=project).select_related("prompt", "response_a", "response_b").first()
    asked = version and comparison and chosen.kind == versions.JUDGE
    words = sample.system_prompt(version, comparison) if asked else ""  # type: ignore[arg-type]
    return render(request, "labelers/_asked.html", {"words": words})


def _has_prices(chosen: Labeler) -> bool:
    return chosen.kind in (versions.JUDGE, versions.RECORDED)


@login_required
@require_POST
def labeler_prices(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _labeler_or_404(project, labeler_id)
    if not _has_prices(chosen):
        messages.error(request, _("This labeler runs on this site and costs nothing."))
        return redirect("labeler", project.pk, chosen.pk)

    def again(form: PricesForm) -> HttpResponse:
        return _page(request, project, _labeler_or_404(project, labeler_id), 422, prices=form)

    return save_prices(request, chosen, again, "labeler", _("Saved. The prices hold for new plans and new calls."))


def save_prices(
    request: HttpRequest, chosen: Labeler, again: Callable[[PricesForm], HttpResponse], page: str, saved: str
) -> HttpResponse:
    """Prices of anything that is asked; `again` shows those that cannot be, beside what is stored."""
    form = PricesForm(request.POST, instance=chosen)
    if not form.is_valid():
        return again(form)
    form.save()
    messages.success(request, saved)
    return redirect(page, chosen.project_id, chosen.pk)


@login_required
@require_POST
def labeler_toggle(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Switch it off or on. What it has judged stays; a run that is under way stops at its next beat."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _labeler_or_404(project, labeler_id)
    operations.set_enabled(chosen, not chosen.enabled)
    return redirect("labeler", project.pk, chosen.pk)


@login_required
@require_POST
def labeler_renew(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """A version of a judge with today's guidelines and protocol."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _labeler_or_404(project, labeler_id)
    if chosen.kind == versions.JUDGE:
        versions.renew(chosen)
        messages.success(request, _("A new version, with the guidelines of today. It judges anew."))
    return redirect("labeler", project.pk, chosen.pk)
