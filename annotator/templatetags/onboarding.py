"""What leads see of the onboarding on the people page."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

from annotator.models import Standards
from annotator.pipeline.onboarding import due_version
from annotator.readings import onboarding

register = template.Library()


@register.inclusion_tag("onboarding/_people.html", takes_context=True)
def onboarding_people(context: Context) -> dict[str, Any]:
    project = context["project"]
    if not onboarding.is_asked(project):
        return {"people": None}
    return {
        "project": project,
        "standards": Standards.of(project),
        "people": onboarding.people(project, due_version(project)),
    }
