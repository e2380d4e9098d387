"""From a file to a project by the browser's way: create, upload, preview, confirm."""

import contextlib
import json
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from annotator import uploads
from annotator.models import Job, Membership, Project, Role
from annotator.pipeline import ingest
from tests.annotator.test_folders import FILES, zip_of
from tests.builders import make_member, make_project, make_user

ROW = {"id": "q1", "prompt": "What is <b>rain</b>?", "response_a": "Water.", "response_b": "<script>alert(1)</script>"}
# A published set's rows: one to carry, and one whose response is empty.
FULL = {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
EMPTY = {**FULL, "chosen": "\n\nHuman: Hi\n\nAssistant:"}
NEW = {"name": "Fresh", "description": "", "preset": "multipref", "votes": 2, "currency": "eur",
       "price_per_judgment": "0.75", "cap": "100"}  # fmt: skip
pytestmark = pytest.mark.django_db
save = FileSystemStorage._save
ROWS = Path(__file__).parent / "rows"


@pytest.fixture
def lead(client):
    user = make_member(make_project(), Role.LEAD)
    client.force_login(user)
    return user


def upload(client, project, *rows, name="rows.jsonl"):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    address = reverse("import_upload", args=[project.pk])
    return client.post(address, {"file": SimpleUploadedFile(name, content), "source": ""})


def look(client, preview, said):
    return client.post(preview, {**said, "act": "look"}, follow=True)


def test_a_lead_creates_a_project_with_all_that_the_steps_count_on(client, lead):
    response = client.post(reverse("new_project"), NEW)
    project = Project.objects.get(name="Fresh")
    assert response.url == reverse("import_upload", args=[project.pk])
    assert project.protocol.preset == "multipref" and project.currency == "EUR"
    assert project.memberships.get().user == lead and project.account.cap == 100
    assert project.recipes.get().is_default
    assert {labeler.kind for labeler in project.labelers.all()} == {
        *("null_longest", "null_shortest", "null_random", "null_relevance")
    }


def test_a_project_with_nonsense_is_not_created(client, lead):
    response = client.post(reverse("new_project"), {**NEW, "currency": "€", "votes": 0})
    assert response.status_code == 422 and not Project.objects.filter(name="Fresh").exists()
    assert set(response.context["form"].errors) == {"currency", "votes"}


def test_who_leads_no_project_creates_none(client):
    client.force_login(make_user())
    assert client.post(reverse("new_project"), NEW).status_code == 403


def test_an_upload_is_previewed_as_text_and_imported_once_when_confirmed(client, lead):
    project = lead.projects.get()
    preview = upload(client, project, ROW).url
    page = client.get(preview)
    assert "&lt;script&gt;alert(1)" in page.content.decode() and not Job.objects.exists()
    assert not project.comparisons.exists()
    first, second = client.post(preview), client.post(preview)
    job = Job.objects.get(kind=Job.Kind.INGEST)
    assert first.url == second.url == reverse("job", args=[project.pk, job.pk])


def test_an_import_that_failed_by_no_fault_of_its_file_is_asked_for_again(client, lead):
    preview = upload(client, lead.projects.get(), ROW).url
    first = client.post(preview).url
    Job.objects.filter(kind=Job.Kind.INGEST).update(state=Job.State.FAILED)
    again = client.post(preview).url
    assert again != first and client.post(preview).url == again


@pytest.mark.parametrize(
    ("rows", "words"), [([{**ROW, "response_a": ""}], "response_a"), ([{"x": 1}], "no known shape")]
)
def test_a_file_that_does_not_fit_is_explained_and_cannot_be_imported(client, lead, rows, words):
    page = client.get(upload(client, lead.projects.get(), *rows).url).content.decode()
    assert words in page and "Import the whole file" not in page


def test_a_preview_belongs_to_its_project(client, lead):
    preview = upload(client, lead.projects.get(), ROW).url
    other = make_project()
    other.memberships.create(user=lead, role=Role.LEAD)
    token = preview.rsplit("/", 1)[1]
    assert client.get(reverse("import_preview", args=[other.pk, token])).status_code == 404


def test_a_preview_whose_file_is_gone_asks_for_it_again(client, lead):
    project = lead.projects.get()
    preview = upload(client, project, ROW).url
    for name in default_storage.listdir(f"uploads/{project.pk}")[1]:
        default_storage.delete(f"uploads/{project.pk}/{name}")
    assert client.get(preview).url == reverse("import_upload", args=[project.pk])


def test_old_uploads_nobody_confirmed_are_swept_away(client, lead, monkeypatch):
    project = lead.projects.get()
    upload(client, project, ROW)
    client.post(upload(client, project, ROW).url)
    monkeypatch.setattr(ingest, "UPLOAD_KEPT", -ingest.UPLOAD_KEPT)
    assert ingest.sweep_uploads(project) == 1
    assert len(default_storage.listdir(f"uploads/{project.pk}")[1]) == 1


def test_the_commands_do_the_same(tmp_path, capsys):
    make_user("lena")
    call_command("create_project", "By hand", "--lead", "lena", "--preset", "multipref", "--cap", "5")
    project = Project.objects.get()
    assert capsys.readouterr().out.strip() == str(project.pk) and project.account.cap == 5
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW))
    call_command("ingest", str(project.pk), str(file))
    assert project.comparisons.count() == 1
    file.write_text('{"id": 1')
    with pytest.raises(CommandError, match="line 1"):
        call_command("ingest", str(project.pk), str(file))


