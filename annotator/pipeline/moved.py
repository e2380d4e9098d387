"""What a plan moved since the one before it: counted once, when its routes are stored, and read by its page."""

from __future__ import annotations

from dataclasses import astuple

from annotator.models import Plan
from annotator.readings import plan_review


def keep(plan: Plan) -> None:
    """Store it in the plan's summary; nothing where no plan was made before it. To be called once its routes are."""
    before = plan_review.former(plan)
    if before is None:
        return
    rows = [list(astuple(row)) for row in plan_review.counted(before, plan)]
    plan.summary["moved"] = {"since": before.number, "rows": rows}
    plan.save(update_fields=["summary"])
