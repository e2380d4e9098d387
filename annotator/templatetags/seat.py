"""What the annotator's page needs beside its context."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from django import template
from django.template.loader import render_to_string
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext_lazy

from annotator import protocols, rendering
from annotator.forms import answer

register = template.Library()

# What a script counts. Each language has its own forms; the script learns which is whose from these numbers.
COUNTED = {
    "words": ngettext_lazy("{} word", "{} words"),
    "same": ngettext_lazy("identical for {} word", "identical for {} words"),
    "longer": ngettext_lazy("{} more character", "{} more characters"),
    "worked": ngettext_lazy("{} minute since your last pause", "{} minutes since your last pause"),
}
SAMPLES = (0, 1, 2, 3, 5, 11, 100)


class Side(Protocol):
    letter: str
    text: str


@register.simple_tag
def answer_controls(definition: protocols.Definition, given: Mapping[str, Any], sides: int = 2) -> SafeString:
    """The controls of the form. An untouched form is the same for everybody, so it is made once a process."""
    return _controls(definition, given, sides) if given else _untouched(definition, sides, get_language())


@lru_cache(maxsize=128)
def _untouched(definition: protocols.Definition, sides: int, _language: str | None) -> SafeString:
    return _controls(definition, {}, sides)


def _controls(definition: protocols.Definition, given: Mapping[str, Any], sides: int) -> SafeString:
    return render_to_string("annotate/_controls.html", {"form": answer.build(definition, given, sides)})


@register.simple_tag
def stored_texts(definition: protocols.Definition, sides: Iterable[Side]) -> SafeString:
    """The responses exactly as stored, for protocols that mark or edit them; HTML itself would change line ends."""
    if definition.spans is None and definition.edit == "none":
        return SafeString("")
    data = json_script({side.letter.lower(): side.text for side in sides})
    return SafeString(data.replace("<script ", '<script class="stored-texts" ', 1))


@register.simple_tag
def counted(name: str) -> str:
    """The forms of one of COUNTED as JSON: {a number of each kind that any language tells apart: its form}."""
    return json.dumps({number: COUNTED[name] % number for number in SAMPLES}, ensure_ascii=False)


@register.simple_tag
def client_id() -> str:
    """A submission's own id: whoever sends it again sends the same."""
    return str(uuid.uuid4())


@register.filter
def markdown(text: str) -> SafeString:
    return rendering.to_html(text)
