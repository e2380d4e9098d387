"""What the annotator's page needs beside its context."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from annotator import protocols, rendering
from annotator.forms import answer

register = template.Library()


@register.simple_tag
def answer_controls(definition: protocols.Definition, given: Mapping[str, Any]) -> SafeString:
    """The controls of the form. An untouched form is the same for everybody, so it is made once a process."""
    return _controls(definition, given) if given else _untouched(definition, get_language())


@lru_cache(maxsize=128)
def _untouched(definition: protocols.Definition, _language: str | None) -> SafeString:
    return _controls(definition, {})


def _controls(definition: protocols.Definition, given: Mapping[str, Any]) -> SafeString:
    return render_to_string("annotate/_controls.html", {"form": answer.build(definition, given)})


@register.simple_tag
def client_id() -> str:
    """A submission's own id: whoever sends it again sends the same."""
    return str(uuid.uuid4())


@register.filter
def markdown(text: str) -> SafeString:
    return rendering.to_html(text)
