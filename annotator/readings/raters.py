"""What exports call those who judged, and what they tell of an AI labeler: never a name, an address or a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotator.models import LabelerVersion, Rater

# Words in a labeler's parameters that name a place or a secret rather than what was asked of the model.
PRIVATE = ("url", "key", "token", "secret", "header", "password", "host")


@dataclass(frozen=True)
class Known:
    """A rater as exports show it."""

    rater: Rater
    name: str
    is_person: bool
    is_expert: bool


def identity(rater: Rater, judgment: int) -> int:
    """One number a person; people without a name share a rater, so there each judgment is its own."""
    return -judgment if is_anonymous(rater) else rater.pk


def is_anonymous(rater: Rater) -> bool:
    """Whether it stands for several people whose source did not name them."""
    return rater.kind == Rater.Kind.PERSON and not rater.user_id and not rater.external_id


def pseudonym(rater: Rater) -> str:
    """What exports call a rater: never a name, an account or a worker id; the same in every export of the project."""
    version: LabelerVersion | None = rater.labeler_version
    if version:
        return f"{version.labeler.name}@{version.digest[:12]}"
    return rater.pseudonym


def public(parameters: dict[str, Any]) -> dict[str, Any]:
    """A labeler's parameters without addresses and secrets."""
    return {name: value for name, value in parameters.items() if not any(word in name.lower() for word in PRIVATE)}
