"""A project of every preset with twenty comparisons to judge, and what was judged: called inside the running stack."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.browser import inside

JUDGES_ALL = "keys-alone"
COUNT = 20
RANKED = {"ranking": 5, "best-worst": 4}
NUMBERS = ("one", "two", "three", "four", "five")
FIELDS = (
    *("outcome", "level", "confidence", "aspects", "attributes", "reasons", "justification", "spans", "feedback"),
    *("edit", "ranking", "flags"),
)
# What an offset can go wrong on: pairs of UTF-16, marks that combine, right to left, two characters for one line end.
TRICKY = (
    "Prices 🙂🙂 rose by 5 % in 2019.\r\nمرحبا بالعالم الكبير.\r\n"
    "The cafe\u0301 de\u0301ja\u0300 vu closed 👩‍👩‍👧 early."
)


def texts(preset: str, number: int) -> list[str]:
    """The responses in the comparison's own order. The first words say which they are."""
    return [
        f"{preset} {number:02d} {word}. " + (TRICKY if preset == "fine-grained" else f"It holds {number} reasons.")
        for word in NUMBERS[: RANKED.get(preset, 2)]
    ]


def row(preset: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{preset}-{number:02d}",
        "prompt": f"What should {preset} know of case {number}?",
        "responses": [{"text": text, "model": f"m{place}"} for place, text in enumerate(texts(preset, number))],
        **({"rank": True} if preset in RANKED else {}),
        **({"criterion": f"Criterion {number}: brevity"} if preset == "criterion" else {}),
        **({"context": [{"title": "Source", "text": "The documents say so."}]} if preset == "rag" else {}),
    }


def build() -> dict[str, Any]:
    """{"seats": {preset: address}, "session": key of who judges all, "other": key of somebody who may judge too}"""
    from django.urls import reverse

    from annotator import protocols, rendering
    from annotator.models import Membership, Role, User
    from annotator.pipeline import ingest, start

    names = [JUDGES_ALL, "keys-other"]
    session, other = inside.sessions(names)
    users = User.objects.filter(username__in=names)
    seats = {}
    for preset in protocols.PRESETS:
        project = start.create_project(f"By keys: {preset}", lead=User.objects.get(username="lead"), preset=preset)
        for user in users:
            Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.jsonl"
            file.write_text("".join(json.dumps(row(preset, number)) + "\n" for number in range(COUNT)))
            ingest.ingest_file(project, file)
        list(rendering.render_missing(project.pk))
        project.comparisons.update(places_open=2, votes_wanted=2)
        seats[preset] = reverse("annotate", args=[project.pk])
    return {"seats": seats, "session": session, "other": other}


def dump() -> dict[str, dict[str, Any]]:
    """Every current judgment of who judges all as the database has it, by its comparison's id in the file."""
    from annotator.models import Judgment

    judgments = list(Judgment.objects.filter(rater__user__username=JUDGES_ALL).select_related("comparison"))
    assert all(judgment.is_current for judgment in judgments), "no answer was corrected"
    found = {
        judgment.comparison.external_id: {name: getattr(judgment, name) for name in FIELDS} for judgment in judgments
    }
    assert len(found) == len(judgments), "no comparison was answered twice"
    return found
