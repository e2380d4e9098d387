"""Whether what people told of themselves may still leave with an export that holds it.

The export keeps in its manifest whose profiles it was written with; what counts is who agrees now.
"""

from __future__ import annotations

from annotator.models import Export, Profile
from annotator.readings.snapshot import pseudonym


def told(export: Export) -> list[str]:
    """Pseudonyms of the people whose profiles the export was written with."""
    names: list[str] = export.manifest.get("counted", {}).get("profiles", [])
    return names


def withdrawn(export: Export) -> list[str]:
    """Those of them who do not agree any more."""
    names = told(export)
    if not names:
        return []
    agreed = Profile.objects.agreed().filter(rater__project=export.project_id)
    agreeing = {pseudonym(profile.rater) for profile in agreed.select_related("rater__labeler_version")}
    return [name for name in names if name not in agreeing]
