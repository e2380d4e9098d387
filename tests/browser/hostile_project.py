"""The hostile corpus as a project of the running stack: eight texts a comparison, so that few pages show them all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.annotator.hostile import CASES
from tests.browser import inside

AT_ONCE = 8


def rows() -> list[dict[str, Any]]:
    """Every text as a response, and the first of each eight as prompt, document and title too."""
    texts = list(CASES.values())
    groups = [texts[begin : begin + AT_ONCE] for begin in range(0, len(texts), AT_ONCE)]
    groups[-1] = texts[-AT_ONCE:]
    return [
        {
            "id": f"hostile-{number}",
            "prompt": f"{number}\n\n{group[0][:5_000]}",
            "context": [{"title": group[0][:200], "text": group[0][:5_000]}],
            "responses": [{"text": text, "model": f"m{place}"} for place, text in enumerate(group)],
            "rank": True,
        }
        for number, group in enumerate(groups)
    ]


def build() -> dict[str, Any]:
    """{"seat": address, "session": key of the annotator's, "comparisons": how many}"""
    from django.urls import reverse

    from annotator import rendering
    from annotator.models import Membership, Role, User
    from annotator.pipeline import ingest, start

    [session] = inside.sessions(["unafraid"])
    user = User.objects.get(username="unafraid")
    project = start.create_project("Hostile", lead=User.objects.get(username="lead"), preset="ranking")
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
        ingest.ingest_file(project, file)
    list(rendering.render_missing(project.pk))
    project.comparisons.update(places_open=1, votes_wanted=1)
    return {
        "seat": reverse("annotate", args=[project.pk]),
        "session": session,
        "comparisons": project.comparisons.count(),
    }
