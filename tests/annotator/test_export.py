"""Exporting: what goes into a data set, that it is complete or not there, and that it can be repeated."""

import errno
import json
import re
from datetime import timedelta
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from annotator.models import Candidate, Export, Job, JobCancelled, Judgment, Rater, Response
from annotator.pipeline import aggregate, assign, export, judge, places, storing, work
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
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    return make_project(provenance="generated")


def judged(project, level=1, **fields):
    comparison = make_comparison(project, **fields)
    make_judgment(comparison, make_person(project), level)
    return comparison


def ask(project, format="judgments", container="jsonl", source="routed", **options):
    recipe = aggregate.recipe(project, source)
    return export.request_export(project, format, container, recipe, options, None)


def write(project, *args, **options):
    made, _job = ask(project, *args, **options)
    done = export.write_export(made)
    Job.objects.update(state=Job.State.DONE)
    return done


def read(done, name):
    address = next(file["address"] for file in done.files if file["name"] == name)
    with default_storage.open(address) as file:
        if name.endswith(".parquet"):
            return pq.read_table(file).to_pylist()
        text = file.read().decode()
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else text


@pytest.mark.slow
def test_text_survives_byte_for_byte(project):
    odd = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \ufeff \u200f שלום ‮ \x7f\x01 end "
    comparison = judged(project, prompt=odd, a=odd + "A", b=odd + "B")
    for container in ("jsonl", "parquet"):
        done = write(project, "trl_reward", container)
        address = next(file["address"] for file in done.files if file["rows"])
        raw = default_storage.open(address).read()
        rows = (
            [json.loads(line) for line in raw.split(b"\n") if line]
            if container == "jsonl"
            else pq.read_table(default_storage.open(address)).to_pylist()
        )
        assert [turn["content"] for turn in rows[0]["chosen"]] == [odd, odd + "B"]
        assert [turn["content"] for turn in rows[0]["rejected"]] == [odd, odd + "A"]
        assert rows[0]["meta_comparison_id"] == comparison.external_id


@pytest.mark.parametrize(
    ("format", "container"),
    [
        ("judgments", "jsonl"),
        ("trl_reward", "parquet"),
        pytest.param("judgments", "parquet", marks=pytest.mark.slow),
        pytest.param("trl_reward", "jsonl", marks=pytest.mark.slow),
    ],
)
def test_exporting_twice_gives_the_same_bytes(project, format, container):
    judge = make_labeler(project)
    for number in range(7):
        comparison = judged(project, level=number % 3 - 1)
        make_judgment(comparison, judge, p_b=0.1 * number)
    first, second = (write(project, format, container, "pooled") for _ in range(2))
    assert first.sha256 == second.sha256
    assert first.number != second.number
    assert first.manifest["files"] == second.manifest["files"]


def test_judgments_inside_their_undo_window_are_absent(project):
    comparison = judged(project, level=-1)
    undoable = judged(project)
    later = now() + timedelta(seconds=10)
    Judgment.objects.filter(comparison=undoable).update(effective_at=later)
    make_judgment(comparison, make_person(project), 1, effective_at=later)
    done = write(project)
    assert [row["level"] for row in read(done, "judgments/train.jsonl")] == [-1]
    assert [(row["p_b"], row["votes"]) for row in read(done, "labels/train.jsonl")] == [(0, 1)]
    assert len(read(done, "comparisons/train.jsonl")) == 2


def test_labels_in_an_export_are_those_that_aggregating_the_same_judgments_gives(project):
    judge = make_labeler(project)
    comparisons = [judged(project, level=level) for level in (-1, 0, 1)]
    for comparison in comparisons:
        make_judgment(comparison, judge, p_b=0.7)
    make_plan(project, {comparisons[0]: judge, comparisons[1]: None})
    done = write(project)
    aggregate.aggregate()
    stored = aggregate.default_recipe(project).labels.order_by("comparison")
    exported = read(done, "labels/train.jsonl")
    assert [(row["source"], row["p_b"]) for row in exported] == [(label.source, label.p_b) for label in stored]
    assert len(exported) == 3


def test_people_appear_under_pseudonyms_only(project):
    member = make_member(project, "annotator", name="ines.okafor")
    make_judgment(make_comparison(project), make_person(project, member), 1)
    worker = make_person(project)
    make_judgment(make_comparison(project), worker, 1)
    done = write(project)
    everything = "".join(default_storage.open(file["address"]).read().decode() for file in done.files)
    assert "ines.okafor" not in everything
    assert f'"{worker.external_id}"' not in everything
    raters = {row["rater"] for row in read(done, "raters/train.jsonl")}
    assert raters == {row["rater"] for row in read(done, "judgments/train.jsonl")}
    assert len(raters) == 2


