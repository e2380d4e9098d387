"""Operations: what models are asked that is no judgment (responses to prompts, tags of prompts).

An operation is a `Labeler` whose kind is one of `Labeler.OPERATIONS`: prices, key, versions and the word about what
leaves are as any labeler's. Its versions have no rater, because it judges nothing, and never change: for another model
another one is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotator.models import Job, JobCancelled, Labeler, LabelerVersion, Project, Reservation, User
from annotator.pipeline import keys, ledger, versions
from annotator.pipeline.work import StepRefused
from labelers.base import Prices, digest

# Jobs in which a labeler is asked.
RUNS = (Job.Kind.LABEL, Job.Kind.GENERATE, Job.Kind.TAG)


def add(
    project: Project,
    kind: str,
    name: str,
    price: Prices,
    chosen: Mapping[str, Any],
    key: keys.Key,
    code: int,
    by: User | None,
) -> Labeler:
    """A new one with its version. Raises StepRefused for an endpoint, a key or a name that cannot be used."""
    versions.check_endpoint(chosen["base_url"])
    with transaction.atomic():
        labeler = versions.new_labeler(project, kind, name, price)
        keys.give(labeler, version_with(labeler, chosen, code), key, by)
    return labeler


def version_with(labeler: Labeler, parameters: Mapping[str, Any], code: int) -> LabelerVersion:
    """The version with these parameters and today's code, made when it is new."""
    name = digest(labeler.kind, parameters, code=code)
    made = {"parameters": dict(parameters)}
    version, _created = LabelerVersion.objects.get_or_create(labeler=labeler, digest=name, defaults=made)
    return version


def set_enabled(labeler: Labeler, enabled: bool) -> None:
    """Switch anything that is asked on or off, judges too; off also cancels its unfinished runs.

    What it has said stays.
    """
    Labeler.objects.filter(pk=labeler.pk).update(enabled=enabled)
    if not enabled:
        for job in Job.objects.unfinished().filter(kind__in=RUNS, parameters__labeler=labeler.pk):
            job.cancel()


@contextmanager
def paid(
    job: Job, labeler: Labeler, words: Callable[[], str], stored: Callable[[], dict[str, Any]] = dict
) -> Iterator[Reservation | None]:
    """The run's own money, set aside under the job's key; what is left of it goes back when the run is over.

    A paused run keeps it. A refusal is told with what was done so far (`words`, and `stored` in its result).
    """
    reservation = _set_aside(job, labeler)
    try:
        yield reservation
    except JobCancelled:
        job.refresh_from_db()
        if reservation and job.cancel_requested:
            ledger.close(reservation)
        raise
    except StepRefused as refusal:
        if reservation:
            ledger.close(reservation)
        raise StepRefused(f"{refusal} ({words()})", **{**stored(), **refusal.result}) from None
    if reservation:
        ledger.close(reservation)


def _set_aside(job: Job, labeler: Labeler) -> Reservation | None:
    if labeler.is_free:
        return None
    if job.parameters.get("reserve") is None:
        raise StepRefused(
            _("%(name)s costs money, and none was set aside for this run. Start it again from its page.")
            % {"name": labeler.name}
        )
    return ledger.reserve(job.project, f"job:{job.pk}", Decimal(job.parameters["reserve"]), source=labeler.name)
