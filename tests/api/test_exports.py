"""Exports and data sets by the interface: asked for, written, downloaded as they are in storage."""

import hashlib

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from annotator import stored
from annotator.models import Dataset, Export, KeptAnswer, Membership, Profile
from annotator.pipeline import aggregate, export, links, work
from tests.api.program import Program, assert_problem, lead_program
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

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


@pytest.mark.slow
def test_a_data_set_gets_its_next_version(project):
    recipe = aggregate.default_recipe(project)
    made = Dataset.objects.create(project=project, name="rain", format="judgments", container="jsonl", recipe=recipe)
    program = lead_program(project)
    address = f"/projects/{project.pk}/datasets/{made.pk}"
    assert program.post(f"{address}/versions").json()["export"]["dataset"] == "rain"
    export.run_exports()
    make_judgment(make_comparison(project), make_person(project), -1)
    program.post(f"{address}/versions")
    export.run_exports()
    assert [item["version"] for item in program.get(f"{address}/versions").json()["items"]] == [1, 2]
    assert program.get(f"{address}/versions/1").json()["dataset"] == "rain"


@pytest.fixture
def finished(project):
    program = lead_program(project)
    program.post(f"/projects/{project.pk}/exports", {"format": "trl_reward", "container": "jsonl"})
    export.run_exports()
    made = Export.objects.get()
    return program, made, max(made.files, key=lambda file: file["bytes"])


def test_a_part_of_a_file_goes_out_and_nothing_else_is_fetched(finished, monkeypatch):
    program, made, file = finished
    asked = []
    real = stored.opened
    monkeypatch.setattr(stored, "opened", lambda address, start=0: asked.append(start) or real(address, start))
    address = f"/api/v1/projects/{made.project_id}/exports/{made.number}/files/{file['name']}"
    with default_storage.open(file["address"]) as whole:
        content = whole.read()
    part = program.client.get(address, headers={**program.headers(), "Range": "bytes=5-9"})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, content[5:10])
    assert asked == [5] and part.headers["ETag"] == f'"{file["sha256"]}"'
    none = program.client.get(address, headers={**program.headers(), "Range": "bytes=99999999999-"})
    assert_problem(none, 416)
    assert none.headers["Content-Range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize("digits", ["9" * 4500, "\u0661"])
def test_an_odd_range_is_none(finished, digits):
    program, made, file = finished
    made_link = program.post(f"/projects/{made.project_id}/exports/{made.number}/links", {"name": file["name"]})
    for asked in (f"bytes={digits}-", f"bytes=-{digits}"):
        answer = Client().get(made_link.json()["url"], headers={"Range": asked})
        assert answer.status_code == 200
        assert len(b"".join(answer.streaming_content)) == file["bytes"]


def test_a_link_needs_no_token_and_ends_with_its_makers_role(finished):
    program, made, file = finished
    address = f"/projects/{made.project_id}/exports/{made.number}/links"
    link = program.post(address, {"name": file["name"]}, key="k").json()
    assert {**link, "url": None} == program.post(address, {"name": file["name"]}, key="k").json()
    assert KeptAnswer.objects.get().body["url"] is None, "whoever reads the database has no link by that"
    assert [link] == [{**each, "url": link["url"]} for each in program.get(address).json()["items"]]
    answer = Client().get(link["url"])
    assert hashlib.sha256(b"".join(answer.streaming_content)).hexdigest() == file["sha256"]
    assert_problem(program.post(address, {"name": "none"}), 404)
    Membership.objects.filter(user=program.token.user).delete()
    assert Client().get(link["url"]).status_code == 404


def test_a_link_is_taken_back_by_itself(finished):
    program, made, file = finished
    address = f"/projects/{made.project_id}/exports/{made.number}/links"
    one, other = (program.post(address, {"name": name}).json() for name in (file["name"], ""))
    assert program.delete(f"{address}/{one['id']}").status_code == 204
    assert [Client().get(each["url"]).status_code for each in (one, other)] == [404, 200]
    assert [each["id"] for each in program.get(address).json()["items"]] == [other["id"]]
    assert_problem(program.delete(f"{address}/{one['id']}"), 404)


def test_who_is_no_lead_lists_and_takes_back_their_own_links(finished):
    program, made, _file = finished
    viewer = Program(make_member(made.project, "viewer"), "export")
    address = f"/projects/{made.project_id}/exports/{made.number}/links"
    program.post(address, {})
    theirs, own = made.links.get(), links.make(made, "", viewer.token.user).link
    assert [each["id"] for each in viewer.get(address).json()["items"]] == [own.pk]
    assert len(program.get(address).json()["items"]) == 2
    assert_problem(viewer.delete(f"{address}/{theirs.pk}"), 404)
    assert viewer.delete(f"{address}/{own.pk}").status_code == 204
    assert list(made.links.all()) == [theirs]


def test_what_tells_of_somebody_who_has_withdrawn_is_given_out_no_more(project):
    program = lead_program(project)
    Profile(rater=project.raters.get()).agree({"age": "25-34"}, "Yes.")
    asked = {"format": "per_rater", "container": "jsonl", "source": "people"}
    number = program.post(f"/projects/{project.pk}/exports", asked).json()["export"]["number"]
    export.run_exports()
    address = f"/projects/{project.pk}/exports/{number}"
    file = program.get(address).json()["files"][0]["name"]
    assert program.get(f"{address}/files/{file}").status_code == 200
    Profile.objects.get().withdraw()
    for refused in (program.get(f"{address}/files/{file}"), program.post(f"{address}/links", {})):
        assert "export again" in assert_problem(refused, 410)["detail"]
    again = program.post(f"/projects/{project.pk}/exports", asked).json()["export"]["number"]
    export.run_exports()
    assert program.get(f"/projects/{project.pk}/exports/{again}/files/{file}").status_code == 200


def test_a_data_set_is_begun_with_its_first_version(project):
    program = lead_program(project)
    address = f"/projects/{project.pk}/datasets"
    asked = {"name": "rain", "format": "trl_reward", "container": "jsonl", "options": {"margin": "none"}}
    begun = program.post(address, asked)
    assert begun.status_code == 202, begun.content
    assert begun.json()["dataset"]["options"]["margin"] == "none" and begun.json()["export"]["dataset"] == "rain"
    export.run_exports()
    assert Export.objects.get(dataset__name="rain", version=1).completed_at
    assert program.get(f"/projects/{project.pk}/jobs/{begun.json()['job']['id']}").json()["state"] == "done"
    assert_problem(program.post(address, asked), 409)
    assert_problem(program.post(address, {**asked, "name": "snow", "format": "nothing"}), 409)
    assert_problem(program.post(address, {**asked, "name": "a\0b"}), 422)
    assert Dataset.objects.count() == 1
