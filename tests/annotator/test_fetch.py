"""Public sets by name: from the page to a job, from the hub's rows to an import; what is refused is told in words."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotator.formats import READERS, public_sets, source
from annotator.formats.files import RowFile
from annotator.models import Import, Job, Rater, Role
from annotator.pipeline import fetch, work
from annotator.protocols import PRESETS
from tests.builders import make_member, make_project

ROWS = Path(__file__).parent / "rows"
PAIR = {"id": "q1", "prompt": "What is rain?", "response_a": "Water.", "response_b": "Fire.", "nothing": None}
pytestmark = pytest.mark.django_db


class Stream(list):
    """Rows as the package streams them."""

    def take(self, count):
        return self[:count]


@pytest.fixture
def hub(monkeypatch):
    """A hub that has the rows that are put into it."""
    rows, origin = (
        Stream(),
        {"name": "some/set", "config": "default", "split": "train", "revision": "0f", "licence": ""},
    )
    monkeypatch.setattr(
        fetch, "_streamed", lambda asked, folder: fetch.Opened(rows, origin, len(rows), in_columns=True)
    )
    return rows


@pytest.fixture
def lead(client):
    user = make_member(make_project(), Role.LEAD)
    client.force_login(user)
    return user


def address(user):
    return reverse("import_fetch", args=[user.projects.get().pk])


@pytest.mark.django_db(transaction=True)
def test_a_lead_asks_for_a_set_once_and_the_worker_imports_it(client, lead, hub):
    hub += [PAIR, {**PAIR, "id": "q2", "judgments": '[{"kind": "ai", "rater": "x", "p_b": 0.25}]'}]
    given = {"name": "some/set", "config": "", "split": "", "revision": "", "limit": ""}
    first, second = client.post(address(lead), given), client.post(address(lead), given)
    job = Job.objects.get(kind=Job.Kind.FETCH)
    assert first.url == second.url == reverse("job", args=[job.project_id, job.pk])
    assert fetch.run_fetches() == 1
    job.refresh_from_db()
    assert job.state == Job.State.DONE, job.message
    brought = Import.objects.get()
    assert (brought.filename, brought.origin["revision"], brought.rows) == ("some/set", "0f", 2)
    assert brought.created_by == lead
    assert job.project.comparisons.count() == 2 and job.project.judgments.get().p_b == 0.25


def test_rows_of_a_set_keep_the_split_that_was_asked_for_unless_they_have_one(hub):
    hub += [PAIR, {**PAIR, "id": "q2", "prompt": "Why?", "split": "test"}]
    project = make_project()
    fetch.take(project, fetch.Asked("some/set"))
    said = dict(project.comparisons.values_list("external_id", "metadata"))
    assert said == {"q1": {"split": "train"}, "q2": {"split": "test"}}
    assert not fetch.take(project, fetch.Asked("some/set")).anything_new


@pytest.mark.parametrize(
    ("config", "kind"), [("gpt4_overall_binarized", Rater.Kind.LABELER), ("human_overall_binarized", Rater.Kind.PERSON)]
)
def test_a_configuration_that_an_ai_judged_brings_no_votes_of_people(monkeypatch, config, kind):
    said = [{"role": "user", "content": "Why?"}]
    answers = {"chosen": "So.", "rejected": "No."}
    row = {side: [*said, {"role": "assistant", "content": text}] for side, text in answers.items()}
    origin = {"name": "some/set", "config": config, "split": "train", "revision": "0f", "licence": ""}
    opened = fetch.Opened(Stream([row]), origin, 1, in_columns=True)
    monkeypatch.setattr(fetch, "_streamed", lambda asked, folder: opened)
    project = make_project()
    fetch.take(project, fetch.Asked("some/set", config))
    assert project.judgments.get().rater.kind == kind


@pytest.mark.parametrize(
    ("published", "split"),
    [("test_prefs", "test"), ("train_sft", "train"), ("Dev", "validation"), ("valid1", "validation"),
     ("testing-2.gen", "test"), ("latest_train", ""), ("filtered", "")],
)  # fmt: skip
def test_an_export_knows_published_splits_by_how_they_begin(published, split):
    assert source.said_split({"split": published}) == split


@pytest.mark.parametrize(
    "given",
    [
        {"name": "../../etc/passwd"}, {"name": "/etc/passwd"}, {"name": "a/b/c"}, {"name": "only"}, {"name": ""},
        {"name": "http://127.0.0.1/x"}, {"name": "a/..b"}, {"name": "owner/name\n"}, {"name": "owner/ñ"},
        {"config": "../x"}, {"config": "/etc"}, {"split": "a b"}, {"revision": "x/../y"}, {"limit": "0"},
    ],
)  # fmt: skip
def test_nothing_but_a_name_on_the_hub_is_asked_for(client, lead, given):
    response = client.post(address(lead), {"name": "some/set", **given})
    assert response.status_code == 422 and not Job.objects.exists()
    if "limit" not in given:
        with pytest.raises(work.StepRefused):
            fetch.request_fetch(lead.projects.get(), fetch.Asked(**{"name": "some/set", **given}), None)


def test_known_sets_can_be_read_and_fill_in_the_form(client, lead):
    assert {one.reader for one in public_sets.SETS} <= READERS.keys()
    assert {one.preset for one in public_sets.SETS} <= {"", *PRESETS}
    assert all(fetch.NAME.fullmatch(one.name) for one in public_sets.known())
    page = client.get(address(lead) + "?name=allenai/multipref&config=&split=train").content.decode()
    assert 'value="allenai/multipref"' in page and "nvidia/HelpSteer2&amp;config=preference" not in page
    assert "name=nvidia%2FHelpSteer2&amp;config=preference&amp;split=train" in page


def test_without_models_page_and_command_say_what_to_do(client, lead, settings):
    settings.MODELS = False
    assert "MODELS=no" in client.get(address(lead)).content.decode()
    assert client.post(address(lead), {"name": "some/set"}).status_code == 422 and not Job.objects.exists()
    with pytest.raises(CommandError, match="MODELS=no.*upload them"):
        call_command("import_dataset", lead.projects.get().pk, "some/set")


def test_a_row_that_does_not_fit_stores_nothing_and_leaves_no_file(hub, settings):
    hub += [PAIR, {**PAIR, "id": "q2", "response_b": "broken \ud800"}]
    project = make_project()
    with pytest.raises(work.StepRefused, match="line 2"):
        fetch.take(project, fetch.Asked("some/set"))
    assert not project.comparisons.exists() and not Import.objects.exists()
    assert not list((Path(settings.VAR_DIR) / "fetching").iterdir())
    hub[1] = {**PAIR, "id": "q2", "picture": b"\x89PNG"}
    with pytest.raises(work.StepRefused, match="Row 2 of the set holds something else"):
        fetch.take(project, fetch.Asked("some/set"))
    assert fetch.take(project, fetch.Asked("some/set", limit=1)).comparisons == 1


def test_a_cancelled_fetch_stops_at_its_next_sign_of_life(hub, monkeypatch):
    monkeypatch.setattr(fetch, "BEAT_ROWS", 1)
    hub += [PAIR]
    job = fetch.request_fetch(make_project(), fetch.Asked("some/set"), None)
    claimed = Job.objects.claim(Job.Kind.FETCH)
    job.refresh_from_db()
    job.cancel()
    work.run(claimed, fetch._fetch_job)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED and not job.project.comparisons.exists()


def test_a_full_disk_is_noticed_before_it_is_full(hub, monkeypatch):
    monkeypatch.setattr(fetch, "BEAT_ROWS", 1)
    monkeypatch.setattr(fetch, "LEAST_FREE", 2**80)
    hub += [PAIR]
    with pytest.raises(work.StepRefused, match="disk is nearly full"):
        fetch.take(make_project(), fetch.Asked("some/set"))


def refused(kind, status):
    from huggingface_hub import errors

    request = httpx2.Request("GET", "https://hub.invalid")
    return getattr(errors, kind)("no", response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ConnectError("Name or service not known"), "could not be reached: Name or service.*upload them"),
        (ConnectionError("Couldn't reach"), "could not be reached"),
        (lambda: refused("RepositoryNotFoundError", 404), "no public data set some/set.*spelling"),
        (lambda: refused("GatedRepoError", 403), "accepts its terms.*HF_TOKEN"),
        (lambda: refused("RevisionNotFoundError", 404), "has no revision v9"),
        (ValueError("BuilderConfig 'x' not found"), "cannot be read as it was asked for: BuilderConfig"),
    ],
)
def test_what_the_hub_refuses_is_told_in_words(monkeypatch, error, words):
    def fail(asked, folder):
        raise error() if callable(error) else error

    monkeypatch.setattr(fetch, "_streamed", fail)
    with pytest.raises(work.StepRefused, match=words):
        fetch.take(make_project(), fetch.Asked("some/set", revision="v9"))


@pytest.mark.parametrize(
    "files", ["/etc/passwd", "../../x.json", "http://169.254.169.254/x.json", "zip://x::http://y", "~/x.csv"]
)
@pytest.mark.parametrize("shape", ["{}", "[{{split: train, path: {}}}]", "{{train: [ok.json, {}]}}"])
def test_a_set_whose_header_names_other_places_is_not_opened(monkeypatch, tmp_path, files, shape):
    card = tmp_path / "README.md"
    card.write_text(f"---\nconfigs:\n- config_name: a\n  data_files: {shape.format(json.dumps(files))}\n---\n")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: str(card))
    with pytest.raises(work.StepRefused, match="outside its own repository"):
        fetch._header_on_hub("some/set", "0f", {"README.md": 200})
    card.write_text("---\nlicense: [odc-by, mit]\nconfigs:\n- config_name: a\n  data_files: a/*.json\n---\n# A set\n")
    assert fetch._licence(fetch._header_on_hub("some/set", "0f", {"README.md": 200})) == "odc-by, mit"


BOMB = "---\na: &a [p, p, p]\nb: &b [*a, *a, *a]\nconfigs:\n- config_name: a\n  data_files: *b\n---\n"


@pytest.mark.parametrize(
    "card",
    [BOMB, BOMB.replace("\n", "\u2028"), "---\nconfigs: " + "[" * 40 + "]" * 40 + "\n---\n", "---\nconfigs: [\n---\n"],
    ids=["aliases", "aliases behind other line ends", "depth", "no YAML"],
)
def test_a_header_that_stands_for_more_than_it_says_is_not_read(monkeypatch, tmp_path, card):
    path = tmp_path / "README.md"
    path.write_text(card)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: str(path))
    with pytest.raises(work.StepRefused, match="header of the set's card cannot be read"):
        fetch._header_on_hub("some/set", "0f", {"README.md": len(card)})


def test_a_card_of_gigabytes_is_not_fetched(monkeypatch):
    def fetched(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    with pytest.raises(work.StepRefused, match="too long"):
        fetch._header_on_hub("some/set", "0f", {"README.md": 5 * 2**20})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"private": True, "gated": False}, "no public data set"),
        ({"private": False, "gated": "auto"}, "PUBLIC_SETS_AL"),
    ],
)
def test_the_workers_token_opens_private_and_gated_sets_only_where_the_operator_says(
    monkeypatch, settings, facts, words
):
    info = SimpleNamespace(**facts, sha="0f", siblings=[])
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *args, **kwargs: info)
    with pytest.raises(work.StepRefused, match=words):
        fetch._facts_of_hub(fetch.Asked("acme/secret"))
    settings.PUBLIC_SETS_ALLOWED = ["acme/secret"]
    assert fetch._facts_of_hub(fetch.Asked("acme/secret")) == {"revision": "0f", "licence": ""}


# Of each published layout: the folder as it lies on the hub, and what of it is asked for.
LAYOUTS = {
    "helpsteer2": ("train.jsonl", {}, "helpsteer2"),
    "helpsteer2_preference": ("preference/preference.jsonl", {"config": "preference"}, "helpsteer2"),
    "helpsteer2_disagreements": ("disagreements/disagreements.jsonl", {"config": "disagreements"}, "helpsteer2"),
    "helpsteer3": ("preference/train.jsonl", {"config": "preference"}, "helpsteer3"),
    "multipref": ("data/train.jsonl", {}, "multipref"),
    "ultrafeedback": ("ultrachat.jsonl", {}, "plain"),
    "hh_rlhf": ("harmless-base/train.jsonl", {"config": "harmless-base"}, "plain"),
    "rewardbench": ("data/filtered.jsonl", {"split": "filtered"}, "plain"),
    "shp": ("askbaking/train.jsonl", {"config": "askbaking"}, "plain"),
    "arena": ("data/train.jsonl", {}, "arena"),
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", LAYOUTS)
@pytest.mark.parametrize("container", ["json", "parquet"])
def test_a_local_folder_in_the_documented_layout_comes_in(tmp_path, settings, reader, container):
    name, asked, preset = LAYOUTS[reader]
    target = tmp_path / "set" / name
    target.parent.mkdir(parents=True)
    rows = [row for _line, row in RowFile(ROWS / f"{reader}.jsonl")]
    if container == "json":
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), target.with_suffix(".parquet"))
    header = "license: cc-by-4.0\n"
    if "split" in asked:
        header += f"configs:\n- config_name: default\n  data_files:\n  - split: {asked['split']}\n    path: data/*\n"
    (tmp_path / "set" / "README.md").write_text(f"---\n{header}---\n")
    project = make_project(preset)
    given = [f"--{part}={value}" for part, value in asked.items()]
    call_command("import_dataset", project.pk, str(tmp_path / "set"), *given)
    brought = Import.objects.get(project=project)
    assert brought.format == reader and brought.rows and project.comparisons.exists()
    assert brought.origin["licence"] == "cc-by-4.0" and brought.origin["split"] == asked.get("split", "train")


@pytest.mark.slow
def test_a_folder_with_several_splits_or_other_files_is_refused_in_words(tmp_path):
    project = make_project()
    for split in ("test", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(PAIR))
    with pytest.raises(CommandError, match="Say which split: .*test"):
        call_command("import_dataset", project.pk, str(tmp_path))
    with pytest.raises(CommandError, match="no split train; there are"):
        call_command("import_dataset", project.pk, str(tmp_path), "--split=train")
    call_command("import_dataset", project.pk, str(tmp_path), "--split=test")
    assert project.comparisons.count() == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("text")
    with pytest.raises(CommandError, match="of the kind text"):
        call_command("import_dataset", project.pk, str(tmp_path / "other"))


def test_a_folder_that_is_not_there_is_not_taken_for_a_name_of_the_hub(tmp_path):
    with pytest.raises(CommandError, match="there is no folder .*copies/multipref"):
        call_command("import_dataset", make_project().pk, str(tmp_path / "copies/multipref"))


def test_a_cell_that_is_nested_too_deeply_is_left_to_its_reader():
    deep = "[" * 200_000
    assert json.loads(fetch._line({"metadata": deep, "id": "a"}, 1, in_columns=True)) == {"metadata": deep, "id": "a"}
