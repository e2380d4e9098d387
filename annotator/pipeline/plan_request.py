"""Asking for a plan: the job that makes one. Light: what makes plans loads NumPy and scikit-learn, this does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import transaction

from annotator.models import Job, Plan, Project, User
from annotator.pipeline import work


def ask(project: Project, budget: Decimal, strategy: str, seed: int, by: User | None) -> Job:
    """The job that makes the plan. Asking for the same plan twice while it is made asks once."""
    wanted: dict[str, Any] = {"strategy": strategy, "seed": seed, "budget": str(budget)}
    at_work = project.plans.filter(status=Plan.Status.APPROVED, is_seed_set=False).first()
    if at_work:  # what was judged and paid under it stays, and counts against the budget
        wanted["revises"] = at_work.number
    key = ":".join(str(wanted.get(name, "")) for name in ("budget", "strategy", "seed", "revises"))
    job = Job.objects.ask(project, Job.Kind.ROUTE, key=key, by=by, **wanted)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.ROUTE]))
    return job