def test_a_superseded_revision_is_in_the_lossless_store_and_counts_nowhere(project):
    comparison, person = make_comparison(project), make_person(project)
    make_judgment(comparison, person, 1, is_current=False)
    make_judgment(comparison, person, -1, revision=2)
    done = write(project)
    rows = read(done, "judgments/train.jsonl")
    assert [(row["level"], row["is_current"]) for row in rows] == [(1, False), (-1, True)]
    assert [row["p_b"] for row in read(done, "labels/train.jsonl")] == [0]


def test_an_undone_answer_is_in_no_export_even_after_its_window(project):
    member = make_member(project, "annotator")
    comparison = make_comparison(project, votes_wanted=1)
    places.open_places(project.pk, [comparison.pk])
    assignment = assign.next_assignment(project, make_person(project, member))
    judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4(), active_ms=10)
    judge.undo(assignment)
    Judgment.objects.update(effective_at=now() - timedelta(minutes=1))
    judged(project, level=-1)
    rows = read(write(project), "judgments/train.jsonl")
    assert [row["level"] for row in rows] == [-1]


@pytest.mark.slow
def test_a_crash_in_the_middle_shows_nothing_and_a_rerun_completes_it(project, monkeypatch):
    for _ in range(3):
        judged(project)
    made, job = ask(project, "trl_reward")
    store = storing.store
    calls = []

    def dies_at_the_second_file(name, path):
        calls.append(name)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "no space left")
        return store(name, path)

    monkeypatch.setattr(storing, "store", dies_at_the_second_file)
    assert export.run_exports() == 1
    job.refresh_from_db()
    made.refresh_from_db()
    assert job.state == "failed" and job.message.startswith("The disk of this site is full.")
    assert (made.files, made.completed_at, made.sha256) == ([], None, "")
    monkeypatch.setattr(storing, "store", store)
    Job.objects.filter(pk=job.pk).update(state=Job.State.WAITING)
    assert export.run_exports() == 1
    made.refresh_from_db()
    assert made.completed_at
    assert {file["name"] for file in made.files} == {
        *("README.md", "croissant.json", "manifest.json", "default/train.jsonl")
    }
    for file in made.files:
        assert len(default_storage.open(file["address"]).read()) == file["bytes"]


def test_a_cancelled_export_stops_and_publishes_nothing(project):
    for _ in range(3):
        judged(project)
    made, _job = ask(project)
    job = Job.objects.claim(Job.Kind.EXPORT)
    job.cancel()
    with pytest.raises(JobCancelled):
        export.write_export(made, job)
    made.refresh_from_db()
    assert (made.files, made.completed_at) == ([], None)


def test_asking_twice_before_it_ran_makes_one_export(project):
    first, second = ask(project), ask(project)
    assert first == second
    other, _job = ask(project, container="parquet")
    assert other.number == first[0].number + 1


def test_a_finished_export_is_never_written_again(project):
    judged(project)
    done = write(project)
    judged(project)
    assert export.write_export(done).sha256 == done.sha256
    assert Export.objects.get(pk=done.pk).completed_at == done.completed_at


