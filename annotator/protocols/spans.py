"""Passages marked in a response: where, what kind of error, how bad, and the passage itself.

Places count code points of the stored text, the end is exclusive. Passages may overlap: one sentence can be wrong and
hold a repetition; the same kind on the same passage is one mark. They are kept in the order of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from annotator.protocols.definition import SIDES, Choice, Definition
from annotator.protocols.refusal import AnswerInvalid

MOST = 200
COMMENT_MAX = 2_000


def check(definition: Definition, given: Any, texts: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The marks with their passages as `text`. Without `texts` a passage is taken as it is given (imports)."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise AnswerInvalid("spans", _("this is not a list"))
    if given and definition.spans is None:
        raise AnswerInvalid("spans", _("this protocol asks for no marked passages"))
    if len(given) > MOST:
        raise AnswerInvalid("spans", _("at most %(n)d passages can be marked") % {"n": MOST})
    spans = [_span(definition, span, f"spans.{place}", texts) for place, span in enumerate(given)]
    spans.sort(key=lambda span: (span["side"], span["start"], span["end"], span["type"]))
    once = {(span["side"], span["start"], span["end"], span["type"]): span for span in spans}
    return list(once.values())


def _span(definition: Definition, given: Any, name: str, texts: Mapping[str, str] | None) -> dict[str, Any]:
    kinds = definition.spans
    if kinds is None or not isinstance(given, Mapping):
        raise AnswerInvalid(name, _("this is not a marked passage"))
    side = given.get("side")
    if not isinstance(side, str) or side not in (texts if texts is not None else set(SIDES)):
        raise AnswerInvalid(name, _("the passage is in no response on screen"))
    start, end = _bounds(given, name, side, texts)
    return {
        "side": side,
        "start": start,
        "end": end,
        "type": _kind(given.get("type"), kinds.types, name, _("say what kind of error the marked passage is")),
        "severity": _kind(given.get("severity"), kinds.severities, name, _("say how bad the marked passage is")),
        "comment": _comment(given.get("comment"), name) if kinds.comment else "",
        "text": texts[side][start:end] if texts is not None else str(given.get("text") or ""),
    }


def _bounds(given: Mapping[str, Any], name: str, side: str, texts: Mapping[str, str] | None) -> tuple[int, int]:
    start, end = given.get("start"), given.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end:
        raise AnswerInvalid(name, _("a marked passage has a beginning and, after it, an end"))
    if texts is not None and end > len(texts[side]):
        raise AnswerInvalid(
            name, _("the passage ends behind the end of response %(letter)s") % {"letter": side.upper()}
        )
    return start, end


def _kind(key: Any, choices: tuple[Choice, ...], name: str, missing: str) -> str:
    """The key, when it is one of `choices`; "" where there is nothing to choose."""
    if not choices:
        return ""
    if not key:
        raise AnswerInvalid(name, missing)
    if key not in {choice.key for choice in choices}:
        raise AnswerInvalid(name, _("%(key)s cannot be said of a passage") % {"key": repr(key)})
    return str(key)


def _comment(words: Any, name: str) -> str:
    comment = str(words or "").strip()
    if len(comment) > COMMENT_MAX:
        raise AnswerInvalid(name, _("a comment has at most %(n)d characters") % {"n": COMMENT_MAX})
    return comment
