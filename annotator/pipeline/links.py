"""Links to an export's files that need no login: signed, for one day, and no longer than their maker may read.

A link names one file (or all as one zip) and who made it. It has a row, so that its maker and leads see which are live
and take one back by itself; the address is in no row, so whoever reads the database has no link by that. What is asked
at every use is whether the row and the export are still there, the maker still a reader of the project, and everybody
the export tells something of still agrees.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from django.core import signing
from django.db.models import Count, Q, QuerySet
from django.utils.timezone import now

from annotator.models import Export, ExportLink, Project, Role, User
from annotator.readings import consent

SALT = "annotator.links"
KEPT = timedelta(days=1)
READERS = (Role.LEAD, Role.REVIEWER, Role.VIEWER)


class Made(NamedTuple):
    """`token` is the signed part of the address, which nothing shows again."""

    link: ExportLink
    token: str


def make(export: Export, name: str, maker: User) -> Made:
    """A link to the file `name`, or without one to all.

    Raises ValueError for a file that the export does not have, Withdrawn for an export that may not leave any more.
    """
    if name and name not in {file["name"] for file in export.files}:
        raise ValueError(f"{name}: no such file in {export}")
    consent.refuse_withdrawn(export)
    export.links.filter(until__lt=now()).delete()
    link = ExportLink.objects.create(export=export, name=name, maker=maker, until=now() + KEPT)
    return Made(link, signing.dumps(link.key.hex, salt=SALT))


def of(export: Export, user: User) -> QuerySet[ExportLink]:
    """Links to the export that a reader of its project sees and takes back: a lead all, whoever else their own."""
    return export.links.filter(_whose(export.project_id, user))


def live(export: Export, user: User) -> QuerySet[ExportLink]:
    """Of these the ones that are not over, the newest first."""
    return of(export, user).filter(until__gte=now()).select_related("maker").order_by("-pk")


def numbers(project: Project, exports: Collection[Export], user: User) -> dict[int, int]:
    """{export: live links that `user` sees}, without those that have none."""
    rows = ExportLink.objects.filter(_whose(project.pk, user), export__in=exports, until__gte=now())
    return {row["export"]: row["n"] for row in rows.order_by().values("export").annotate(n=Count("pk"))}


def _whose(project_id: int, user: User) -> Q:
    is_lead = Project.objects.of(user, Role.LEAD).filter(pk=project_id).exists()
    return Q() if is_lead else Q(maker=user)


def take_back(link: ExportLink) -> None:
    """The link leads nowhere from now on; a download that has begun goes on."""
    link.delete()


def follow(token: str) -> ExportLink | None:
    """The link, when it leads somewhere now; None when it is over, taken back, not ours, or its maker may not read.

    Nor to an export that tells of people who have withdrawn their consent since.
    """
    try:
        key = signing.loads(token, salt=SALT, max_age=KEPT)
    except signing.BadSignature:
        return None
    # Links of versions before this one held more than a key, and no row: they are over with the upgrade.
    found = ExportLink.objects.filter(key=key) if isinstance(key, str) else ExportLink.objects.none()
    link = found.filter(until__gte=now(), export__completed_at__isnull=False).select_related("export__project").first()
    if link is None or not _may_read(link) or consent.withdrawn(link.export):
        return None
    return link


def _may_read(link: ExportLink) -> bool:
    maker = User.objects.filter(pk=link.maker_id, is_active=True).first()
    return maker is not None and Project.objects.of(maker, *READERS).filter(pk=link.export.project_id).exists()
