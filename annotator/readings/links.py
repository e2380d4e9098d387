"""Links to an export's files that need no login: signed, for one day, and no longer than their maker may read.

A link names one file (or all as one zip) and who made it. Nothing is stored; what is asked at every use is whether the
export is still there, its maker still a reader of the project, and everybody it tells something of still agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core import signing

from annotator.models import Export, Project, Role, User
from annotator.readings import consent

SALT = "annotator.links"
KEPT = timedelta(days=1)
READERS = (Role.LEAD, Role.REVIEWER, Role.VIEWER)


@dataclass(frozen=True)
class Linked:
    """What a link leads to; without `name` to all files."""

    export: Export
    name: str


def token(export: Export, name: str, maker: User) -> str:
    """The signed part of a link. Raises ValueError for a file that the export does not have."""
    if name and name not in {file["name"] for file in export.files}:
        raise ValueError(f"{name}: no such file in {export}")
    return signing.dumps([export.pk, name, maker.pk], salt=SALT)


def follow(token: str) -> Linked | None:
    """What the link leads to now; None when it is too old, not ours, or its maker may not read the project any more.

    Nor to an export that tells of people who have withdrawn their consent since.
    """
    try:
        pk, name, maker = signing.loads(token, salt=SALT, max_age=KEPT)
    except (signing.BadSignature, ValueError):
        return None
    export = Export.objects.filter(pk=pk, completed_at__isnull=False).select_related("project").first()
    if export is None or not _may_read(export.project, maker) or consent.withdrawn(export):
        return None
    return Linked(export, name)


def _may_read(project: Project, maker: Any) -> bool:
    user = User.objects.filter(pk=maker, is_active=True).first()
    return user is not None and Project.objects.of(user, *READERS).filter(pk=project.pk).exists()
