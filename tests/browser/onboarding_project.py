"""Projects with a tutorial, a qualification and guidelines, and what came of them: called inside the running stack."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.browser import inside

GUIDELINES = "# Judge\n\nBe fair.\n\n## Truthfulness\n\nWrong facts count more than bad style.\n"


def row(name: str, gold: dict[str, Any] | None = None) -> dict[str, Any]:
    """The second response is the right one, and says so."""
    texts = (f"{name}: beside the point.", f"{name}: RIGHT, it answers.")
    return {
        "id": name,
        "prompt": f"What is asked in {name}?",
        "responses": [{"text": text, "model": f"m{place}"} for place, text in enumerate(texts)],
        **({"gold": {**gold, "better": "b", "explanation": f"Only one **answers** {name}."}} if gold else {}),
    }


def build() -> dict[str, Any]:
    """{"learn": number of a project that is learnt first, "work": of one with guidelines, "session": of a worker}"""
    from annotator.models import Membership, Standards, User

    lead = User.objects.get(username="lead")
    taught = [row(f"lesson {n}", {"use": "tutorial"}) for n in range(3)]
    tried = [row(f"trial {n}", {"use": "qualification"}) for n in range(2)]
    learn = _project("Learn first", lead, "plain", [*taught, *tried, *(row(f"real {n}") for n in range(4))])
    Standards.objects.create(
        project=learn, tutorial_required=True, qualification_required=True, pass_mark=0.8, attempts_allowed=3
    )
    work = _project("Guided work", lead, "multipref", [row(f"work {n}") for n in range(12)])
    [session] = inside.sessions(["guided"])
    Membership.objects.create(project=work, user=User.objects.get(username="guided"), role="annotator")
    return {"learn": learn.pk, "work": work.pk, "session": session}


def _project(name: str, lead: Any, preset: str, rows: list[dict[str, Any]]) -> Any:
    from annotator.pipeline import ingest, start

    project = start.create_project(name, lead=lead, preset=preset, guidelines=GUIDELINES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in rows))
        ingest.ingest_file(project, file)
    project.comparisons.filter(gold=None).update(places_open=1, votes_wanted=1)
    return project


def dump(project: int) -> dict[str, Any]:
    """{"judgments": [guidelines version of each], "attempts": [[use, number, score, passed]], "read": [version]}"""
    from annotator.models import Attempt, Judgment, Standing

    people = Judgment.objects.filter(project=project, rater__kind="person", is_current=True)
    judgments = people.order_by("created_at")
    attempts = Attempt.objects.filter(rater__project=project).order_by("started_at")
    return {
        "judgments": list(judgments.values_list("guidelines_version", flat=True)),
        "attempts": [[each.use, each.number, each.score, each.passed] for each in attempts],
        "read": list(Standing.objects.filter(rater__project=project).values_list("acknowledged", flat=True)),
    }
