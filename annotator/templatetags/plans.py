"""Words of the plan's pages."""

from __future__ import annotations

from django import template

from annotator.readings import plan
from annotator.templatetags.switchyard import share

register = template.Library()


@register.filter
def source(name: str) -> str:
    """A source as a sentence names it."""
    return plan.words(name)


@register.filter
def signed(value: float | None) -> str:
    """A difference of two performances, always with its sign."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


@register.filter
def rest(fraction: float) -> str:
    """What is left of the whole, in percent."""
    return share(1 - fraction)
