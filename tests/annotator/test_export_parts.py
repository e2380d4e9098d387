"""An export is written in parts: what died is gone on with, to the same bytes, and filters leave out what they say."""

import gzip
import json

import pyarrow.parquet as pq
import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.urls import reverse

from annotator.formats import tables
from annotator.formats.source import Filters
from annotator.models import Guidelines, Import, Job, JobCancelled, Judgment
from annotator.pipeline import aggregate, export, parts, work
from annotator.readings.snapshot import Snapshot
from tests.builders import (
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    monkeypatch.setattr(parts, "PART_ROWS", 3)


@pytest.fixture
def project():
    """Eight comparisons; two people and a labeler judged each, and they disagree on every third."""
    project = make_project(provenance="generated")
    people, judge = [make_person(project), make_person(project)], make_labeler(project)
    for number in range(8):
        comparison = make_comparison(project, metadata={"language": "en" if number % 2 else "ja"})
        for person, level in zip(people, (1, -1 if number % 3 == 0 else 1), strict=True):
            make_judgment(comparison, person, level)
        make_judgment(comparison, judge, p_b=0.7, cost="0.01")
    return project


def ask(project, format="trl_reward", container="jsonl", source="pooled", filters=None, **options):
    recipe = aggregate.recipe(project, source)
    return export.request_export(project, format, container, recipe, options, None, filters)


def write(*args, **fields):
    made, _job = ask(*args, **fields)
    done = export.write_export(made)
    Job.objects.update(state=Job.State.DONE)
    return done


def hashes(done):
    return {file["name"]: file["sha256"] for file in done.files if file["rows"] is not None}


def keys(done):
    with default_storage.open(next(file["address"] for file in done.files if file["name"].endswith(".jsonl"))) as file:
        return [json.loads(line)["meta_comparison_id"] for line in file]


class Dies(Exception):
    pass


def dying_at(monkeypatch, error, *calls):
    """Judgments cannot be read at these calls, counted from 0; a page of comparisons is one."""
    read, seen = Snapshot._votes, []

    def votes(self, judgments):
        seen.append(judgments)
        if len(seen) - 1 in calls:
            raise error("the database has gone")
        return read(self, judgments)

    monkeypatch.setattr(Snapshot, "_votes", votes)
    return seen


@pytest.mark.parametrize(
    ("format", "container", "size"),
    [
        ("trl_reward", "jsonl", 4),
        ("trl_reward", "jsonl.gz", 4),
        ("trl_reward", "parquet", 4),
        ("judgments", "parquet", 7),
    ],
)
def test_a_run_that_died_is_gone_on_with_to_the_same_bytes(project, monkeypatch, format, container, size):
    monkeypatch.setattr(parts, "PART_ROWS", size)
    whole = write(project, format, container, validation=0.3 if format == "trl_reward" else 0)
    with monkeypatch.context() as patch:
        seen = dying_at(patch, Dies, 1)
        made, job = ask(project, format, container, **({"validation": 0.3} if format == "trl_reward" else {}))
        with pytest.raises(Dies):
            export.write_export(made)
        assert len(seen) == 2
        # What came after the first run began is not in it, nor in what goes on with it.
        make_judgment(make_comparison(project), make_person(project), 1)
        done = export.write_export(made)
        assert len([judgments for judgments in seen if judgments]) == 3
    assert hashes(done) == hashes(whole)
    for name in ("counted", "filters", "data_sha256"):
        assert done.manifest[name] == whole.manifest[name]
    assert not (parts._root() / str(made.pk)).exists()


@pytest.mark.slow
def test_a_damaged_part_begins_again(project, monkeypatch):
    whole = write(project)
    made, _job = ask(project)
    with monkeypatch.context() as patch:
        dying_at(patch, Dies, 2)
        with pytest.raises(Dies):
            export.write_export(made)
    file = parts._root() / str(made.pk) / "set" / "default" / "train.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Water", b"Wasser", 1))
    assert hashes(export.write_export(made)) == hashes(whole)