def test_a_name_of_any_letters_gives_an_address_that_web_servers_take(client, lead):
    name = "".join(chr(0x1F300 + number) for number in range(200)) + ".jsonl"
    preview = upload(client, lead.projects.get(), ROW, name=name).url
    assert len(preview) < 2_000
    assert client.get(preview).context["filename"].endswith(name[-50:])


OWN_COLUMNS = {
    "question": "What is rain?",
    "answer_1": "Water.",
    "answer_2": "Falling drops.",
    "winner": "left",
    "who": "ann",
}
SAID = {
    "format": "mapped", "column-prompt": "question", "column-response_a": "answer_1", "column-response_b": "answer_2",
    "column-winner": "winner", "column-rater": "who", "value": ["left"], "means": ["b"],
}  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_columns_of_its_own_are_guessed_shown_and_said_otherwise_in_the_browser(client, lead):
    project = lead.projects.get()
    preview = upload(client, project, OWN_COLUMNS).url
    page = client.get(preview)
    assert page.context["seen"].mapping["columns"] == {
        **{"prompt": "question", "response_a": "answer_1", "response_b": "answer_2", "winner": "winner"}
    }
    assert page.context["seen"].winners == {"left": "a"} and page.context["seen"].can_import
    again = client.post(preview, {**SAID, "act": "look"}, headers={"HX-Request": "true"})
    assert not again.content.decode().lstrip().startswith("<!doctype") and again.context["seen"].winners == {
        "left": "b"
    }
    looked = client.post(preview, {**SAID, "act": "look", "csrfmiddlewaretoken": "x"})
    assert client.get(looked.url).context["seen"].winners == {"left": "b"}
    assert again.headers["HX-Push-Url"] == looked.url and not Job.objects.exists()
    client.post(preview, {**SAID, "act": "import"})
    assert ingest.run_ingests() == 1
    job = Job.objects.get(kind=Job.Kind.INGEST)
    assert job.state == Job.State.DONE, job.message
    judgment = project.judgments.get()
    assert judgment.preference == 1 and judgment.rater.external_id == "ann"
    row = project.imports.get()
    assert (row.format, row.mapping["columns"]["prompt"], row.rows) == ("mapped", "question", 1)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_long_columns_and_values_of_any_letters_stay_out_of_addresses(client, lead):
    """Web servers refuse addresses of some thousand characters, and each of these letters takes nine there."""
    project = lead.projects.get()
    names = {name: f"{letter}" * 150 for name, letter in zip(OWN_COLUMNS, "質甲乙勝者", strict=True)}
    rows = [
        {**{names[name]: cell for name, cell in OWN_COLUMNS.items()}, names["winner"]: f"{n} 左の方" * 10}
        for n in range(20)
    ]
    preview = upload(client, project, *rows).url
    said = {
        **{field: names.get(cell, cell) for field, cell in SAID.items() if isinstance(cell, str)},
        **{"value": [row[names["winner"]] for row in rows], "means": ["b"] * 20},
    }
    looked = client.post(preview, {**said, "act": "look"}).url
    part = client.post(preview, {**said, "act": "look"}, headers={"HX-Request": "true"})
    client.post(preview, {**said, "act": "check"})
    back = Job.objects.get().parameters["page"]
    for address in (looked, part.headers["HX-Push-Url"], back):
        assert len(address) < 1_000
        assert set(client.get(address).context["seen"].winners.values()) == {"b"}
    kept = [name for name in default_storage.listdir(f"uploads/{project.pk}")[1] if name.endswith(".said")]
    assert len(kept) == 1, "the same said again is kept once"
    default_storage.delete(f"uploads/{project.pk}/{kept[0]}")
    assert "no longer kept" in client.get(looked).content.decode()


