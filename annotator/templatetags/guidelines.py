"""The drawer beside the work, on every page that has the seat."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

from annotator.readings import guidelines

register = template.Library()


@register.inclusion_tag("guidelines/_drawer.html", takes_context=True)
def guidelines_drawer(context: Context) -> dict[str, Any]:
    project = context["project"]
    rater = project.raters.filter(user=context["user"]).first()
    return guidelines.drawer(project, rater, context.get("definition"))
