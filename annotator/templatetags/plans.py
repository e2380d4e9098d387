"""Words of the plan's pages."""

from __future__ import annotations

from django import template

from annotator.forms.plans import WORDS
from annotator.readings import performance, plan
from annotator.templatetags.switchyard import share

register = template.Library()


@register.filter
def source(name: str) -> str:
    """A source as a sentence names it."""
    return plan.words(name)


@register.filter
def strategy(name: str) -> str:
    """How a plan chose, in the words of the form that asks for one."""
    return str(WORDS.get(name, name.replace("_", " ")))


@register.filter
def kind(name: str) -> str:
    """A kind of performance model, in words."""
    return performance.kind_words(name)


@register.filter
def signed(value: float | None) -> str:
    """A difference of two performances, with its sign where it is not nothing."""
    if value is None:
        return "–"
    words = f"{value:+.2f}"
    return words[1:] if float(words) == 0 else words.replace("-", "−")


@register.filter
def minus(number: str) -> str:
    """A formatted number with a real minus sign."""
    return number.replace("-", "−")


@register.filter
def rest(fraction: float) -> str:
    """What is left of the whole, in percent."""
    return share(1 - fraction)
