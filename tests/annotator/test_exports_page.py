"""The export pages and commands: ask, follow, download; only by those who may."""

import html
import io
import re
import zipfile
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotator.formats import WRITERS
from annotator.forms.export_words import ABOUT
from annotator.models import Comparison, Export, Job, Prompt
from annotator.pipeline import aggregate, export, work
from annotator.readings import metadata
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

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


@pytest.mark.slow
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
    assert "preset “MultiPref” does" in shown
    assert "“multipref”" not in shown


def options(project, client, **chosen):
    return html.unescape(client.get(reverse("export_options", args=[project.pk]), chosen).content.decode())


def counted(project, client, **chosen):
    found = client.get(reverse("export_count", args=[project.pk]), chosen).content.decode()
    return " ".join(re.sub(r"<[^>]+>", "", html.unescape(found)).split())


def test_the_page_says_in_words_what_formats_and_choices_are(project, client, lead):
    assert {*ABOUT} == {*WRITERS}
    shown = html.unescape(client.get(page(project)).content.decode())
    assert "as the plan says (people where there is none)" in shown
    assert "Pairs with a margin for the RewardTrainer of TRL." in options(project, client, format="trl_reward")
    assert "JSON Lines only" in options(project, client, format="nemo_rl")
    assert "version 1 (Plain)" in shown


def test_metadata_is_chosen_from_what_the_project_has(project, client, lead):
    for number, language in enumerate(["en", "de", "de"]):
        made = make_comparison(project, metadata={"language": language, "row": f"{number}", "notes": "x" * 99})
        make_judgment(made, make_person(project), 1)
    Prompt.objects.filter(comparisons=made).update(metadata={"split": "train", "language": "fr"})
    # A row's name tells rows apart, and a long text is nothing to choose by.
    Comparison.objects.filter(metadata={}).update(metadata={"row": "9"})
    with patch("annotator.readings.metadata.VALUES", 3):
        assert metadata.known(project) == {
            "domain": ["chat"], "language": ["de", "en"], "split": ["train"],
        }  # fmt: skip
    shown = options(project, client, format="trl_reward", **{"metadata.language": "de"})
    assert '<option value="de" selected>de</option>' in shown
    aggregate.aggregate()
    assert "About 2 comparisons pass" in counted(project, client, **{"metadata.language": "de"})
    client.post(page(project), asked(**{"metadata.language": "de", "metadata": "row = 2"}))
    assert Export.objects.get().filters["metadata"] == {"language": "de", "row": "2"}


@pytest.mark.parametrize("sent", [{"metadata.language": "xx"}, {"metadata.gone": "de"}])
def test_metadata_that_is_not_there_any_more_is_refused(project, client, lead, sent):
    make_comparison(project, metadata={"language": "en"})
    answer = client.post(page(project), asked(**sent))
    assert answer.status_code == 422
    assert "Select a valid choice" in answer.content.decode()


def test_the_count_is_of_the_judges_that_were_chosen(project, client, lead):
    machine = make_labeler(project)
    for number in range(3):
        make_judgment(make_comparison(project, f"By machine {number}?"), machine, 1, p_b=0.9)
    aggregate.default_recipe(project)
    aggregate.aggregate()
    assert "About 1 comparison has a judgment that counts. Rows may differ" in counted(project, client, source="people")
    assert "About 1 comparison" in counted(project, client, source="routed")
    assert "About 4 comparisons" in counted(project, client, source="pooled")
    new = counted(project, client, source="pooled", votes="1")
    assert "There are no labels of these judges yet" in new
    assert project.recipes.count() == 1, "looking makes no recipe"
    assert "no labels" not in counted(project, client, source="routed", votes="1")
    assert "No comparison has a judgment that counts here" in counted(project, client, source="routed", votes="2")


def test_exports_and_data_sets_are_pages_of_one_tab(project, client, lead):
    for name in ("exports", "datasets"):
        shown = client.get(reverse(name, args=[project.pk])).content.decode()
        here = f'<a href="{reverse(name, args=[project.pk])}" aria-current="page">'
        assert here in shown.partition('class="subtabs"')[2]


@pytest.mark.slow
def test_the_list_reads_no_manifest(project, client, lead, django_assert_max_num_queries):
    finished(project, client)
    Export.objects.update(manifest={"filters": {"left_out": {"a tie": 58}}})
    with django_assert_max_num_queries(16) as queries:
        assert "58 × <bdi>a tie</bdi>" in client.get(page(project)).content.decode()
    assert not [each for each in queries if '"annotator_export"."manifest",' in each["sql"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "sees", "asks"), [("reviewer", 200, 404), ("viewer", 200, 404), ("annotator", 404, 404)]
)
def test_readers_download_and_only_leads_ask(project, client, lead, role, sees, asks):
    made = finished(project, client)
    client.force_login(make_member(project, role))
    assert client.get(page(project)).status_code == sees
    assert client.get(reverse("export_download", args=[project.pk, made.number])).status_code == sees
    assert client.post(page(project), asked()).status_code == asks


@pytest.mark.slow
def test_a_lead_of_another_project_sees_nothing(project, client, lead):
    made = finished(project, client)
    client.force_login(make_member(make_project(), "lead"))
    assert client.get(page(project)).status_code == 404
    assert client.get(reverse("export_download", args=[project.pk, made.number, "README.md"])).status_code == 404


@pytest.mark.slow
def test_an_unfinished_export_and_an_unknown_file_do_not_exist(project, client, lead):
    client.post(page(project), asked())
    number = Export.objects.get().number
    assert client.get(reverse("export_download", args=[project.pk, number])).status_code == 404
    export.run_exports()
    assert client.get(reverse("export_download", args=[project.pk, number, "../secret"])).status_code == 404


@pytest.mark.slow
def test_the_list_costs_the_same_queries_however_long_it_is(project, client, lead, django_assert_max_num_queries):
    for seed in range(6):
        client.post(page(project), asked(seed=seed))
    export.run_exports()
    with django_assert_max_num_queries(16):
        client.get(page(project))


@pytest.mark.slow
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