@pytest.mark.parametrize(
    ("format", "container", "options", "words"),
    [
        ("multipref", "parquet", {}, "preset “multipref”"),
        ("csv", "parquet", {}, "none of helpsteer2"),
        ("trl_reward", "xml", {}, "file type"),
        ("trl_reward", "jsonl", {"ties": "toss a coin"}, "ties"),
        ("trl_reward", "jsonl", {"validation": 0.9}, "validation"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason_and_stores_nothing(project, format, container, options, words):
    with pytest.raises(work.StepRefused, match=words):
        ask(project, format, container, **options)
    assert not Export.objects.exists()
    assert not Job.objects.exists()


def test_an_export_of_nothing_says_why(project):
    judged(project, level=0)
    made, _job = ask(project, "trl_reward")
    with pytest.raises(work.StepRefused, match="1 × a tie"):
        export.write_export(made)


@pytest.mark.slow
def test_equal_prompts_never_cross_the_split(project):
    for number in range(60):
        judged(project, prompt=f"prompt {number % 30}")
    done = write(project, "trl_reward", validation=0.3, seed=4)
    prompts = {
        split: {row["chosen"][0]["content"] for row in read(done, f"default/{split}.jsonl")}
        for split in ("train", "validation")
    }
    assert prompts["train"] and prompts["validation"]
    assert not prompts["train"] & prompts["validation"]


def test_manifest_and_card_say_what_was_exported_and_that_it_is_generated(project):
    judge = make_labeler(project, "gpt", price_per_call="0.01")
    judge.labeler_version.parameters = {"model": "gpt-x", "base_url": "http://10.0.0.7", "api_key": "sk-1"}
    judge.labeler_version.save()
    to_judge, to_people = judged(project), judged(project)
    make_judgment(to_judge, judge, p_b=0.9, cost="0.01")
    make_judgment(to_people, make_person(project), 1)
    plan = make_plan(project, {to_judge: judge, to_people: None})
    done = write(project, "trl_reward")
    facts = done.manifest
    assert facts == json.loads(read(done, "manifest.json"))
    assert facts["counted"]["comparisons_by_source"] == {"gpt": 1, "people": 1}
    assert facts["counted"]["cost_by_source"] == {"gpt": "0.01", "people": "0"}
    assert (facts["counted"]["pairs_of_people"], facts["counted"]["agreeing_pairs"]) == (1, 1)
    assert facts["plan"]["number"] == plan.number
    assert facts["labelers"][0]["parameters"] == {"model": "gpt-x"}
    assert [(each["version"], each["preset"]) for each in facts["protocols"]] == [(1, "plain")]
    assert facts["protocols"][0]["definition"] == project.protocol.definition
    card = read(done, "README.md")
    assert "**Not collected in the field. This data is generated.**" in card
    assert "| gpt | 1 | 50.0% |" in card
    assert "100.0% chose the same" in card
    assert "2 judgments by people were imported" in card
    assert "were made in Switchyard" not in card


def test_a_person_who_judged_twice_does_not_agree_with_themselves(project):
    comparison, person = make_comparison(project), make_person(project)
    for round in (1, 2):
        make_judgment(comparison, person, 1, round=round)
    nobody = make_person(project)
    nobody.external_id = ""
    nobody.save()
    for round in (1, 2):
        make_judgment(comparison, nobody, -1, round=round)
    counted = write(project, "judgments").manifest["counted"]
    assert (counted["pairs_of_people"], counted["agreeing_pairs"]) == (3, 1)


def test_names_cannot_break_the_card(project):
    project.name = "x\u202e\u2066\n---\n# <script>alert(1)</script> | `"
    project.save()
    judged(project)
    card = read(write(project, "trl_reward"), "README.md")
    body = card.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert [line for line in body.splitlines() if line.startswith("# ")] == [
        "# x --- \\# \\<script\\>alert(1)\\</script\\> / \\`"
    ]


def test_the_number_of_queries_grows_with_pages_not_with_comparisons(project, django_assert_max_num_queries):
    for _ in range(30):
        judged(project)
    made, _job = ask(project, "trl_reward")
    with django_assert_max_num_queries(32):
        export.write_export(made)


@pytest.mark.slow
def test_the_lossless_store_holds_what_was_marked_written_and_ranked(project):
    comparison = judged(project, criterion="The shorter", harms=["medical"], candidates_count=1)
    further = Response.objects.create(prompt=comparison.prompt, external_id="third", text="A third")
    Candidate.objects.create(comparison=comparison, response=further, place=2)
    said = {
        "spans": [{"side": "a", "start": 0, "end": 5, "type": "x", "severity": "", "comment": "", "text": "Water"}],
        "feedback": {"b": "dull"},
        "edit": {"side": "a", "text": "Water!"},
        "ranking": {"best": 2, "worst": 0},
        "flags": ["pii"],
    }
    Judgment.objects.update(outcome="ranked", level=None, preference=None, guidelines_version=3, **said)
    judged(project)
    done = write(project)
    row = read(done, "judgments/train.jsonl")[0]
    for name in ("spans", "feedback", "edit", "ranking"):
        assert json.loads(row[name]) == said[name]
    assert (row["outcome"], row["flags"], row["purpose"], row["guidelines_version"]) == ("ranked", ["pii"], "judge", 3)
    first, second = read(done, "comparisons/train.jsonl")
    assert (first["further_response_ids"], first["criterion"], first["harms"]) == (
        ["third"],
        "The shorter",
        ["medical"],
    )
    assert (second["further_response_ids"], second["criterion"], second["harms"]) == ([], "", [])
    assert [label["comparison_id"] for label in read(done, "labels/train.jsonl")] == [second["comparison_id"]]


def test_a_pseudonym_says_nothing_of_whose_it_is(project):
    """Pages of the site give people's ids beside their names, so no id may lead to a pseudonym."""
    people = [make_person(project, make_member(project, "annotator")) for _number in range(3)]
    for person in people:
        make_judgment(make_comparison(project), person, 1)
    named = {row["rater"] for row in read(write(project), "raters/train.jsonl")}
    assert named == {person.pseudonym for person in people} and len(named) == 3
    assert all(re.fullmatch("person-[0-9a-f]{12}", name) for name in named)
    again = make_person(project)
    before = again.pseudonym
    again.save()
    assert (again.pseudonym, Rater.objects.get(pk=again.pk).pseudonym) == (before, before)
    twin = Rater(project=project, kind="person", source="twin", external_id="1", pseudonym=before)
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()
