"""A small generated project for the walk through the loop, and simulated people who judge what the seat gives them."""

from __future__ import annotations

import random
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

COUNT = 260
PEOPLE = ("sim-1", "sim-2", "sim-3")
# How often they name the better response, and what a tie is to them: the side they feel like.
RIGHT = 0.9
CAP = Decimal(200)


def build() -> dict[str, Any]:
    """{"project": id}: COUNT comparisons of the recipe that two recorded judges answered and nobody else."""
    from annotator.management.commands import load_demo
    from annotator.models import Labeler, Membership, User
    from annotator.pipeline import featurise, ingest, ledger, start

    lead = User.objects.get(username="lead")
    project = start.create_project(
        "Generated: the loop", lead=lead, preset="plain", provenance="generated", price_per_judgment=Decimal("0.60")
    )
    ledger.set_cap(project, CAP)
    for name in PEOPLE:
        user = User.objects.get_or_create(username=name)[0]
        Membership.objects.create(project=project, user=user, role="annotator")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "generated.jsonl"
        load_demo._recipe().write(file, count=COUNT, seed=5, people_on=0, votes=1)
        ingest.ingest_file(project, file)
    Labeler.objects.filter(project=project, name="judge-large").update(price_per_call=Decimal("0.02"))
    Labeler.objects.filter(project=project, name="judge-small").update(price_per_call=Decimal("0.002"))
    featurise.featurise(project)
    return {"project": project.pk}


def judge(project_id: int) -> int:
    """The simulated people judge by the command `judge` until nothing is left for them; gives how many judgments."""
    from annotator.models import Project, Rater, User
    from annotator.pipeline import assign

    project, draw, done = Project.objects.get(pk=project_id), random.Random(11), 0
    raters = [
        Rater.objects.get_or_create(project=project, user=User.objects.get(username=name), defaults={"kind": "person"})[
            0
        ]
        for name in PEOPLE
    ]
    while raters:
        rater = raters[done % len(raters)]
        assignment = assign.next_assignment(project, rater)
        if assignment is None:
            raters.remove(rater)
            continue
        _judge(assignment, rater.user.username, draw)
        done += 1
    return done


def _judge(assignment: Any, name: str, draw: random.Random) -> None:
    """One answer, as somebody types it who sees the responses in the order on screen."""
    import io

    from django.core.management import call_command

    planted = float(assignment.comparison.metadata["planted_difference"])
    side = 1 if planted > 0 else -1
    said = side if draw.random() < RIGHT else -side
    level = said if assignment.a_first else -said
    call_command(
        "judge", assignment.project_id, name, comparison=assignment.comparison_id, level=level, stdout=io.StringIO()
    )


def money(project_id: int) -> dict[str, float]:
    from annotator.models import Project
    from annotator.pipeline import ledger

    ledger.settle()
    account = ledger.account_of(Project.objects.get(pk=project_id))
    return {"cap": float(account.cap), "spent": float(account.spent), "reserved": float(account.reserved)}
