from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotator.models.people import User
from annotator.models.projects import Project

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 5


class JobCancelled(Exception):
    """Somebody cancelled the job, or another worker has taken it over; the step stops and leaves what it stored."""


class JobQuerySet(models.QuerySet["Job"]):
    def due(self) -> Self:
        """Waiting jobs, and running ones whose worker stopped beating."""
        return self.filter(
            Q(state=Job.State.WAITING) | Q(state=Job.State.RUNNING, lease_until__lt=now()), cancel_requested=False
        )

    def unfinished(self) -> Self:
        return self.filter(state__in=(Job.State.WAITING, Job.State.RUNNING))

    def request(
        self, project: Project, kind: str, *, key: str = "", by: User | None = None, **parameters: Any
    ) -> Job:
        """The unfinished job of this kind and key, made if there is none: asking twice asks once."""
        job, _created = self.get_or_create(
            project=project,
            kind=kind,
            key=key,
            state__in=(Job.State.WAITING, Job.State.RUNNING),
            defaults={"state": Job.State.WAITING, "parameters": parameters, "requested_by": by},
        )
        return job

    def claim(self, kind: str) -> Job | None:
        """Take the oldest due job of `kind`, or None. A conditional update: two workers never get the same one."""
        for pk in self.due().filter(kind=kind).order_by("id").values_list("pk", flat=True)[:5]:
            token = uuid.uuid4()
            claimed = (
                self.due()
                .filter(pk=pk)
                .update(
                    state=Job.State.RUNNING,
                    lease_until=now() + LEASE,
                    claim=token,
                    attempts=F("attempts") + 1,
                    started_at=now(),
                )
            )
            if claimed:
                return self.get(pk=pk)
        return None


class Job(models.Model):
    """One piece of long work, with its progress. Workers claim it by a lease; the database is the truth."""

    class Kind(models.TextChoices):
        INGEST = "ingest", _("Import")
        FEATURISE = "featurise", _("Features")
        LABEL = "label", _("AI labels")
        RETRAIN = "retrain", _("Performance model")
        ROUTE = "route", _("Plan")
        EXPORT = "export", _("Export")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(Project, models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=12, choices=Kind)
    key = models.CharField(max_length=120, blank=True)
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    progress = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    message = models.TextField(blank=True)
    # For failed jobs: {"errors": [{"line", "field", "reason"}, …], "more": n} or {"reason": str}
    result = models.JSONField(default=dict)
    cancel_requested = models.BooleanField(default=False)
    lease_until = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind", "key"],
                condition=Q(state__in=("waiting", "running")),
                name="job_one_unfinished_a_key",
            )
        ]
        indexes = [models.Index(fields=["kind", "id"], name="job_due", condition=Q(state__in=("waiting", "running")))]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    def _mine(self) -> models.QuerySet[Job]:
        return Job.objects.filter(pk=self.pk, claim=self.claim, state=Job.State.RUNNING)

    def beat(self, progress: int, total: int, message: str = "") -> None:
        """Keep the lease and show progress. Raises JobCancelled when cancelled or taken over."""
        alive = (
            self._mine()
            .filter(cancel_requested=False)
            .update(progress=progress, total=total, message=message, lease_until=now() + LEASE)
        )
        if not alive:
            raise JobCancelled(str(self))

    def finish(self, state: str, message: str = "", **result: Any) -> None:
        self._mine().update(state=state, message=message, result=result, ended_at=now(), lease_until=None)

    def cancel(self) -> None:
        """A waiting job ends at once; a running one at its next beat."""
        Job.objects.filter(pk=self.pk, state=Job.State.WAITING).update(
            state=Job.State.CANCELLED, cancel_requested=True, ended_at=now()
        )
        Job.objects.filter(pk=self.pk, state=Job.State.RUNNING).update(cancel_requested=True)