@pytest.mark.slow
def test_parts_make_one_json_lines_file_and_shards_of_parquet(project):
    lines, packed, shards = (write(project, container=container) for container in ("jsonl", "jsonl.gz", "parquet"))
    assert list(hashes(lines)) == ["default/train.jsonl"]
    assert list(hashes(shards)) == [f"default/train-0000{number}-of-00003.parquet" for number in range(3)]
    by_name = {file["name"]: file["address"] for file in [*lines.files, *packed.files, *shards.files]}
    text = default_storage.open(by_name["default/train.jsonl"]).read()
    assert gzip.decompress(default_storage.open(by_name["default/train.jsonl.gz"]).read()) == text
    tables = [pq.read_table(default_storage.open(by_name[name])).to_pylist() for name in hashes(shards)]
    assert [row for table in tables for row in table] == [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_database_that_comes_back_does_not_fail_the_export(project, monkeypatch):
    whole = write(project)
    waited = []
    monkeypatch.setattr(parts.time, "sleep", waited.append)
    monkeypatch.setattr(parts, "connection", type("Connection", (), {"in_atomic_block": False, "close": lambda: None}))
    dying_at(monkeypatch, OperationalError, 1, 2)
    assert hashes(write(project)) == hashes(whole)
    assert waited == [1, 5]


def test_a_cancelled_run_leaves_nothing_aside(project, monkeypatch):
    made, _job = ask(project)
    monkeypatch.setattr(parts, "BEAT_SECONDS", 0)
    job = Job.objects.claim(Job.Kind.EXPORT)
    beat, said = Job.beat, []

    def cancels(self, progress, total, message="", result=None):
        said.append((progress, total, message))
        if progress > 3:
            self.cancel()
        beat(self, progress, total, message, result)

    monkeypatch.setattr(Job, "beat", cancels)
    with pytest.raises(JobCancelled):
        export.write_export(made, job)
    assert said[0] == (0, 8, "0 rows")
    assert said[-1][:2] == (6, 8) and "a second" in said[-1][2]
    assert not (parts._root() / str(made.pk)).exists()


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, 8),
        ({"agreement": 1.0}, 5),
        ({"votes": 3}, 8),
        ({"votes": 4}, 0),
        ({"metadata": {"language": "en"}}, 4),
        ({"metadata": {"language": "en"}, "agreement": 0.9}, 3),
        ({"metadata": {"language": "fr"}}, 0),
        ({"protocol": 1}, 8),
    ],
)
def test_filters_leave_out_what_they_say_and_the_count_before_agrees(project, filters, left):
    recipe = aggregate.recipe(project, "pooled")
    aggregate.aggregate()
    assert Snapshot.about(project, recipe, Filters(**filters), 100) == left
    if not left:
        with pytest.raises(work.StepRefused, match="nothing to export"):
            write(project, filters=filters)
        return
    done = write(project, filters=filters)
    assert len(keys(done)) == left
    assert done.manifest["filters"]["chosen"] == filters
    assert done.filters == Filters(**filters).as_dict()


@pytest.mark.slow
def test_a_plan_and_a_version_of_the_protocol_are_filters(project):
    first, second, *rest = project.comparisons.order_by("pk")
    plan = make_plan(project, {first: None, second: None})
    assert keys(write(project, filters={"plan": plan.number})) == [first.external_id, second.external_id]
    project.protocols.create(version=2, preset="plain", definition=project.protocol.definition)
    later = rest[0]
    make_judgment(later, make_person(project), -1)
    done = write(project, source="people", filters={"protocol": 2})
    assert keys(done) == [later.external_id]
    assert done.manifest["counted"]["judgments_by_source"] == {"people": 1}


def test_settled_is_what_as_many_people_have_judged_as_are_wanted_or_a_reviewer(project):
    first, second, *_rest = project.comparisons.order_by("pk")
    project.comparisons.update(votes_wanted=3)
    make_judgment(first, make_person(project), 1)
    make_judgment(second, make_person(project), 1, purpose="review")
    assert keys(write(project, filters={"status": "settled"})) == [first.external_id, second.external_id]


