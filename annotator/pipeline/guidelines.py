"""Guidelines: a changed text is a new version, which annotators are told of and may have to acknowledge."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Greatest

from annotator.models import Guidelines, Project, Rater, Standing, User


class Outdated(Exception):
    """The text was written from a version that is not the newest any more; `newest` is."""

    def __init__(self, newest: Guidelines) -> None:
        super().__init__(f"guidelines are at version {newest.version}")
        self.newest = newest


def first_version(project: Project, author: User) -> Guidelines:
    """The version that a new project starts with. Needs the transaction that makes the project."""
    return Guidelines.objects.create(
        project=project, version=project.guidelines_version, text=project.guidelines, created_by=author
    )


@transaction.atomic
def publish(
    project: Project, text: str, *, author: User, change_note: str = "", must_acknowledge: bool = False, base: int
) -> Guidelines:
    """Make `text`, written from version `base`, the newest version; the newest itself when it says the same already.

    The project's own copy follows in the same transaction. Raises Outdated, and then nothing has changed.
    """
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    newest = _stored(locked)
    if newest.text == text:
        return newest
    if newest.version != base:
        raise Outdated(newest)
    published = Guidelines.objects.create(
        project=locked,
        version=newest.version + 1,
        text=text,
        change_note=change_note,
        must_acknowledge=must_acknowledge,
        created_by=author,
    )
    locked.guidelines, locked.guidelines_version = text, published.version
    locked.save(update_fields=["guidelines", "guidelines_version"])
    project.guidelines, project.guidelines_version = text, published.version
    return published


def _stored(project: Project) -> Guidelines:
    """The newest version; a project's own copy becomes one where it is newer than what is stored."""
    newest = project.guidelines_versions.order_by("-version").first()
    if newest is None or newest.version < project.guidelines_version:
        return Guidelines.objects.create(project=project, version=project.guidelines_version, text=project.guidelines)
    return newest


def acknowledge(rater: Rater, version: int) -> None:
    """`rater` has read `version`; an older one takes nothing back, and none is read before it is there."""
    read = min(version, rater.project.guidelines_version)
    Standing.objects.get_or_create(rater=rater)
    Standing.objects.filter(rater=rater).update(acknowledged=Greatest("acknowledged", read))