def test_columns_that_no_guess_knows_can_be_chosen(client, lead):
    page = client.get(upload(client, lead.projects.get(), {"質": "Q?", "甲": "x", "乙": "y"}).url)
    assert list(page.context["seen"].columns) == ["質", "甲", "乙"] and not page.context["seen"].can_import
    assert '<option value="甲">' in page.content.decode()


def test_a_key_in_the_address_leads_to_no_other_file(client, lead):
    preview = upload(client, lead.projects.get(), ROW).url
    for key in ("../x", "0" * 32, "0" * 31, ""):
        assert client.get(preview, {"said": key}).context["seen"].can_import


@pytest.mark.django_db(transaction=True)
def test_a_check_of_all_rows_stores_nothing_and_leads_back(client, lead):
    project = lead.projects.get()
    preview = upload(client, project, OWN_COLUMNS, {**OWN_COLUMNS, "winner": "hm"}).url
    address = client.post(preview, {**SAID, "act": "check"}).url
    assert ingest.run_ingests() == 1
    job = Job.objects.get(kind=Job.Kind.INGEST)
    assert job.state == Job.State.DONE and "says 'hm'" in job.result["errors"][0]["reason"]
    assert not project.comparisons.exists() and not project.imports.exists()
    found = client.get(address).content.decode()
    assert "What has to be mended" in found and "This file cannot be imported as it is." in found
    said = {**SAID, "value": ["left", "hm"], "means": ["a", "tie"]}
    client.post(preview, {**said, "act": "check"})
    ingest.run_ingests()
    checked = Job.objects.filter(kind=Job.Kind.INGEST).last()
    assert (checked.result["comparisons"], checked.result["errors"]) == (1, [])
    assert not project.comparisons.exists() and not project.raters.exists()
    back = client.get(checked.parameters["page"])
    assert back.context["seen"].winners == {"left": "a", "hm": "tie"}
    page = client.get(reverse("job", args=[project.pk, checked.pk])).content.decode()
    assert "What the import would do" in page and "Back to the preview" in page


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_import_that_would_change_or_changed_nothing_says_so_first(client, lead):
    project = lead.projects.get()
    for act in ("", "check", ""):
        client.post(upload(client, project, ROW, name="again.jsonl").url, {"act": act})
        assert ingest.run_ingests() == 1
    first, check, second = Job.objects.filter(kind=Job.Kind.INGEST).order_by("pk")
    told = {
        job: client.get(reverse("job", args=[project.pk, job.pk])).content.decode() for job in (first, check, second)
    }
    assert "nothing" not in told[first] and "again.jsonl" in told[first]
    assert "The import would change nothing." in told[check] and "The import changed nothing." in told[second]
    # Who follows it is not led on to comparisons that are the old ones.
    progress = reverse("job_progress", args=[project.pk, second.pk])
    assert client.get(progress, {"follow": 1})["HX-Redirect"] == reverse("job", args=[project.pk, second.pk])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "held, words",
    [
        ([EMPTY], "Nothing of it could be carried."),
        ([FULL, EMPTY], "What of it could be carried is here already."),
        ([FULL], "All of it is here already."),
    ],
)
def test_an_import_that_brought_nothing_says_whether_it_is_here_or_could_not_be_carried(client, lead, held, words):
    project = lead.projects.get()
    for number, (act, rows) in enumerate([("", [FULL]), ("check", held), ("", held)]):
        client.post(upload(client, project, *rows).url, {"act": act})
        assert ingest.run_ingests() == 1
        job = Job.objects.filter(kind=Job.Kind.INGEST).last()
        page = client.get(reverse("job", args=[project.pk, job.pk])).content.decode()
        headline = page.partition("</h1>")[0].partition("<h1")[2]
        said = [each for each in ("could be carried", "All of it is here") if each in headline]
        assert said == ([next(each for each in said if each in words)] if number else [])
        assert not number or words in headline


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", [KeyboardInterrupt, OSError])
def test_an_import_that_is_stored_is_done_whatever_becomes_of_its_upload_and_worker(client, lead, monkeypatch, how):
    project = lead.projects.get()
    client.post(upload(client, project, ROW).url)

    def fails(*_arguments):
        raise how("storage is away")

    with monkeypatch.context() as dying, contextlib.suppress(KeyboardInterrupt):
        dying.setattr(FileSystemStorage, "delete", fails)
        ingest.run_ingests()
    job = project.jobs.get(kind=Job.Kind.INGEST)
    assert (job.state, job.attempts, job.result["comparisons"]) == (Job.State.DONE, 1, 1)
    assert ingest.run_ingests() == 0 and project.imports.count() == 1
    page = client.get(reverse("job", args=[project.pk, job.pk])).content.decode()
    assert "1 comparisons of 1 new prompts" in page and "changed nothing" not in page


