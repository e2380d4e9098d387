"""Taggers: models that say what a prompt is like, by the definitions of `routing.tags`. The job is `tag`.

A tagger is an operation (`operations`); its version's digest holds the model, how it is asked and the definitions.
Without one the words of a prompt decide (`routing.tag_keywords`), which costs nothing and asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from annotator.models import Labeler, LabelerVersion, Project, Prompt, User
from annotator.pipeline import keys, operations, versions
from labelers.base import Prices
from labelers.tagger import Tagger
from routing import tag_keywords, tags

# What the words of a prompt are tagged with, in place of a version's digest.
KEYWORDS = f"{tag_keywords.VERSION} {tags.version()}"
# The parameter by which a version names the definitions it was told.
DEFINITIONS = "definitions"


def add(
    project: Project,
    name: str,
    price: Prices,
    chosen: Mapping[str, Any],
    key: keys.Key = keys.NO_KEY,
    *,
    by: User | None = None,
) -> Labeler:
    """A new tagger of the project. Raises StepRefused for an endpoint, a key or a name that cannot be used."""
    told = {**chosen, DEFINITIONS: tags.version()}
    return operations.add(project, Labeler.TAGGER, name, price, told, key, Tagger.CODE_VERSION, by)


def current_version(labeler: Labeler) -> LabelerVersion:
    """The version that tags now; code or definitions that changed since make a new one."""
    parameters = {**labeler.version.parameters, DEFINITIONS: tags.version()}
    return operations.version_with(labeler, parameters, Tagger.CODE_VERSION)


def build(version: LabelerVersion) -> Tagger:
    """The tagger itself. Raises StepRefused when its endpoint or key may not be used, in words for the lead."""
    return unconnected(version, **versions.connection(version))


def unconnected(version: LabelerVersion, **connection: Any) -> Tagger:
    """Without its key and addresses: for what it would send and what that can cost, never for calls."""
    told = {name: value for name, value in versions.told(version).items() if name != DEFINITIONS}
    return Tagger(
        **told,
        instructions=tags.instructions(),
        schema=tags.schema(),
        read=tags.parse,
        prices=versions.prices(version.labeler),
        **connection,
    )


def sample_request(version: LabelerVersion, prompt: Prompt) -> str:
    """The messages of one call, as they would leave: for a lead to read before saying that they may."""
    return json.dumps(unconnected(version).messages(prompt), ensure_ascii=False, indent=2)
