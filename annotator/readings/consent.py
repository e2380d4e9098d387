"""Whether what people told of themselves may still leave with an export that holds it.

The export keeps in its manifest whose profiles it was written with; what counts is who agrees now.
"""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext_lazy as _

from annotator.models import Export, Profile
from annotator.readings.raters import pseudonym

WORDS = _(
    "Somebody has withdrawn since what they told of themselves, and this export still holds it. It is not given out "
    "any more: export again, then it is left out."
)


class Withdrawn(Exception):
    """The export may not leave any more; WORDS say so to whoever asked for it."""


def told(export: Export) -> list[str]:
    """Pseudonyms of the people whose profiles the export was written with."""
    names: list[str] = export.manifest.get("counted", {}).get("profiles", [])
    return names


def withdrawn(export: Export) -> list[str]:
    """Those of them who do not agree any more."""
    names = told(export)
    return gone(export.project_id, names)


def gone(project_id: int, names: Collection[str]) -> list[str]:
    """Those of `names` who do not agree now."""
    if not names:
        return []
    agreed = Profile.objects.agreed().filter(rater__project=project_id)
    agreeing = {pseudonym(profile.rater) for profile in agreed.select_related("rater__labeler_version")}
    return [name for name in names if name not in agreeing]


def refuse_withdrawn(export: Export) -> None:
    """Raises Withdrawn for an export that tells of somebody who does not agree any more."""
    if withdrawn(export):
        raise Withdrawn(str(export))
