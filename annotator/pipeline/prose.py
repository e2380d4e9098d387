"""Whether a justification was pasted or may be a machine's: weak signs, worth a look and never more.

People paste quotations, dictate, and write like textbooks; a machine told to sound human is not found here. So these
only point a lead to single judgments, each with the signs that were seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A short quotation is no sign.
PASTED_CHARACTERS = 60
PASTED_SHARE = 0.5
# Fewer characters have no style.
STYLED_CHARACTERS = 160
# More characters a second than fast typists reach, held over a whole text.
TYPED_A_SECOND = 18
SIGNS_NEEDED = 2

_PHRASES = re.compile(
    r"\bas an ai\b|\bin conclusion\b|\bin summary\b|\boverall, (?:response|answer)\b|\bit(?:'|’)?s worth noting\b"
    r"|\bit is worth noting\b|\bit is important to note\b|\bdelves?\b|\bfurthermore\b|\bmoreover\b|\badditionally\b"
    r"|\bcomprehensive\b|\bnuanced\b|\bboth responses\b.{0,200}\bhowever\b",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(r"^\s*(?:[-*•] |\d+[.)] |#{1,4} )|\*\*[^*]+\*\*", re.MULTILINE)
_TYPOGRAPHY = re.compile("[—“”’…]")


def pasted(text: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What was seen when most of `text` was pasted; {} otherwise. `typed` is how it came to be, as the page saw it."""
    characters = min(_number(typed, "pasted"), len(text))
    if characters < PASTED_CHARACTERS or characters < PASTED_SHARE * len(text):
        return {}
    return {"pasted": characters, "of": len(text)}


def machine_written(text: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The signs in a longer text, when there are several; {} otherwise."""
    if len(text) < STYLED_CHARACTERS:
        return {}
    signs = {
        "phrases": sorted({match.group().lower()[:40] for match in _PHRASES.finditer(text)}),
        "markup": len(_MARKUP.findall(text)),
        "typography": len(_TYPOGRAPHY.findall(text)),
        "characters_a_second": _pace(text, typed),
    }
    seen = {
        "phrases": len(signs["phrases"]) >= 2,  # type: ignore[arg-type]
        "markup": signs["markup"] >= 2,  # type: ignore[operator]
        "typography": signs["typography"] >= 3,  # type: ignore[operator]
        "characters_a_second": signs["characters_a_second"] > TYPED_A_SECOND,  # type: ignore[operator]
    }
    return {key: signs[key] for key in signs if seen[key]} if sum(seen.values()) >= SIGNS_NEEDED else {}


def _pace(text: str, typed: Mapping[str, Any]) -> float:
    """Characters a second beside what was pasted; 0 where the page did not see it."""
    milliseconds = _number(typed, "ms")
    by_hand = len(text) - min(_number(typed, "pasted"), len(text))
    return round(1000 * by_hand / milliseconds, 1) if milliseconds else 0.0


def _number(typed: Mapping[str, Any], key: str) -> int:
    value = typed.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
