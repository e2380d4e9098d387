"""Check: how good the AI labelers are, measured on what people judged, and whether a candidate may be used.

A report (`labelers.report` says what is in it) is computed here and stored; pages only read it. The same judgments give
the same report and are not computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import (
    Comparison,
    Flag,
    Job,
    Judgment,
    Labeler,
    LabelerReport,
    LabelerVersion,
    Project,
    Rater,
    User,
)
from annotator.pipeline import versions, work
from annotator.readings import report_tables

# A project's reports are computed by themselves when nobody has judged for a while, not too often, and not too seldom.
SILENCE, SHORTEST, LONGEST = timedelta(seconds=20), timedelta(minutes=2), timedelta(minutes=10)
# On fewer prompts an interval says little: a candidate that shows nothing there has not shown that it is no worse.
LEAST_PROMPTS = 30


class NeedsConfirmation(work.StepRefused):
    """The candidate is worse, or nobody can tell yet: the lead has to say that they want it all the same."""


@shared_task(name=work.TASKS[Job.Kind.CHECK])
def run_checks() -> int:
    return work.work(Job.Kind.CHECK, check_job)


def request(labeler: Labeler, by: User | None = None) -> Job:
    """Compute the reports of one labeler, its candidate's as well."""
    make = Job.objects.ask if by else Job.objects.request
    job = make(labeler.project, Job.Kind.CHECK, key=str(labeler.pk), by=by, labeler=labeler.pk)
    transaction.on_commit(lambda: work.nudge(work.task(Job.Kind.CHECK)))
    return job


def request_due() -> int:
    """For the tick: reports of every project where somebody has judged since its last ones; gives how many projects.

    Asked of the database and not told by those who judge, so a burst of judgments is one report: when it is over, or
    when it has lasted for long.
    """
    due = [project for project in _watched() if _is_due(project)]
    for project in due:
        Job.objects.request(project, Job.Kind.CHECK, labeler=None)
    return len(due)


def _watched() -> QuerySet[Any]:
    """Open projects with people and a labeler that reads, with their newest judgment and their last reports."""
    here = {"project": OuterRef("pk")}
    reading = Labeler.objects.judging().filter(**here, enabled=True).exclude(kind__startswith="null")
    newest = Judgment.objects.filter(**here).order_by("-id")
    last = Job.objects.filter(**here, kind=Job.Kind.CHECK, key="").order_by("-id")
    active = Project.objects.filter(status=Project.Status.ACTIVE)
    projects = active.filter(Exists(reading), Exists(Rater.objects.people().filter(**here)))
    return projects.annotate(
        newest=Subquery(newest.values("id")[:1]),
        judged_at=Subquery(newest.values("created_at")[:1]),
        seen=Subquery(last.values("result__last_judgment")[:1]),
        asked_at=Subquery(last.values("created_at")[:1]),
        ended=Subquery(last.values("state")[:1]),
    )


def _is_due(project: Any) -> bool:
    if project.newest is None or project.newest == project.seen:
        return False
    if project.ended in (Job.State.FAILED, Job.State.CANCELLED) and project.judged_at < project.asked_at:
        return False  # the same judgments would fail again
    if project.asked_at is None or project.asked_at < now() - LONGEST:
        return True
    return bool(project.judged_at < now() - SILENCE and project.asked_at < now() - SHORTEST)


def check_job(job: Job) -> work.Done:
    """The reports of one labeler, or of all that are switched on."""
    last = job.project.judgments.order_by("-id").values_list("id", flat=True).first()
    chosen = job.project.labelers.judging().order_by("id")
    if one := job.parameters.get("labeler"):
        chosen = chosen.filter(pk=one)
    else:
        chosen = chosen.filter(enabled=True).exclude(kind__startswith="null")
    # Not at the top: whoever asks for a report from a web process needs neither SciPy nor a language model.
    from annotator.pipeline import appraise

    asked = [version for labeler in chosen for version in _reported(labeler)]
    # Looked at before anything is read: what is said meanwhile makes another report.
    seen = {version: appraise.seen(version) for version in asked}
    stale = [version for version in asked if one or not appraise.is_current(version, seen[version])]
    made, unchanged = 0, len(asked) - len(stale)
    panel = appraise.Panel.of(job.project) if stale else None
    for number, version in enumerate(stale):
        job.beat(number, len(stale), str(version))
        new = appraise.store(version, panel, seen[version]) if panel and len(panel.known) else None
        made, unchanged = made + (new is True), unchanged + (new is False)
    words = [ngettext("%(n)s report computed", "%(n)s reports computed", made) % {"n": made}]
    if unchanged:
        words.append(_("%(n)s unchanged") % {"n": unchanged})
    if lacking := len(asked) - made - unchanged:
        words.append(_("%(n)s without a comparison that people judged too") % {"n": lacking})
    return work.Done("; ".join(words), {"last_judgment": last, "labeler": job.parameters.get("labeler")})


