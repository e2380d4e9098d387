"""The export pages and commands: ask, follow, download; only by those who may."""

import html
import io
import zipfile

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotator.models import Export, Job
from annotator.pipeline import export, work
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    project = make_project(name="Rain & sun", provenance="generated")
    make_judgment(make_comparison(project), make_person(project), 1)
    return project


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def page(project):
    return reverse("exports", args=[project.pk])


def asked(**fields):
    return {
        "format": "trl_reward",
        "container": "parquet",
        "source": "routed",
        "ties": "drop",
        "neither": "drop",
        "ai": "leave_out",
        "margin": "strength",
        "labels": "ratings",
        "prompt": "implicit",
        "validation": "0",
        "seed": "0",
        **fields,
    }


def finished(project, client):
    assert client.post(page(project), asked()).status_code == 302
    export.run_exports()
    return Export.objects.latest("pk")


def test_a_lead_asks_for_an_export_follows_it_and_downloads_it(project, client, lead):
    assert b"Nothing has been exported yet" in client.get(page(project)).content
    assert client.post(page(project), asked(validation="20", seed="3")).status_code == 302
    made = Export.objects.get()
    assert (made.created_by, made.options["validation"], made.options["seed"]) == (lead, 0.2, 3)
    waiting = client.get(page(project)).content.decode()
    assert reverse("job_cancel", args=[project.pk, Job.objects.get().pk]) in waiting
    assert "Download all" not in waiting
    export.run_exports()
    made.refresh_from_db()
    ready = client.get(page(project)).content.decode()
    assert "<b>1 export</b> is ready" in ready
    assert made.sha256[:12] in ready
    answer = client.get(reverse("export_download", args=[project.pk, made.number, "README.md"]))
    assert answer["Content-Disposition"] == 'attachment; filename="README.md"'
    assert b"".join(answer.streaming_content).startswith(b"---\nlicense:")


def test_the_page_warns_that_pooled_judges_weigh_as_much_as_people(project, client, lead):
    form = html.unescape(client.get(page(project)).content.decode())
    assert "an AI labeler's answer weighs as much as a person's" in form


def test_everything_comes_as_one_zip(project, client, lead):
    made = finished(project, client)
    answer = client.get(reverse("export_download", args=[project.pk, made.number]))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    assert archive.testzip() is None
    folder = f"rain-sun-{made.number}-trl_reward"
    assert set(archive.namelist()) == {f"{folder}/{file['name']}" for file in made.files}
    for file in made.files:
        assert len(archive.read(f"{folder}/{file['name']}")) == file["bytes"]


def test_a_double_click_asks_once(project, client, lead):
    for _ in range(2):
        client.post(page(project), asked())
    assert Export.objects.count() == Job.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": "multipref"}, "Select a valid choice"),
        ({"ties": "keep"}, "TRL reward has no row for a tie"),
        ({"validation": "80"}, "less than or equal to 50"),
    ],
)
def test_a_wrong_form_is_shown_again_with_the_reason(project, client, lead, fields, words):
    answer = client.post(page(project), asked(**fields))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Export.objects.exists()


def test_formats_that_do_not_fit_are_named_with_the_preset_that_would(project, client, lead):
    shown = client.get(page(project)).content.decode()
    assert '<option value="multipref">' not in shown
    assert "preset “multipref” does" in shown


@pytest.mark.parametrize(
    ("role", "sees", "asks"), [("reviewer", 200, 404), ("viewer", 200, 404), ("annotator", 404, 404)]
)
def test_readers_download_and_only_leads_ask(project, client, lead, role, sees, asks):
    made = finished(project, client)
    client.force_login(make_member(project, role))
    assert client.get(page(project)).status_code == sees
    assert client.get(reverse("export_download", args=[project.pk, made.number])).status_code == sees
    assert client.post(page(project), asked()).status_code == asks


def test_a_lead_of_another_project_sees_nothing(project, client, lead):
    made = finished(project, client)
    client.force_login(make_member(make_project(), "lead"))
    assert client.get(page(project)).status_code == 404
    assert client.get(reverse("export_download", args=[project.pk, made.number, "README.md"])).status_code == 404


def test_an_unfinished_export_and_an_unknown_file_do_not_exist(project, client, lead):
    client.post(page(project), asked())
    number = Export.objects.get().number
    assert client.get(reverse("export_download", args=[project.pk, number])).status_code == 404
    export.run_exports()
    assert client.get(reverse("export_download", args=[project.pk, number, "../secret"])).status_code == 404


def test_the_list_costs_the_same_queries_however_long_it_is(project, client, lead, django_assert_max_num_queries):
    for seed in range(6):
        client.post(page(project), asked(seed=seed))
    export.run_exports()
    with django_assert_max_num_queries(16):
        client.get(page(project))


def test_the_command_exports_into_a_folder(project, tmp_path, capsys):
    call_command("export", project.pk, "judgments", "--file-type", "jsonl", "--to", str(tmp_path / "set"))
    made = Export.objects.get()
    assert made.sha256 in capsys.readouterr().out
    assert (tmp_path / "set" / "judgments" / "train.jsonl").read_text().count("\n") == 1
    with pytest.raises(CommandError, match="not empty"):
        call_command("export", project.pk, "judgments", "--to", str(tmp_path / "set"))
    with pytest.raises(CommandError, match="preset “multipref”"):
        call_command("export", project.pk, "multipref")


def test_the_command_aggregates_and_recounts(project, capsys):
    call_command("aggregate", "--project", project.pk)
    assert capsys.readouterr().out == "1 new judgments taken in\n1 comparisons recounted\n"
