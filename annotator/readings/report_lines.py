"""A row of a report's tables and diagrams: a measure in words with its 95% interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import get_language_info, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _

Value = Mapping[str, Any]
# By `labelers.domains.DOMAINS`.
DOMAINS: dict[str, str | Promise] = {
    "safety": gettext_lazy("safety"),
    "reasoning": gettext_lazy("reasoning"),
    "chat": gettext_lazy("chat"),
}
# What stands between the parts of a list, and between the parts of a sentence that rank below its first.
COMMA = pgettext_lazy("between the parts of a list", ", ")
SEMICOLON = pgettext_lazy("between the parts of a sentence", "; ")


@dataclass(frozen=True)
class Line:
    """A row of a table: a measure in words with its 95% interval; `places` as `kind` wants it shown."""

    words: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None = None
    # "share" (in percent) or "score".
    kind: str = "share"


def line(words: str, value: Value, kind: str = "share") -> Line:
    return Line(words, value["value"], value["low"], value["high"], value["n"], kind)


def difference(words: str, found: Value, kind: str = "points") -> Line:
    return Line(words, found["difference"], found["low"], found["high"], found["n"], kind)


def domain(key: str) -> str:
    """A domain in words; one that the site does not know is shown by its key."""
    return str(DOMAINS.get(key, key)) if key else "–"


def language(code: str) -> str:
    """A language by its name in the reader's language; `code` is ISO 639-1, "other" (rare ones together) or ""."""
    # Django knows Chinese by its scripts alone.
    known = {"": "–", "other": _("other languages"), "zh": _("Chinese")}
    if code in known:
        return known[code]
    try:
        return str(get_language_info(code)["name_translated"])
    except KeyError:
        return code


def listed(parts: Iterable[str]) -> str:
    return str(COMMA).join(parts)