def _reported(labeler: Labeler) -> Iterator[LabelerVersion]:
    """The version in use and the candidate."""
    for version in (versions.in_use(labeler), versions.candidate(labeler)):
        if version is not None:
            yield version


# What a lead decides on


def appraisal(candidate: LabelerVersion) -> LabelerReport | None:
    """The newest report that compares the candidate with the version in use now."""
    incumbent = versions.in_use(candidate.labeler)
    against = candidate.reports.filter(data__site__against=incumbent.pk if incumbent else None)
    return against.order_by("-id").first()


def hindrances(candidate: LabelerVersion) -> list[str]:
    """What speaks against using the candidate, each in words; nothing known does too. [] when nothing does."""
    return [*_beside_the_one_in_use(candidate), *_of_checks(candidate)]


def _beside_the_one_in_use(candidate: LabelerVersion) -> Iterator[str]:
    found = appraisal(candidate)
    compared = found.data["incumbent"] if found else None
    if compared is None or compared["accuracy"]["difference"] is None:
        yield _("It has not been compared with the version in use: let it judge what people have judged first.")
        return
    prompts = compared.get("prompts", 0)
    if prompts < LEAST_PROMPTS or compared["accuracy"]["low"] is None:
        words = ngettext(
            "It was compared with the version in use on %(n)s prompt: “no worse” takes %(least)s that people judged.",
            "It was compared with the version in use on %(n)s prompts: “no worse” takes %(least)s that people judged.",
            prompts,
        )
        yield words % {"n": prompts, "least": LEAST_PROMPTS}
    if compared["accuracy"]["worse"]:
        yield _("People contradict it more often than the version in use, and by more than chance explains.")
    if compared["log_loss"]["worse"]:
        yield _("Its probabilities fit what people say worse than those of the version in use, and not by chance.")


def _of_checks(candidate: LabelerVersion) -> Iterator[str]:
    """A judge reads instructions in texts, so it is never used unchecked; of others only what failed counts."""
    newest = candidate.reports.order_by("-id").first()
    checks = report_tables.checks(newest.data) if newest else []
    if candidate.labeler.kind == versions.JUDGE and not checks:
        yield _("Its checks have not been run: run them first.")
    for each in checks:
        if each["state"] == "bad":
            yield _("It fails the check “%(name)s”: %(meaning)s") % {"name": each["words"], "meaning": each["meaning"]}
    if newest and any(note["code"] == "obeys_attacks" for note in newest.data["notes"]):
        yield _("Responses that tell it what to say win more often than without that.")


def accept(candidate: LabelerVersion, *, confirmed: bool = False) -> None:
    """Take a candidate into use. Raises NeedsConfirmation, with what speaks against it, unless `confirmed`."""
    candidate.refresh_from_db(fields=["accepted_at", "discarded_at"])
    if candidate.discarded_at is not None:
        raise work.StepRefused(_("This version was put aside meanwhile. Edit the labeler to take it up again."))
    if not confirmed and (why := hindrances(candidate)):
        raise NeedsConfirmation(" ".join(why))
    versions.accept(candidate)


def raise_suspect(comparison: Comparison, rater: Rater) -> None:
    """Put a comparison into the reviewers' queue because labelers contradict its people."""
    words = {"reason": _("Several calibrated AI labelers say the other side."), "resolved_at": None}
    Flag.objects.update_or_create(comparison=comparison, rater=rater, defaults=words)
