"""The YAML header of a data set's card, as who wrote the card is not trusted: no aliases, bounded in size and depth.

An alias repeats what stands elsewhere, so three hundred bytes may stand for a million entries.
"""

from __future__ import annotations

from typing import Any

import yaml

# Bytes of a card, entries of its header, and how deep they may be nested; cards of hundreds of sets have less.
LONGEST = 4 * 2**20
MOST_ENTRIES = 200_000
DEEPEST = 30

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HeaderRefused(ValueError):
    """The header cannot be read; the message says why."""


def header(card: str) -> dict[str, Any]:
    """What stands between the card's two lines of dashes, found as the package `datasets` finds it; {} if nothing."""
    lines = card.removeprefix("\ufeff").splitlines()
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return {}
    return read("\n".join(lines[1 : lines.index("---", 1)]))


def read(text: str) -> dict[str, Any]:
    """A YAML mapping; {} when it is something else. Raises HeaderRefused."""
    if len(text) > LONGEST:
        raise HeaderRefused(f"it is longer than {LONGEST // 2**20} MB")
    try:
        _check(text)
        found = yaml.load(text, _LOADER)  # noqa: S506 - a safe loader
    except HeaderRefused:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise HeaderRefused(" ".join(str(error).split())) from error
    return found if isinstance(found, dict) else {}


def _check(text: str) -> None:
    """Raises HeaderRefused before anything is made of the text."""
    depth = 0
    for entries, event in enumerate(yaml.parse(text, _LOADER)):
        if isinstance(event, yaml.AliasEvent):
            raise HeaderRefused("it has aliases (*name), which are not read")
        if isinstance(event, yaml.CollectionStartEvent | yaml.CollectionEndEvent):
            depth += 1 if isinstance(event, yaml.CollectionStartEvent) else -1
        if depth > DEEPEST or entries > MOST_ENTRIES:
            raise HeaderRefused(f"it holds more than {MOST_ENTRIES:,} entries, or some nested {DEEPEST} deep")
