"""Push: an export's folder becomes a commit in a data set repository of a hub, once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import shared_task
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from annotator import stored
from annotator.models import Credential, Export, Job, Push, User
from annotator.pipeline import hub, keys, work
from annotator.readings import consent
from labelers import endpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "https://huggingface.co"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# Bytes between two signs of life.
BEAT = 2**20


@sensitive_variables("key")
def request_push(
    export: Export, address: str, repository: str, key: keys.Key, by: User | None, *, private: bool = True
) -> tuple[Push, Job]:
    """Ask for a push; asking twice before it has run gives the same one.

    Raises StepRefused, and stores nothing, when the hub may not be used, the token is for elsewhere, this very export
    lies in that repository already, or somebody whose profile it holds has withdrawn. Looks the host up, so not
    inside a transaction.
    """
    _refuse_withdrawn(export)
    place = hub.check(address)
    _refuse_target(export, place, repository, key)
    with transaction.atomic():
        Export.objects.select_for_update(no_key=True).get(pk=export.pk)
        asked = hashlib.sha256(f"{export.pk} {place} {repository}".encode()).hexdigest()
        if job := Job.objects.asked_already(export.project, Job.Kind.PUSH, asked):
            return Push.objects.get(pk=job.parameters["push"]), job
        credential = keys.store(export.project, place, key.typed, by=by) if key.typed else key.stored
        push, _created = Push.objects.update_or_create(
            export=export,
            hub=place,
            repository=repository,
            completed_at=None,
            defaults={"is_private": private, "credential": credential, "created_by": by},
        )
        job = Job.objects.request(export.project, Job.Kind.PUSH, key=asked, by=by, push=push.pk)
        transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.PUSH]))
    return push, job


@sensitive_variables("key")
def _refuse_target(export: Export, place: str, repository: str, key: keys.Key) -> None:
    if not REPOSITORY.fullmatch(repository):
        raise work.StepRefused(_("Repository: write owner/name, of letters, digits, dots, lines and underscores."))
    if done := export.pushes.filter(hub=place, repository=repository, completed_at__isnull=False).first():
        words = _("This export lies in %(repository)s already, as revision %(revision)s.")
        raise work.StepRefused(words % {"repository": repository, "revision": done.revision[:12]})
    if not key.typed and (key.stored is None or key.stored.place != endpoint.place(place)):
        raise work.StepRefused(_("Enter a token of %(place)s.") % {"place": endpoint.place(place)})


def _refuse_withdrawn(export: Export) -> None:
    if consent.withdrawn(export):
        raise work.StepRefused(
            _(
                "Somebody has withdrawn since what they told of themselves, and this export still holds it. "
                "Write a new version and publish that."
            )
        )


def write_push(push: Push, job: Job | None = None) -> Push:
    """Put the export's files into the repository; one that is there already is left as it is.

    A run that died after its commit finds the files there and makes no second one. Raises StepRefused with what the
    hub said, JobCancelled when cancelled.
    """
    push.refresh_from_db()
    if push.completed_at:
        return push
    if push.credential is None:
        raise work.StepRefused(_("The token of this push was forgotten meanwhile. Push again and enter one."))
    # Between the asking and now somebody may have.
    _refuse_withdrawn(push.export)
    with hub.talking_to(hub.check(push.hub), keys.open_sealed(push.credential.sealed)) as api:
        _open_repository(api, push)
        revision = _commit(api, push, job)
    with transaction.atomic():
        Push.objects.filter(pk=push.pk).update(revision=revision, completed_at=now())
        if job:
            job.still_mine()
    push.refresh_from_db()
    return push


def _open_repository(api: HfApi, push: Push) -> None:
    """Made where there is none. One that others can read is not used for what is to be private."""
    api.create_repo(push.repository, repo_type="dataset", private=push.is_private, exist_ok=True)
    if push.is_private and not api.repo_info(push.repository, repo_type="dataset").private:
        words = _("%(repository)s is there already and everybody can read it. Choose another, or push publicly.")
        raise work.StepRefused(words % {"repository": push.repository})


def _commit(api: HfApi, push: Push, job: Job | None) -> str:
    """The revision that holds the export's files, and none of those that only an earlier push of ours put there."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    export = push.export
    names = {file["name"] for file in export.files}
    there = set(api.list_repo_files(push.repository, repo_type="dataset"))
    operations: list[Any] = [CommitOperationDelete(name) for name in sorted(_ours(push) & there - names)]
    told = _Told(job, sum(file["bytes"] for file in export.files))
    with contextlib.ExitStack() as stack:
        for file in export.files:
            content = stack.enter_context(_reading(file["address"], told))
            addition = CommitOperationAdd(file["name"], content)
            told.begin(file["name"])
            api.preupload_lfs_files(push.repository, [addition], repo_type="dataset", num_threads=1)
            operations.append(addition)
        told.begin("")
        made = api.create_commit(
            push.repository,
            operations,
            commit_message=f"Export {export.number}: sha256 {export.sha256}",
            commit_description=f"Written by Switchyard from {export.project.name}, format {export.format}.",
            repo_type="dataset",
            num_threads=1,
        )
    return str(made.oid)


def _ours(push: Push) -> set[str]:
    """Names of files that pushes of this project put into the same repository."""
    earlier = Push.objects.filter(
        export__project=push.export.project_id, hub=push.hub, repository=push.repository, completed_at__isnull=False
    )
    return {file["name"] for files in earlier.values_list("export__files", flat=True) for file in files}


class _Told:
    """How many bytes went out, for the job's progress: files are read once for their hash and once to be sent."""

    def __init__(self, job: Job | None, size: int) -> None:
        self.job, self.size = job, size
        self.read, self.beaten, self.name = 0, 0, ""

    def begin(self, name: str) -> None:
        self.name = name
        self._beat()

    def add(self, number: int) -> None:
        self.read += number
        if self.read - self.beaten >= BEAT:
            self._beat()

    def _beat(self) -> None:
        self.beaten = self.read
        if self.job:
            self.job.beat(min(self.size, self.read // 2), self.size, self.name)


class _Reading(io.BufferedReader):
    """A file that tells how much of it was read. Raises JobCancelled from a read when its job was cancelled."""

    def __init__(self, path: Path, told: _Told) -> None:
        super().__init__(io.FileIO(path))
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._told.add(len(data))
        return data


@contextlib.contextmanager
def _reading(address: str, told: _Told) -> Iterator[_Reading]:
    # As an open file: paths would be sent by a program of the hub's own, past the checks of `pipeline.hub`.
    with stored.local(address) as path, _Reading(path, told) as content:
        yield content


def forget(credential: Credential) -> bool:
    """Delete a token that only pushes use; a push under way will say so. False where a labeler uses it as well."""
    return bool(Credential.objects.filter(pk=credential.pk, labelers=None, candidates=None).delete()[0])


def _push_job(job: Job) -> str:
    push = Push.objects.select_related("export__project", "credential").get(pk=job.parameters["push"])
    write_push(push, job)
    return _("export %(number)s is in %(repository)s, revision %(revision)s") % {
        "number": push.export.number,
        "repository": push.repository,
        "revision": push.revision[:12],
    }


@shared_task(name=work.TASKS[Job.Kind.PUSH])
def run_pushes() -> int:
    """Make the pushes that were asked for."""
    return work.work(Job.Kind.PUSH, _push_job)
