"""Two projects to sit in, one of them with texts that may hurt, and people enough for every test to be somebody new."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.browser import inside

NAME, HARMFUL = "A seat", "A seat with texts that may hurt"
PEOPLE, COMPARISONS = 60, 12
GUIDELINES = "# How to judge\n\nTruth before *style*.\n\n## Levels\n\nClearly better: you could say why.\n"


def build() -> dict[str, Any]:
    """{"seat": address, "harmful": address, "sessions": [key of each person's]}; everybody sees every comparison."""
    from annotator.models import Membership, User

    names = [f"seat-{number:02d}" for number in range(PEOPLE)]
    keys = inside.sessions(names)
    made = {"seat": _project(NAME, []), "harmful": _project(HARMFUL, ["violence"])}
    people = User.objects.filter(username__in=names)
    Membership.objects.bulk_create(
        Membership(project=project, user=user, role="annotator") for project in made.values() for user in people
    )
    return {**{name: f"/projects/{project.pk}/annotate/" for name, project in made.items()}, "sessions": keys}


def _project(name: str, harms: list[str]) -> Any:
    from annotator import rendering
    from annotator.models import User
    from annotator.pipeline import ingest, start

    lead = User.objects.get(username="lead")
    project = start.create_project(name, lead=lead, preset="multipref", guidelines=GUIDELINES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(_row(number, harms)) + "\n" for number in range(COMPARISONS)))
        ingest.ingest_file(project, file)
    list(rendering.render_missing(project.pk))
    project.comparisons.update(places_open=PEOPLE, votes_wanted=PEOPLE)
    return project


def _row(number: int, harms: list[str]) -> dict[str, Any]:
    texts = (
        f"**Rain {number}** falls when warm, damp air rises and cools.\n\n- Drops grow.\n- Then they fall.",
        f"It is weather, number {number}.\n\n```python\nrain = cloud.cools()\n```\n\nNobody knows more.",
    )
    return {
        "id": f"seat-{number:02d}",
        "prompt": f"Why does it rain in case {number}?",
        "responses": [{"text": text, "model": f"m{place}"} for place, text in enumerate(texts)],
        "harms": harms,
    }
