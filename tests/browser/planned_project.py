"""A project with a plan whose curve is stored, and a lead's session: what the planner's slider moves along."""

from __future__ import annotations

from typing import Any


def build() -> dict[str, Any]:
    """{"planner": address, "session": key}"""
    from django.urls import reverse

    from annotator.models import Plan
    from tests.browser import inside
    from tests.builders import make_comparison, make_member, make_plan, make_project
    from tests.plan_samples import SUMMARY

    project = make_project(name="Planned")
    lead = make_member(project, "lead")
    plan = make_plan(project, {make_comparison(project): None}, status="draft")
    Plan.objects.filter(pk=plan.pk).update(summary=SUMMARY, budget=15, predicted=0.71, low=0.69, high=0.73)
    return {"planner": reverse("plans", args=[project.pk]), "session": inside.sessions([lead.username])[0]}