def test_who_follows_a_restore_reads_its_report_first(client, lead):
    project = lead.projects.get()
    job = Job.objects.request(project, Job.Kind.INGEST, key="store", by=lead)
    for words, name in (("40 judgments restored", "job"), ("", "comparisons")):
        job.state, job.result = Job.State.DONE, {"comparisons": 9, "words": words}
        job.save()
        went = client.get(reverse("job_progress", args=[project.pk, job.pk]), {"follow": 1})["HX-Redirect"]
        assert went == reverse(name, args=[project.pk, *([job.pk] if name == "job" else [])])


def test_a_cancelled_import_is_said_to_leave_nothing(client, lead):
    project = lead.projects.get()
    client.post(upload(client, project, ROW).url)
    job = Job.objects.get(kind=Job.Kind.INGEST)
    page = client.post(reverse("job_cancel", args=[project.pk, job.pk]), follow=True).content.decode()
    assert "Nothing of the file is imported" in page and "What it had stored stays" not in page
    assert reverse("import_upload", args=[project.pk]) in page.partition("<h1")[2]


def test_an_upload_goes_to_disk_as_it_arrives_and_is_moved_never_held_in_memory(client, lead, monkeypatch):
    monkeypatch.setattr(MemoryFileUploadHandler, "new_file", lambda *_args, **_options: pytest.fail("held in memory"))
    saved = []
    monkeypatch.setattr(
        FileSystemStorage, "_save", lambda self, name, file: saved.append(file) or save(self, name, file)
    )
    project = lead.projects.get()
    upload(client, project, ROW)
    assert isinstance(saved[0], uploads.ArrivingFile)
    folder = default_storage.path("")
    assert saved[0].temporary_file_path().startswith(folder) and not Path(saved[0].temporary_file_path()).exists()


