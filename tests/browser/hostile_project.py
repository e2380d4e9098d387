"""The hostile corpus as a project of the running stack: eight texts a comparison, so that few pages show them all."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.annotator.hostile import CASES
from tests.stack import ROOT, Stack

MARK = "hostile: "
AT_ONCE = 8


def make(stack: Stack) -> dict[str, Any]:
    """{"seat": address, "session": key of the annotator's, "comparisons": how many}"""
    done = subprocess.run(
        [
            sys.executable,
            "manage.py",
            "shell",
            "-v",
            "0",
            "-c",
            "from tests.browser import hostile_project as h; h.build()",
        ],
        cwd=ROOT,
        env={**stack.environment, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition(MARK)[2])


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


def build() -> None:
    from django.test import Client
    from django.urls import reverse

    from annotator import rendering
    from annotator.models import Membership, Role, User
    from annotator.pipeline import ingest, start

    user = User.objects.create_user("unafraid", password="only-for-tests-7")
    project = start.create_project("Hostile", lead=User.objects.get(username="lead"), preset="ranking")
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
        ingest.ingest_file(project, file)
    list(rendering.render_missing(project.pk))
    project.comparisons.update(places_open=1, votes_wanted=1)
    client = Client()
    client.force_login(user)
    made = {
        "seat": reverse("annotate", args=[project.pk]),
        "session": client.cookies["sessionid"].value,
        "comparisons": project.comparisons.count(),
    }
    print(MARK + json.dumps(made))
