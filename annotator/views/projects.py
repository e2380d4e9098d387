"""The user's projects, and one project's board."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from annotator import access, readings
from annotator.models import Account, Job, Membership, Project
from annotator.views import imports, jobs

STAGES = {
    "imported": _("Imported"),
    "routed": _("Routed"),
    "labelled": _("Labelled"),
    "exported": _("Exported"),
}


@login_required
@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    mine = (
        Membership.objects.filter(user=request.user)  # type: ignore[misc]
        .select_related("project")
        .order_by("project__status", "-project_id")
    )
    rows = [
        {
            "project": membership.project,
            "role": membership.get_role_display(),
            "reads": membership.role in access.READERS,
            "annotates": membership.role in access.ANNOTATORS,
        }
        for membership in mine
    ]
    may_create = imports.may_create_projects(request.user)  # type: ignore[arg-type]
    return render(request, "projects/projects.html", {"rows": rows, "may_create": may_create})


@login_required
@require_safe
def board(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    stages = readings.board.stages(project)
    account = Account.objects.filter(project=project).first()
    annotators, more = readings.board.people(project)
    context = {
        "project": project,
        "tab": "board",
        "imported": stages[0].total,
        "labelled": stages[2].total,
        "account": account,
        "agreement": readings.board.agreement(project),
        "waiting": readings.board.waiting_for_people(project),
        "without_label": readings.board.judged_without_label(project).count(),
        "bars": _bars(project, stages),
        "legend": _legend(project, stages),
        "jobs": _jobs(project),
        "annotators": annotators,
        "more_annotators": more,
        "judged_today": sum(rater.today for rater in annotators),  # type: ignore[attr-defined]
        "spending": readings.board.spending(account) if account else [],
    }
    return render(request, "projects/board.html", context)


def sources_of(project: Project) -> list[str]:
    """People, labelers with a price, free ones; each in the order they came: the order of colours on every page."""
    labelers = sorted(project.labelers.judging().order_by("id"), key=lambda labeler: labeler.is_free)
    return ["people", *(labeler.name for labeler in labelers)]


def _bars(project: Project, stages: list[readings.board.Stage]) -> list[dict[str, Any]]:
    colours = readings.charts.palette(sources_of(project))
    return [
        {"words": STAGES[stage.key], "total": stage.total, "svg": _bar(stage, stages[0].total, colours)}
        for stage in stages
    ]


def _bar(stage: readings.board.Stage, imported: int, colours: dict[str, str]) -> SafeString:
    whole = imported or 1
    by_source = stage.by_source or {"": stage.total}
    names = [name for name in colours if name in by_source] + [name for name in by_source if name not in colours]
    return readings.charts.stacked_bar(
        [readings.charts.Part(colours.get(name, "other"), by_source[name] / whole) for name in names]
    )


def _legend(project: Project, stages: list[readings.board.Stage]) -> list[dict[str, Any]]:
    colours = readings.charts.palette(sources_of(project))
    routed, labelled = stages[1].by_source, stages[2].by_source
    names = [name for name in [*colours, ""] if name in routed or name in labelled]
    return [
        {"name": name, "kind": colours.get(name, "other"), "routed": routed.get(name), "labelled": labelled.get(name)}
        for name in names
    ]


def _jobs(project: Project) -> list[dict[str, Any]]:
    """What runs or waits, then what ended last of each kind: a kind that often runs must not push out the others."""
    running = list(project.jobs.unfinished().order_by("id")[:20])  # type: ignore[attr-defined]
    over = project.jobs.exclude(state__in=(Job.State.WAITING, Job.State.RUNNING, Job.State.PAUSED))
    newest = over.order_by("kind", "-id").distinct("kind")
    ended = sorted(newest, key=lambda job: -job.pk)
    return [{"job": job, "result_url": jobs.result_url(job)} for job in [*running, *ended]]
