"""Files of exports in storage: there once a finished export names them, and else taken back or swept up.

All lie under `exports/<project>/<number>-<format>-<digits of the manifest's sha256>/`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from django.core.files import File
from django.core.files.storage import default_storage
from django.utils.timezone import now

from annotator.models import Export, Job, JobCancelled

logger = logging.getLogger(__name__)

# What nobody has finished for so long is left over.
SWEEP = timedelta(days=1)


def folder(export: Export, sha256: str) -> str:
    return f"exports/{export.project_id}/{export.number}-{export.format}-{sha256[:12]}"


@dataclass
class Shelf:
    """What has been put into storage."""

    addresses: list[str] = field(default_factory=list)

    def put(self, address: str, path: Path) -> str:
        """The address under which the file at `path` lies then."""
        self.addresses.append(address)
        self.addresses[-1] = store(address, path)
        return self.addresses[-1]


def store(address: str, path: Path) -> str:
    if default_storage.exists(address):  # left by a run that died here
        default_storage.delete(address)
    with path.open("rb") as content:
        return default_storage.save(address, File(content))


@contextmanager
def storing(export: Export, job: Job | None) -> Iterator[Shelf]:
    """What is put on the shelf goes again unless the export is finished at the end.

    It stays when another worker has taken the job over: that one stores the same files there. What cannot be deleted
    now, because storage or database are away or this process is killed, goes with the next sweep.
    """
    shelf = Shelf()
    try:
        yield shelf
    except BaseException as error:
        if not (isinstance(error, JobCancelled) and job and not _is_cancelled(job)):
            _take_back(export, shelf)
        raise


def _is_cancelled(job: Job) -> bool:
    return Job.objects.filter(pk=job.pk, cancel_requested=True).exists()


def _take_back(export: Export, shelf: Shelf) -> None:
    try:
        if not Export.objects.filter(pk=export.pk, completed_at__isnull=False).exists():
            for address in shelf.addresses:
                default_storage.delete(address)
    except Exception:  # what ended the job is what its reader must be told
        logger.exception("files of %s stay in storage until the sweep", export)


def sweep() -> None:
    """For the tick: delete what killed processes have left in storage."""
    for project in _folders("exports"):
        for name in _folders(f"exports/{project}"):
            if name.partition("-")[0].isdecimal() and project.isdecimal():
                _sweep(int(project), int(name.partition("-")[0]), f"exports/{project}/{name}")


def _folders(address: str) -> list[str]:
    try:
        return list(default_storage.listdir(address)[0])
    except FileNotFoundError:
        return []


def _sweep(project: int, number: int, base: str) -> None:
    """Delete a folder that no finished export names and that nobody has written into for SWEEP."""
    finished = Export.objects.filter(project=project, number=number, completed_at__isnull=False)
    for files in finished.values_list("files", flat=True):
        if any(file["address"].startswith(f"{base}/") for file in files):
            return
    addresses = list(_files(base))
    if all(default_storage.get_modified_time(address) < now() - SWEEP for address in addresses):
        for address in addresses:
            default_storage.delete(address)


def _files(base: str) -> Iterator[str]:
    folders, files = default_storage.listdir(base)
    for name in files:
        yield f"{base}/{name}"
    for name in folders:
        yield from _files(f"{base}/{name}")
