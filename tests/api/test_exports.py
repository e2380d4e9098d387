"""Exports and data sets by the interface: asked for, written, downloaded as they are in storage."""

import hashlib

import pytest

from annotator.models import Dataset, Export
from annotator.pipeline import aggregate, export, work
from tests.api.program import assert_problem, lead_program
from tests.builders import make_comparison, make_judgment, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    project = make_project()
    make_judgment(make_comparison(project), make_person(project), 1)
    return project


def test_an_export_is_asked_for_written_and_downloaded(project):
    program = lead_program(project, "export", "read")
    asked = {"format": "trl_reward", "container": "jsonl", "options": {"margin": "none"}, "filters": {"votes": 1}}
    made = program.post(f"/projects/{project.pk}/exports", asked).json()
    assert made["export"]["completed_at"] is None and made["export"]["options"]["margin"] == "none"
    export.run_exports()
    assert program.get(f"/projects/{project.pk}/jobs/{made['job']['id']}").json()["state"] == "done"
    done = program.get(f"/projects/{project.pk}/exports/{made['export']['number']}").json()
    assert done["rows"] == 1
    for file in done["files"]:
        answer = program.client.get(file["url"], headers=program.headers())
        content = b"".join(answer.streaming_content)
        assert hashlib.sha256(content).hexdigest() == file["sha256"] and len(content) == file["bytes"]
        assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({}, 422, "format"),
        ({"format": "judgments", "container": "xlsx"}, 409, None),
        ({"format": "nothing"}, 409, None),
        ({"format": "helpsteer2", "options": {"ties": "odd"}}, 422, "options.ties"),
        ({"format": "helpsteer2", "options": {"odd": 1}}, 422, "options.odd"),
        ({"format": "helpsteer2", "options": {"validation": 0.6}}, 422, "options.validation"),
        ({"format": "helpsteer2", "filters": {"agreement": 2}}, 422, "filters.agreement"),
        ({"format": "helpsteer2", "filters": {"plan": 77}}, 409, None),
        ({"format": "helpsteer2", "odd": 1}, 422, "odd"),
        ({"format": "helpsteer2", "filters": {"metadata": {"a": "\0"}}}, 422, "filters.metadata.a"),
    ],
)
def test_a_wrong_request_is_refused_in_words(project, asked, status, field):
    problem = assert_problem(lead_program(project).post(f"/projects/{project.pk}/exports", asked), status)
    assert field is None or problem["errors"][0]["field"] == field
    assert not Export.objects.exists()


def test_a_data_set_gets_its_next_version(project):
    recipe = aggregate.default_recipe(project)
    made = Dataset.objects.create(project=project, name="rain", format="judgments", container="jsonl", recipe=recipe)
    program = lead_program(project)
    address = f"/projects/{project.pk}/datasets/{made.pk}"
    assert program.post(f"{address}/versions").json()["export"]["version"] == 1
    export.run_exports()
    assert program.post(f"{address}/versions").json()["export"]["version"] == 2
    assert [item["version"] for item in program.get(f"{address}/versions").json()["items"]] == [1, 2]
    assert program.get(f"{address}/versions/1").json()["dataset"] == "rain"
