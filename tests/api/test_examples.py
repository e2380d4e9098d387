"""The examples of docs/api.md, run as they stand there against a live server."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from annotator.models import Labeler, Project
from annotator.pipeline import versions, work
from tests.api.program import lead_program
from tests.builders import make_project

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"


def examples() -> list[str]:
    """The commands of the guide in order, without the block that sets what is to be replaced."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [block for block in blocks if not block.startswith("export ")]


@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_guide_work(live_server, monkeypatch, tmp_path):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    project = make_project()
    versions.new_version(Labeler.objects.create(project=project, name="longest", kind="null_longest"), {})
    variables = {"SITE": live_server.url, "TOKEN": lead_program(project).text, "PROJECT": str(project.pk)}
    script = "set -e\n" + "\n".join(examples()).replace("/tmp/", f"{tmp_path}/")
    assert script.count("curl ") >= 10
    run = subprocess.run(["bash", "-c", script], env={**os.environ, **variables}, capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr.decode() + run.stdout.decode()
    assert Project.objects.get().comparisons.count() == 2
    assert project.exports.count() == 1 and project.jobs.filter(kind="ingest").count() == 1
    assert project.jobs.get(kind="label").parameters["scope"] == "everything"