@pytest.mark.parametrize(
    ("format", "filters", "words"),
    [
        ("judgments", {"votes": 2}, "takes none"),
        ("trl_reward", {"agreement": 2.0}, "agreement"),
        ("trl_reward", {"votes": -1}, "votes"),
        ("trl_reward", {"status": "lost"}, "status"),
        ("trl_reward", {"plan": 7}, "no plan 7"),
        ("trl_reward", {"protocol": 9}, "no version 9"),
        ("trl_reward", {"colour": "red"}, "no such filter"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_in_words(project, format, filters, words):
    with pytest.raises(work.StepRefused, match=words):
        ask(project, format, filters=filters)
    assert not project.exports.exists()


def test_other_filters_are_another_export(project):
    made, _job = ask(project)
    other, _job = ask(project, filters={"votes": 2})
    assert made != other
    assert ask(project, filters={"votes": 2})[0] == other


def test_the_manifest_names_what_came_in_and_the_guidelines_that_were_answered(project, monkeypatch):
    came = {"project": project, "format": "native", "bytes": 9, "rows": 8}
    Import.objects.create(**came, filename="a.jsonl", sha256="ab" * 32)
    write_part = tables.Tables.write_part

    def meanwhile(*given):
        Import.objects.create(**came, filename="b.jsonl", sha256="cd" * 32)
        return write_part(*given)

    monkeypatch.setattr(tables.Tables, "write_part", meanwhile)
    Guidelines.objects.create(project=project, version=1, text="Be fair.")
    project.guidelines, project.guidelines_version = "Be kind.", 2
    project.save()
    Judgment.objects.filter(rater__kind="person").update(guidelines_version=1)
    facts = write(project).manifest
    assert [(each["filename"], each["sha256"], each["rows"]) for each in facts["inputs"]] == [("a.jsonl", "ab" * 32, 8)]
    assert facts["guidelines"]["version"] == 2
    assert [each["version"] for each in facts["guidelines"]["answered"]] == [1]
    assert facts["guidelines"]["answered"][0]["sha256"] != facts["guidelines"]["sha256"]


def test_the_command_takes_filters_and_options(project, tmp_path):
    call_command(
        *("export", project.pk, "trl_reward", "--file-type", "jsonl", "--judgments", "pooled", "--margin", "llama2"),
        *("--metadata", "language=en", "--votes", "2", "--to", tmp_path / "set"),
    )
    assert len((tmp_path / "set/default/train.jsonl").read_text().splitlines()) == 4
    made = project.exports.get()
    assert (made.filters["votes"], made.filters["metadata"], made.options["margin"]) == (
        2,
        {"language": "en"},
        "llama2",
    )
    with pytest.raises(CommandError, match="not of the form"):
        call_command("export", project.pk, "trl_reward", "--metadata", "language")


@pytest.mark.slow
@pytest.mark.parametrize("container", ["parquet", "jsonl.gz"])
def test_datasets_loads_shards_and_members_as_one_split(project, tmp_path, monkeypatch, container):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    done = write(project, container=container)
    for file in done.files:
        path = tmp_path / "set" / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(default_storage.open(file["address"]).read())
    loaded = datasets.load_dataset(str(tmp_path / "set"))
    asked = [comparison.external_id for comparison in project.comparisons.order_by("pk")]
    assert loaded["train"]["meta_comparison_id"][:] == asked


def test_the_page_shows_what_a_format_reads_and_counts_what_would_go_out(project, client):
    client.force_login(make_member(project, "lead"))
    aggregate.aggregate()
    options = reverse("export_options", args=[project.pk])
    reward = client.get(options, {"format": "trl_reward", "votes": "2"}).content.decode()
    assert 'name="margin"' in reward and 'name="votes" value="2"' in reward
    assert 'value="keep">keep them as ties' not in reward
    store = client.get(options, {"format": "judgments"}).content.decode().split("<noscript>")[0]
    assert 'name="margin"' not in store and "no filter applies" in store
    count = reverse("export_count", args=[project.pk])
    assert '<b class="num">4</b> comparisons pass' in client.get(count, {"metadata": "language = en"}).content.decode()
    assert '<b class="num">8</b> comparisons have a judgment that counts' in client.get(count).content.decode()
    assert "not valid" in client.get(count, {"metadata": "language"}).content.decode()