def test_a_script_is_told_where_to_go_or_what_is_wrong(client, lead):
    address = reverse("import_upload", args=[lead.projects.get().pk])
    file = SimpleUploadedFile("rows.jsonl", json.dumps(ROW).encode())
    answer = client.post(address, {"file": file}, headers={"Accept": "application/json"})
    assert client.get(answer.json()["next"]).context["seen"].can_import
    refused = client.post(address, {}, headers={"Accept": "application/json"})
    assert refused.status_code == 422 and refused.json()["errors"] == ["File: This field is required."]


def test_too_large_an_upload_is_refused_before_it_is_read(client, lead, settings):
    settings.UPLOAD_LIMIT = 20
    address = reverse("import_upload", args=[lead.projects.get().pk])
    answer = client.post(address, {"file": SimpleUploadedFile("rows.jsonl", b"x" * 100)})
    assert answer.status_code == 413


def test_an_upload_without_the_pages_token_is_refused(lead):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(lead)
    address = reverse("import_upload", args=[lead.projects.get().pk])
    assert strict.post(address, {"file": SimpleUploadedFile("rows.jsonl", b"{}")}).status_code == 403


def test_a_mixed_file_stays_recognised_row_by_row_when_the_pages_choice_is_sent(client, lead):
    labelled = {**ROW, "id": "q2", "human_labels": [{"annotator": "w", "preference": 1}]}
    preview = upload(client, lead.projects.get(), ROW, labelled).url
    page = client.get(preview)
    assert page.context["formats"][0] == ("", "Switchyard") and page.context["seen"].way.format == ""
    assert sum(len(entry.votes) for entry in look(client, preview, {"format": ""}).context["seen"].entries) == 1
    whole = look(client, preview, {"format": "native"}).context
    assert (
        whole["seen"].can_import
        and {column.name: column.place for column in whole["seen"].columns.values()}["human_labels"] == ""
    )


def test_a_zip_offers_its_tables_and_forgets_what_was_said_of_another(client, lead, tmp_path):
    packed = zip_of(tmp_path, {**FILES, "other/x.jsonl": json.dumps(OWN_COLUMNS)})
    address = reverse("import_upload", args=[lead.projects.get().pk])
    preview = client.post(address, {"file": SimpleUploadedFile("set.zip", packed.read_bytes())}).url
    assert client.get(preview).context["seen"].tables == ["pairs", "other"]
    seen = look(client, preview, {"table": "other", "of": "pairs", "format": "native"}).context["seen"]
    assert seen.table == "other" and seen.format == "mapped" and seen.can_import


def test_a_preview_is_in_words_not_in_code(client, lead):
    project = lead.projects.get()
    turns = [{"role": "user", "content": "Is it’s wet?"}]
    sides = {"talk": [*turns, {"role": "assistant", "content": "Yes."}], "more": {"a": None}}
    own = {"question": "Why does rain fall in drops?", "answer_1": "Tension.", "answer_2": "Magic."}
    page = client.get(upload(client, project, {**own, **sides}).url)
    shown = page.content.decode()
    examples = {name: column.example for name, column in page.context["seen"].columns.items()}
    assert examples["talk"] == "2 turns: Is it’s wet?" and examples["more"] == '{"a": null}'
    assert "rows.jsonl</bdi> · JSON Lines" in shown and "json lines" not in shown
    assert '<h2 id="c1"><bdi>Why does rain fall in drops?</bdi></h2>' in shown
    assert '<h2 id="c1"><bdi>q1</bdi></h2>' in client.get(upload(client, project, ROW).url).content.decode()


def test_a_preview_says_when_the_protocol_asks_for_less_than_the_file_holds(client, lead):
    words = "protocol HelpSteer2 asks for, and this project has another"
    rows = [json.loads(line) for line in (ROWS / "helpsteer2.jsonl").read_text().splitlines()]
    assert words in client.get(upload(client, lead.projects.get(), *rows).url).content.decode()
    fitting = make_project("helpsteer2")
    Membership.objects.create(project=fitting, user=lead, role=Role.LEAD)
    assert words not in client.get(upload(client, fitting, *rows).url).content.decode()
