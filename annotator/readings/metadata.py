"""What a project's prompts and comparisons say of themselves: names and values to choose by."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from annotator.models import Project

# Only so many of the newest comparisons are looked at, so that a page costs the same however large the project is.
LOOKED_AT = 1000
# Names that are offered, and values of each: one with more tells rows apart rather than kinds of them.
NAMES, VALUES = 8, 30
LONGEST = 60


def known(project: Project) -> dict[str, list[str]]:
    """Values by name, as an export's filter compares them: of the names that most of the newest comparisons have."""
    newest = project.comparisons.order_by("-pk").values_list("metadata", "prompt__metadata", "prompt__domain")
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for metadata, of_prompt, domain in newest[:LOOKED_AT]:
        for name, value in {"domain": domain, **_texts(of_prompt), **_texts(metadata)}.items():
            if value:
                found[name][value] += 1
    choosable = {name: values for name, values in found.items() if len(values) <= VALUES}
    common = sorted(choosable, key=lambda name: (-choosable[name].total(), name))[:NAMES]
    return {name: sorted(choosable[name]) for name in sorted(common)}


def _texts(metadata: dict[str, Any]) -> dict[str, str]:
    """Those that are one short text."""
    texts = {name: value for name, value in metadata.items() if isinstance(value, str)}
    return {name: text for name, text in texts.items() if 0 < len(text) <= LONGEST and len(name) <= LONGEST}
