"""AI labelers of a project: what they cost and how good they are, adding a judge, trying it, switching it off."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.labelers import PricesForm, RunForm
from annotator.models import Comparison, Job, Labeler, LabelerCall, Project
from annotator.pipeline import disclosures, keys, label, ledger, proxy, sample, scope, versions
from annotator.pipeline.work import StepRefused
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
    calls = LabelerCall.objects.filter(labeler_version__labeler=chosen)
    whole = {
        "project": project,
        "tab": "labelers",
        "labeler": chosen,
        "version": version,
        "candidate": waiting,
        "is_judge": chosen.kind == versions.JUDGE,
        "can_edit": chosen.kind in configure.KINDS,
        "can_run": chosen.kind in configure.KINDS,
        "is_outdated": bool(version and versions.is_outdated(version)),
        "places": keys.places(newest) if newest else [],
        "missing": disclosures.missing(chosen, newest) if newest else None,
        "parameters": dict(version.parameters) if version else {},
        "history": readings.labeler_versions.rows(chosen),
        "accuracy": readings.labelers.accuracies(project).get(chosen.pk),
        "calls": calls.select_related("comparison", "prompt").order_by("-id")[:CALLS_SHOWN],
        "statuses": readings.labelers.call_statuses(chosen),
        "failures": readings.labelers.failures(chosen),
        "runs": project.jobs.filter(kind=Job.Kind.LABEL, parameters__labeler=chosen.pk).order_by("-id")[:RUNS_SHOWN],
        "trial": scope.TRIAL,
        "prices": PricesForm(instance=chosen) if _has_prices(chosen) else None,
    }
    return render(request, "labelers/labeler.html", {**whole, **more}, status=status)


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
    form = PricesForm(request.POST, instance=chosen)
    if not form.is_valid():
        return _page(request, project, _labeler_or_404(project, labeler_id), 422, prices=form)
    form.save()
    messages.success(request, _("Saved. The prices hold for new plans and new calls."))
    return redirect("labeler", project.pk, chosen.pk)


@login_required
@require_http_methods(["GET", "POST"])
def labeler_run(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """First what would be sent where and cost at most, then, confirmed, the run."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _labeler_or_404(project, labeler_id)
    if chosen.kind in (versions.RECORDED, versions.PROXY):
        messages.error(request, _("There is nothing to run here: its verdicts come with the data or from votes."))
        return redirect("labeler", project.pk, chosen.pk)
    form = RunForm(request.POST if request.method == "POST" else {"on": request.GET.get("on", "trial")})
    if not form.is_valid():
        messages.error(request, _("Choose what it should judge."))
        return redirect("labeler", project.pk, chosen.pk)
    on = form.cleaned_data["on"]
    try:
        trial = label.trial_comparisons(chosen) if on == "trial" else []
        number, most = label.estimate(chosen, _comparisons(project, on, trial))
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("labeler", project.pk, chosen.pk)
    if request.method == "POST" and number:
        confirmed = form.cleaned_data["most"] or Decimal(0)
        free = ledger.available(project)
        if confirmed < most:
            form.add_error(None, _("Meanwhile it can cost more than you confirmed; look again."))
        elif most > free:
            form.add_error(None, _("The budget does not cover it. Raise it in the settings, or choose fewer."))
        else:
            job = label.request_run(
                chosen,
                scope=on,
                comparisons=trial,
                reserve=None if chosen.is_free else most,
                by=request.user,  # type: ignore[arg-type]
            )
            return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": chosen,
        "on": on,
        "number": number,
        "most": most,
        "free": ledger.available(project),
        "host": urlsplit(chosen.version.parameters.get("base_url", "")).hostname,
        "form": form if request.method == "POST" else None,
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "labelers/run.html", context, status=status)


def _comparisons(project: Project, on: str, trial: list[int]) -> Any:
    if on == "people":
        return label.judged_by_people(project)
    comparisons = Comparison.objects.filter(project=project)
    return comparisons.filter(pk__in=trial) if on == "trial" else comparisons


@login_required
@require_POST
def labeler_toggle(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Switch it off or on. What it has judged stays; a run that is under way stops at its next beat."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _labeler_or_404(project, labeler_id)
    label.set_enabled(chosen, not chosen.enabled)
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
