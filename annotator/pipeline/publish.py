"""A protocol is published: a new version beside the old ones. Judgments keep the version they answered."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from annotator import protocols
from annotator.models import Project, Protocol, User


class Unfit(Exception):
    """The definition cannot be published; `faults` say where and why."""

    def __init__(self, faults: list[protocols.Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


class Outdated(Exception):
    """Somebody else published since the version that was revised."""

    def __init__(self, newest: Protocol) -> None:
        super().__init__(f"version {newest.version} was published meanwhile")
        self.newest = newest


def publish(
    project: Project, definition: dict[str, Any], *, preset: str, author: User | None, base: int | None = None
) -> Protocol:
    """Ask by `definition` from the next comparison on. What asks the same already is returned as it is.

    `base`: the version it was made from. Raises Unfit; Outdated when another version was published since `base`.
    """
    found = protocols.faults(definition)
    if found:
        raise Unfit(found)
    with transaction.atomic():
        # One at a time: two leads would both make version n + 1.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        newest = project.protocols.order_by("-version").first()
        if newest and protocols.read(newest.definition) == protocols.read(definition):
            return newest
        if newest and base is not None and base != newest.version:
            raise Outdated(newest)
        return Protocol.objects.create(
            project=project,
            version=newest.version + 1 if newest else 1,
            preset=preset,
            definition=definition,
            created_by=author,
        )
