"""Plans: ask for one, look at it, put it to work."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status

from annotator import access
from annotator.api.auth import READ, ROUTE, project_of
from annotator.api.exports import Strict, whole
from annotator.api.jobs import JobOut
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.api.problems import Refused
from annotator.forms.plans import PlanForm
from annotator.models import Plan
from annotator.pipeline import plan_request

router = Router(tags=["plans"])
SAME = (
    *("number", "status", "strategy", "budget", "cost", "cost_to_pay", "predicted", "low", "high", "seed"),
    *("is_seed_set", "occasion", "created_at", "approved_at"),
)


class PlanOut(Schema):
    number: int
    status: str
    strategy: str
    budget: Decimal
    cost: Decimal
    cost_to_pay: Decimal
    predicted: float | None
    low: float | None
    high: float | None
    seed: int
    is_seed_set: bool
    occasion: str
    performance_model: int | None
    revises: int | None
    created_at: datetime
    approved_at: datetime | None


class PlanIn(Strict):
    # Money is text here as in answers: exact, and the same in every language.
    budget: Annotated[str, Field(pattern=r"^[0-9]{1,8}(\.[0-9]{1,2})?$", examples=["100.00"])]
    # A name of docs/routing.md, "auto" for the cheapest that is predicted as good as the best.
    strategy: Annotated[str, Field(max_length=40)] = "auto"
    seed: whole(ge=0, le=2**31 - 1) = 0  # type: ignore[valid-type]


def shown(plan: Plan) -> PlanOut:
    return PlanOut(
        **{name: getattr(plan, name) for name in SAME},
        performance_model=plan.performance_model.version if plan.performance_model else None,
        revises=plan.revises.number if plan.revises else None,
    )


@router.get("/projects/{project_id}/plans", auth=READ, response=Page[PlanOut])
def list_plans(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Plans by number."""
    rows = project_of(request, project_id).plans.select_related("performance_model", "revises")
    return page(rows, "number", after, limit, shown)


@router.get("/projects/{project_id}/plans/{number}", auth=READ, response=PlanOut)
def get_plan(request: HttpRequest, project_id: Number, number: Number) -> PlanOut:
    """One plan."""
    rows = project_of(request, project_id).plans.select_related("performance_model", "revises")
    return shown(get_object_or_404(rows, number=number))


@router.post("/projects/{project_id}/plans", auth=ROUTE, response={202: JobOut})
def create_plan(request: HttpRequest, project_id: Number, asked: PlanIn) -> Status[JobOut]:
    """Ask for a plan, which is made in the background; the job's result names its number. It is a draft."""
    project = project_of(request, project_id, access.LEADS)
    offered = [name for name, _words in PlanForm.strategies(project)]
    if asked.strategy not in offered:
        reason = f"is none of {', '.join(offered)}"
        raise Refused(409, f"strategy {reason}", [{"field": "strategy", "reason": reason}])
    job = plan_request.ask(project, Decimal(asked.budget), asked.strategy, asked.seed, request.user)  # type: ignore[arg-type]
    return Status(202, job_shown(job))


@router.post("/projects/{project_id}/plans/{number}/approve", auth=ROUTE, response=PlanOut)
def approve_plan(request: HttpRequest, project_id: Number, number: Number) -> PlanOut:
    """Put a draft to work: its money is set aside and its work handed out. Again changes nothing."""
    project = project_of(request, project_id, access.LEADS)
    plan = get_object_or_404(project.plans.select_related("performance_model", "revises"), number=number)
    # Not at the top: routing loads NumPy and scikit-learn, which no other address needs.
    from annotator.pipeline import route

    return shown(route.approve(plan, request.user))  # type: ignore[arg-type]
