"""How good an AI labeler is: its report, a candidate's comparison with what is in use, labels of people it doubts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator.forms.reports import DecisionForm, MeasureForm
from annotator.models import Comparison, Job, Labeler, LabelerVersion, Project
from annotator.pipeline import check, keys, label, ledger, probes, scope, versions
from annotator.pipeline.work import StepRefused
from annotator.readings import report_diagrams, report_lines, report_tables, reports
from annotator.views import spending
from annotator.views.sheets import sheet


def _labeler_or_404(project: Project, labeler_id: int) -> Labeler:
    return get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)


def _version_or_404(request: HttpRequest, labeler: Labeler) -> LabelerVersion | None:
    """The version asked for, else the one in use; None for a labeler that has none yet."""
    if number := request.GET.get("version", ""):
        if not number.isdecimal():
            number = "0"
        return get_object_or_404(labeler.versions.select_related("labeler"), pk=int(number[:18]))
    return versions.in_use(labeler) or versions.candidate(labeler)


@login_required
@require_safe
def labeler_report(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """What is stored of one version; nothing is computed here."""
    project = access.project_or_404(request, project_id, access.READERS)
    labeler = _labeler_or_404(project, labeler_id)
    return _page(request, project, labeler, _version_or_404(request, labeler))


def _page(
    request: HttpRequest, project: Project, labeler: Labeler, version: LabelerVersion | None, status: int = 200
) -> HttpResponse:
    found = reports.newest(version) if version else None
    data = found.data if found else None
    candidate = versions.candidate(labeler)
    running = Job.objects.unfinished().filter(project=project, kind=Job.Kind.CHECK, key__in=("", str(labeler.pk)))
    context: dict[str, Any] = {
        "project": project,
        "tab": "labelers",
        "labeler": labeler,
        "version": version,
        "versions": reports.versions_of(labeler),
        "in_use": versions.in_use(labeler),
        "candidate": candidate,
        "hindrances": check.hindrances(candidate) if candidate else [],
        "comparison": report_tables.comparison(candidate, versions.in_use(labeler)) if candidate else [],
        "report": found,
        "job": running.order_by("id").first(),
        "can_probe": labeler.kind not in probes.NOT_ASKED,
    }
    if data:
        context |= {
            "data": data,
            "sentence": reports.sentence(data),
            "semicolon": report_lines.SEMICOLON,
            "notes": reports.notes(data),
            "charts": report_diagrams.charts(data, labeler.name),
            "measures": report_diagrams.measures(data),
            "others": report_tables.others(data),
            "slices": report_tables.slices(data),
            "checks": report_tables.checks(data),
            "attacks": report_tables.attacks(data),
            "attack_sentence": report_tables.attack_sentence(data),
            "members": report_tables.members(data),
            "together": report_tables.together(data),
            # Which side labelers take is for leads: reviewers judge these very comparisons blind.
            "suspects": report_tables.suspects(project, data) if access.leads(request, project) else [],
        }
    return render(request, "labelers/report.html", context, status=status)


@login_required
@require_safe
def labeler_report_csv(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Every number of the page, one a line."""
    project = access.project_or_404(request, project_id, access.READERS)
    labeler = _labeler_or_404(project, labeler_id)
    version = _version_or_404(request, labeler)
    found = reports.newest(version) if version else None
    rows = report_diagrams.rows(found.data, labeler.name) if found else ()
    return sheet(f"labeler-{labeler.pk}-report", ["table", "row", "value", "low", "high", "comparisons"], rows)


@login_required
@require_POST
def labeler_check(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Compute the report now."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _labeler_or_404(project, labeler_id)
    job = check.request(labeler, by=request.user)  # type: ignore[arg-type]
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def labeler_decide(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Accept or discard the candidate; a worse one is accepted only with the box ticked."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _labeler_or_404(project, labeler_id)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose to use the candidate or to put it aside."))
        return redirect("labeler_report", project.pk, labeler.pk)
    version = get_object_or_404(labeler.versions, pk=form.cleaned_data["version"])
    try:
        if form.cleaned_data["decision"] == "accept":
            check.accept(version, confirmed=form.cleaned_data["confirmed"])
            messages.success(request, _("It is in use: what it has judged counts, and it judges from now on."))
        else:
            versions.discard(version)
            messages.success(request, _("It was put aside. What it has judged stays and is never asked again."))
    except check.NeedsConfirmation as refusal:
        messages.error(request, _("%(why)s Tick the box to use it all the same.") % {"why": refusal})
        return _page(request, project, labeler, version, 422)
    except StepRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("labeler_report", project.pk, labeler.pk)


@login_required
@require_http_methods(["GET", "POST"])
def labeler_measure(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """What measuring costs at most, then, confirmed, the run: a candidate on people's comparisons, or checks of it or
    of the version in use.
    """
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _labeler_or_404(project, labeler_id)
    form = MeasureForm(request.POST if request.method == "POST" else {"what": request.GET.get("what", "candidate")})
    if not form.is_valid():
        messages.error(request, _("Choose what should be measured."))
        return redirect("labeler_report", project.pk, labeler.pk)
    what = form.cleaned_data["what"]
    try:
        version = versions.in_use(labeler) if what == "checks" else versions.candidate(labeler)
        if version is None:
            raise StepRefused(_("There is no such version. Edit the labeler to make a candidate."))
        number, most = _estimate(version, what)
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("labeler_report", project.pk, labeler.pk)
    if request.method == "POST" and number and spending.may_cost(form, most, project):
        job = _run(version, what, most, request.user)
        return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": labeler,
        "what": what,
        "number": number,
        "attacked": labeler.kind == versions.JUDGE,
        "most": most,
        "free": ledger.available(project),
        "place": ", ".join(keys.places(version)),
        "form": form if request.method == "POST" else None,
    }
    return render(request, "labelers/measure.html", context, status=422 if request.method == "POST" else 200)


def _estimate(version: LabelerVersion, what: str) -> tuple[int, Decimal]:
    """Comparisons, or checks of one, that are left to do, and the most they can cost."""
    if what == "candidate":
        found = scope.estimate(version.labeler, scope.judged_by_people(version.labeler.project), version)
        return found.number, found.most
    return probes.estimate(version)


def _run(version: LabelerVersion, what: str, most: Decimal, by: Any) -> Job:
    reserve = None if version.labeler.is_free else most
    if what == "candidate":
        return label.request_run(version.labeler, scope="people", version=version, reserve=reserve, by=by)
    asked = version if what == "candidate_checks" else None
    return label.request_run(version.labeler, scope=probes.SCOPE, version=asked, reserve=reserve, by=by)


@login_required
@require_POST
def suspect_raise(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    """Send a comparison whose people the labelers doubt to the reviewers, who judge it blind.

    Not to another annotator: a place that no plan counts has no money set aside, and the next plan would close it.
    """
    project = access.project_or_404(request, project_id, access.LEADS)
    comparison = get_object_or_404(Comparison, pk=comparison_id, project=project)
    check.raise_suspect(comparison, access.rater_of(request, project))
    messages.success(request, _("It waits for a reviewer now."))
    return redirect(_back(request, project))


def _back(request: HttpRequest, project: Project) -> str:
    labeler = request.POST.get("labeler", "")
    if labeler.isdecimal() and project.labelers.filter(pk=int(labeler[:18])).exists():
        return reverse("labeler_report", args=[project.pk, int(labeler[:18])]) + "#suspects"
    return reverse("reviews", args=[project.pk])
