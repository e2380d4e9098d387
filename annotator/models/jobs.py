from __future__ import annotations

import math
import time
import uuid
from datetime import timedelta
from typing import Any, Self

from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotator.models.people import User
from annotator.models.programs import Delivery, Webhook
from annotator.models.projects import Project

LEASE = timedelta(seconds=60)
# A job that its workers died of this often is given up.
MAX_ATTEMPTS = 5
# An advisory lock of ours: two workers that claim at once could both see that nothing of a labeler runs.
LOCK = 0x5317C6


class JobCancelled(Exception):
    """Somebody cancelled the job, or another worker has taken it over; the step stops and leaves what it stored."""


class JobPaused(JobCancelled):
    """Somebody paused the job: the step stops and leaves all it would need to go on, set-aside money included."""


def storable(value: Any) -> Any:
    """`value` as text and jsonb columns hold it: no NUL, no lone surrogate, no NaN, at any depth."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, dict):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


class JobQuerySet(models.QuerySet["Job"]):
    def due(self) -> Self:
        """What a worker can take: waiting jobs, and running ones whose worker stopped beating.

        A job waits while another of its project, kind and key runs or is paused, and one of a labeler while any other
        of that labeler runs: two at once would pay for the same calls twice.
        """
        same = Job.objects.filter(project=OuterRef("project"), kind=OuterRef("kind"))
        running = same.filter(state=Job.State.RUNNING, lease_until__gte=now()).filter(
            Q(key=OuterRef("key")) | Q(kind=Job.Kind.LABEL, parameters__labeler=OuterRef("parameters__labeler"))
        )
        paused = same.filter(state=Job.State.PAUSED, key=OuterRef("key"))
        abandoned = Q(state=Job.State.RUNNING, lease_until__lt=now(), pause_requested=False)
        can_begin = Q(state=Job.State.WAITING) | abandoned
        return self.filter(can_begin, ~Exists(running), ~Exists(paused), cancel_requested=False)

    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def stop_abandoned(self) -> int:
        """End cancelled jobs, and put paused ones aside, whose worker died before it could stop; gives how many."""
        abandoned = self.filter(state=Job.State.RUNNING, lease_until__lt=now())
        ended = abandoned.filter(cancel_requested=True).update(
            state=Job.State.CANCELLED, ended_at=now(), lease_until=None
        )
        paused = abandoned.filter(cancel_requested=False, pause_requested=True)
        return ended + paused.update(state=Job.State.PAUSED, pause_requested=False, lease_until=None)

    def give_up(self) -> int:
        """End jobs that were begun too often without coming to an end; gives how many."""
        words = gettext(
            "It was begun %(times)s times and its worker died each time. The log of the worker tells why (too little "
            "memory is the usual cause). Once that is mended, ask for it again."
        )
        hopeless = list(self.due().filter(attempts__gte=MAX_ATTEMPTS).select_for_update(no_key=True, skip_locked=True))
        for job in hopeless:
            job.announce_failure()
        return self.filter(pk__in=[job.pk for job in hopeless]).update(
            state=Job.State.FAILED,
            message=words % {"times": MAX_ATTEMPTS},
            ended_at=now(),
            lease_until=None,
        )

    def ask(
        self, project: Project, kind: str, *, key: str = "", by: User | None = None, queue: str = "", **parameters: Any
    ) -> Job:
        """For a person's click: the job of this kind and key that waits, runs or is paused, made if there is none."""
        asked = self.asked_already(project, kind, key)
        return asked or self.request(project, kind, key=key, by=by, queue=queue, **parameters)

    def asked_already(self, project: Project, kind: str, key: str = "") -> Job | None:
        """What `ask` would give without making one."""
        same = self.unfinished().filter(project=project, kind=kind, key=key, cancel_requested=False)
        return same.order_by("id").first()

    @transaction.atomic
    def request(
        self, project: Project, kind: str, *, key: str = "", by: User | None = None, queue: str = "", **parameters: Any
    ) -> Job:
        """The waiting job of this kind and key, made if there is none: asking twice asks once.

        One that runs already does not count: it may have read what it works on before the caller stored something.
        Nor does a paused one: the new one waits until that is resumed, which then does the work of both, or cancelled.
        The row stays locked until the caller's transaction ends, so that no worker begins before it can see that.
        """
        job, _created = self.select_for_update(no_key=True).get_or_create(
            project=project,
            kind=kind,
            key=key,
            state=Job.State.WAITING,
            defaults={"parameters": parameters, "requested_by": by, "queue": queue},
        )
        return job

    @transaction.atomic
    def claim(self, kind: str, queue: str = "") -> Job | None:
        """Take the oldest due job of `kind` and `queue`, or None. Two workers never get the same one."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        self.filter(kind=kind).stop_abandoned()
        self.filter(kind=kind).give_up()
        job = (
            self.due()
            .filter(kind=kind, queue=queue)
            .order_by("id")
            .select_for_update(no_key=True, skip_locked=True)
            .first()
        )
        if job:
            job.state, job.claim, job.attempts = Job.State.RUNNING, uuid.uuid4(), job.attempts + 1
            job.started_at, job.lease_until = now(), now() + LEASE
            job.save(update_fields=["state", "claim", "attempts", "started_at", "lease_until"])
        return job


class Job(models.Model):
    """One piece of long work, with its progress. Workers claim it by a lease; the database is the truth."""

    class Kind(models.TextChoices):
        INGEST = "ingest", _("Import")
        FEATURISE = "featurise", _("Features")
        LABEL = "label", _("AI labels")
        RETRAIN = "retrain", _("Performance model")
        ROUTE = "route", _("Plan")
        EXPORT = "export", _("Export")
        GENERATE = "generate", _("Responses")
        CHECK = "check", _("Labeler report")
        PAIRS = "pairs", _("Pairs of responses")
        TAG = "tag", _("Prompt tags")
        MEASURE = "measure", _("Reward models of mixtures")
        BACKTEST = "backtest", _("Backtest")
        FETCH = "fetch", _("Public data set")
        PUSH = "push", _("Push to a hub")
        CHANGES = "changes", _("Difference of versions")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        PAUSED = "paused", _("Paused")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(Project, models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=12, choices=Kind)
    key = models.CharField(max_length=120, blank=True)
    # "gpu" for what needs a model in memory: claimed by workers that may hold one, and by no other.
    queue = models.CharField(max_length=10, blank=True)
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    progress = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    message = models.TextField(blank=True)
    # For failed jobs: {"errors": [{"line", "field", "reason"}, …], "more": n} or {"reason": str};
    # for done ones what was made, e.g. {"plan": its number}.
    result = models.JSONField(default=dict)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    lease_until = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()
    # When this process last called `beat`, by the monotonic clock.
    beaten_at = 0.0

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind", "key"],
                condition=Q(state="waiting"),
                name="job_one_waiting_a_key",
            )
        ]
        indexes = [models.Index(fields=["kind", "id"], name="job_due", condition=Q(state__in=("waiting", "running")))]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    def _mine(self) -> models.QuerySet[Job]:
        return Job.objects.filter(pk=self.pk, claim=self.claim, state=Job.State.RUNNING)

    def beat(self, progress: int, total: int, message: str = "", result: dict[str, Any] | None = None) -> None:
        """Keep the lease and show progress, with what is known so far as `result` for pages that show it.

        Raises JobPaused when paused, JobCancelled when cancelled or taken over.
        """
        self.beaten_at = time.monotonic()
        shown: dict[str, Any] = {"progress": progress, "total": total, "message": storable(message)}
        if result is not None:
            shown["result"] = storable(result)
        going_on = self._mine().filter(cancel_requested=False, pause_requested=False)
        if not going_on.update(**shown, lease_until=now() + LEASE):
            # Ours and not cancelled: paused, or resumed since; `put_aside` looks again.
            ours = self._mine().filter(cancel_requested=False).exists()
            raise (JobPaused if ours else JobCancelled)(str(self))

    def renew(self) -> bool:
        """Keep the lease and nothing else; False when the job has ended or was taken over."""
        return bool(self._mine().update(lease_until=now() + LEASE))

    def still_mine(self) -> None:
        """To be called last in the transaction that stores a result: nobody takes the job over until that commits.

        Raises JobCancelled when it was cancelled or taken over.
        """
        mine = self._mine().filter(cancel_requested=False).select_for_update(no_key=True)
        if not mine.values_list("pk", flat=True).first():
            raise JobCancelled(str(self))

    @transaction.atomic
    def finish(self, state: str, message: str = "", **result: Any) -> None:
        """End the job. What it says is stored whatever it quotes: a job that cannot say how it ended never ends.

        Without a `result` the one of its last beat stays.
        """
        said = {"result": storable(result)} if result else {}
        ended = self._mine().update(state=state, message=storable(message), **said, ended_at=now(), lease_until=None)
        if ended and state == Job.State.FAILED:
            self.announce_failure()

    def announce_failure(self) -> None:
        """In the transaction that ends it. What it says may quote texts, so only its address goes out."""
        data = {"job": self.pk, "kind": self.kind, "url": f"/api/v1/projects/{self.project_id}/jobs/{self.pk}"}
        Delivery.objects.announce(self.project_id, Webhook.Event.FAILED, data)

    @transaction.atomic
    def put_aside(self) -> None:
        """What its worker does after JobPaused. One that was cancelled or resumed meanwhile ends or waits instead."""
        mine = self._mine().select_for_update(no_key=True)
        for job in mine:
            if job.cancel_requested:
                job.finish(Job.State.CANCELLED)
            elif job.pause_requested:
                mine.update(state=Job.State.PAUSED, pause_requested=False, lease_until=None)
            else:
                self._withdraw_twin()
                mine.update(state=Job.State.WAITING, lease_until=None, attempts=0)

    def cancel(self) -> None:
        """A waiting or paused job ends at once, and so does one whose worker died; a running one at its next beat."""
        Job.objects.filter(pk=self.pk, state__in=(Job.State.WAITING, Job.State.PAUSED)).update(
            state=Job.State.CANCELLED, cancel_requested=True, ended_at=now()
        )
        Job.objects.filter(pk=self.pk, state=Job.State.RUNNING).update(cancel_requested=True)
        Job.objects.filter(pk=self.pk).stop_abandoned()

    def pause(self) -> bool:
        """A waiting job is put aside at once, a running one at its next beat; False for one that cannot be paused.

        The pause is written down before its worker hears of it, so a worker that dies meanwhile changes nothing.
        """
        this = Job.objects.filter(pk=self.pk, kind__in=PAUSABLE, cancel_requested=False)
        stopped = this.filter(state=Job.State.WAITING).update(state=Job.State.PAUSED)
        stopped += this.filter(state=Job.State.RUNNING).update(pause_requested=True)
        this.stop_abandoned()
        return bool(stopped)

    @transaction.atomic
    def resume(self) -> bool:
        """A paused job waits for a worker again; False when it is not paused.

        One that was asked for while it was paused has the same to do and is withdrawn: only one of a key can wait.
        """
        this = Job.objects.filter(pk=self.pk)
        if this.filter(state=Job.State.RUNNING).update(pause_requested=False):
            return True
        if not this.filter(state=Job.State.PAUSED).select_for_update(no_key=True).exists():
            return False
        self._withdraw_twin()
        # Its worker did not die, so it may be begun as often as a new one.
        return bool(this.update(state=Job.State.WAITING, attempts=0))

    def _withdraw_twin(self) -> None:
        twin = Job.objects.filter(project=self.project_id, kind=self.kind, key=self.key, state=Job.State.WAITING)
        twin.update(state=Job.State.CANCELLED, cancel_requested=True, ended_at=now())


UNFINISHED = (Job.State.WAITING, Job.State.RUNNING, Job.State.PAUSED)
# Work that goes on from where it stopped, because each part of it is stored as it is done.
PAUSABLE = (Job.Kind.LABEL, Job.Kind.GENERATE, Job.Kind.TAG, Job.Kind.BACKTEST, Job.Kind.MEASURE)
