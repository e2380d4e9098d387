"""Ingest takes a file whole or not at all, and can be repeated."""

import csv
import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError

from annotator.formats import files, native
from annotator.models import (
    Comparison,
    Job,
    JobCancelled,
    Judgment,
    Labeler,
    LabelerVersion,
    Project,
    Prompt,
    Rater,
    Response,
)
from annotator.pipeline import ingest, preview, work
from tests.builders import make_project

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.django_db

ROW = {"id": "q1", "prompt": "What is rain?", "response_a": "Water.", "response_b": "Falling drops of water."}


def write(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def refusal(project, path, **options):
    with pytest.raises(work.StepRefused) as raised:
        ingest.ingest_file(project, path, **options)
    return raised.value.result


def counts():
    return [
        model.objects.count()
        for model in (Prompt, Response, Comparison, Judgment, Rater, Labeler, LabelerVersion, Job, Project)
    ]


RICH = {
    "id": 7,
    "prompt_id": "storm",
    "system": "Answer briefly.",
    "prompt": [
        {"role": "user", "content": "Is a storm coming?"},
        {"role": "assistant", "content": "Where are you?"},
        {"role": "user", "content": "In Bergen."},
    ],
    "context": [{"title": "Forecast", "text": "Bergen: gale."}],
    "responses": [
        {"id": "x", "text": "Yes, a gale.", "model": "m1", "metadata": {"temperature": 0.5}},
        {"id": "y", "text": "It is Bergen: yes.", "model": "m2"},
        {"id": "z", "text": "No.", "model": "m3"},
    ],
    "metadata": {"domain": "weather"},
    "judgments": [
        {"rater": "ann", "kind": "person", "comparison": "7:1-3", "level": -2, "confidence": 3, "source": "lab",
         "aspects": {"truthful": {"level": -2, "confidence": 2, "reasons": ["correct"]}}},
        {"rater": "ann", "kind": "person", "comparison": "7:1-3", "level": -1, "source": "lab"},
        {"kind": "person", "comparison": "7:1-2", "outcome": "neither_valid"},
        {"rater": "judge-1", "kind": "ai", "comparison": "7:2-3", "p_b": 0.25, "cost": "0.0021", "seed": 3},
    ],
}  # fmt: skip


def test_a_rich_row_arrives_with_all_it_says(tmp_path):
    project = make_project("multipref")
    report = ingest.ingest_file(project, write(tmp_path, [RICH]))
    assert (report.prompts, report.responses, report.comparisons, report.judgments) == (1, 3, 3, 4)
    prompt = Prompt.objects.get()
    assert [turn["role"] for turn in prompt.turns] == ["system", "user", "assistant", "user"]
    assert prompt.external_id == "storm" and prompt.context[0]["title"] == "Forecast"
    one_three = Comparison.objects.get(external_id="7:1-3")
    assert (one_three.response_a.model, one_three.response_b.model) == ("m1", "m3")
    assert one_three.metadata == {"domain": "weather"}
    first, second = one_three.judgments.order_by("round")
    assert first.rater == second.rater and (first.round, second.round) == (1, 2)
    assert (first.level, first.preference, first.confidence) == (-2, -1.0, 3.0)
    assert first.aspects["truthful"]["reasons"] == ["correct"] and first.protocol == project.protocol
    assert Judgment.objects.get(comparison__external_id="7:1-2").outcome == "neither_valid"
    ai = Judgment.objects.get(comparison__external_id="7:2-3")
    assert (ai.p_b, ai.level, ai.preference, str(ai.cost)) == (0.25, None, None, "0.00210000")
    assert ai.rater.labeler_version.labeler.kind == "recorded" and ai.protocol is None
    assert ai.provenance == {"seed": 3}
    assert not Judgment.objects.filter(aggregated=True).exists()
    assert Job.objects.get().kind == Job.Kind.FEATURISE


def test_the_same_file_twice_changes_nothing_and_says_how_many_existed(tmp_path):
    project = make_project("multipref")
    path = write(tmp_path, [RICH, ROW])
    ingest.ingest_file(project, path)
    before = counts()
    report = ingest.ingest_file(project, path)
    assert counts() == before
    assert (report.comparisons, report.judgments, report.skipped_existing) == (0, 0, 4)


def test_what_a_row_holds_is_stored_in_the_order_of_the_row(tmp_path):
    names = ["e", "b", "d", "a", "c"]
    rows = [
        {
            "id": f"q{number}",
            "prompt": f"Question {number}?",
            "responses": [{"id": name, "text": f"Answer {name}."} for name in names],
            "judgments": [
                {"rater": rater, "kind": "person", "comparison": f"q{number}:{pair}", "level": -1}
                for pair in ("4-5", "1-2", "2-4")
                for rater in ("zoe", "ann")
            ],
        }
        for number in range(3)
    ]
    ingest.ingest_file(make_project(), write(tmp_path, rows))
    pairs = ["1-2", "1-3", "1-4", "1-5", "2-3", "2-4", "2-5", "3-4", "3-5", "4-5"]
    assert list(Response.objects.order_by("pk").values_list("external_id", flat=True)) == 3 * names
    assert list(Comparison.objects.order_by("pk").values_list("external_id", flat=True)) == [
        f"q{number}:{pair}" for number in range(3) for pair in pairs
    ]
    assert list(Judgment.objects.order_by("pk").values_list("comparison__external_id", "rater__external_id")) == [
        (f"q{number}:{pair}", rater)
        for number in range(3)
        for pair in ("4-5", "1-2", "2-4")
        for rater in ("zoe", "ann")
    ]


def test_a_file_that_grew_brings_only_what_is_new(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [ROW]))
    judged = {**ROW, "judgments": [{"rater": "ann", "kind": "person", "level": 1}]}
    report = ingest.ingest_file(project, write(tmp_path, [judged, {**ROW, "id": "q2", "response_b": "Wet."}]))
    assert (report.prompts, report.responses, report.comparisons, report.judgments) == (0, 1, 1, 1)
    assert Response.objects.filter(text="Water.").count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"response_a": "Ice."}, "response_a"),
        ({"response_b": "Drops"}, "response_b"),
        ({"prompt": "What is snow?"}, "prompt"),
        ({"model_a": "other"}, "response_a"),
    ],
)
def test_a_known_id_with_another_text_is_refused_naming_row_and_field(tmp_path, change, field):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [ROW]))
    before = counts()
    result = refusal(project, write(tmp_path, [{**ROW, "id": "new"}, {**ROW, **change}]))
    assert [(error["line"], error["field"]) for error in result["errors"]] == [(2, field)]
    assert counts() == before


def test_contradictions_within_the_file_are_found(tmp_path):
    shared = {"prompt_id": "p", "responses": [{"id": "x", "text": "One"}, {"id": "y", "text": "Two"}]}
    rows = [
        {"id": "1", "prompt": "Count.", **shared},
        {"id": "2", "prompt": "Count!", **shared},
        {**ROW, "id": "1"},
        {
            "id": "4",
            "prompt": "Count.",
            **shared,
            "responses": [{"id": "x", "text": "Uno"}, {"id": "z", "text": "Due"}],
        },
    ]
    result = refusal(make_project(), write(tmp_path, rows))
    found = {(error["line"], error["field"]) for error in result["errors"]}
    assert found == {(2, "prompt"), (3, "id"), (4, "responses[0].text")}


BAD = [
    ('{"id": "a"', "", "is not valid JSON: Expecting ',' delimiter at character 11"),
    ("[" * 100_000, "", "is nested too deeply"),
    ("[1, 2]", "", "not a JSON object"),
    ('{"id": "a", "prompt": "x", "response_a": NaN, "response_b": "y"}', "", "NaN"),
    ({"id": "a", "response_a": "x", "response_b": "y"}, "prompt", "missing"),
    ({"prompt": "x", "response_a": "x", "response_b": "y"}, "id", "missing"),
    ({"id": "a", "text": "x"}, "", "no known shape"),
    ({"id": "", "prompt": "x", "response_a": "x", "response_b": "y"}, "id", "empty"),
    ({"id": "a", "prompt": "x", "response_a": "", "response_b": "y"}, "response_a", "empty"),
    ({"id": "a", "prompt": "x", "response_a": "x\0", "response_b": "y"}, "response_a", "NUL"),
    ({"id": "a", "prompt": "x", "response_a": "x", "response_b": "\ud83d"}, "response_b", "character 1"),
    ({**ROW, "metadata": {"deep": ["\0"]}}, "metadata", "NUL"),
    ({**ROW, "id": "i" * 201}, "id", "longer than 200"),
    ({"id": "a", "prompt": "x", "responses": [{"text": "only"}]}, "responses", "at least two"),
    ({"id": "a", "prompt": [{"role": "bot", "content": "x"}], "responses": ["1", "2"]}, "prompt[0].role", "one of"),
    ({**ROW, "judgments": [{"rater": "r", "kind": "person", "level": 3}]}, "judgments[0].level", "not on the scale"),
    ({**ROW, "judgments": [{"rater": "r", "kind": "robot"}]}, "judgments[0].kind", "person or ai"),
    ({**ROW, "judgments": [{"kind": "ai", "p_b": 0.5}]}, "judgments[0].rater", "missing"),
    (
        {**ROW, "judgments": [{"rater": "j", "kind": "ai", "p_b": 0.5, "attributes": {"x": {"a": "much"}}}]},
        "judgments[0].attributes.x.a",
        "must be a number",
    ),
    (
        {**ROW, "judgments": [{"rater": "j", "kind": "ai", "p_b": 0.5, "attributes": {"x": "much"}}]},
        "judgments[0].attributes.x",
        "must be an object",
    ),
    ({**ROW, "judgments": [{"rater": "j", "kind": "ai", "p_b": 1.5}]}, "judgments[0].p_b", "from 0 to 1"),
]


def test_every_bad_row_is_reported_with_line_field_and_reason_and_nothing_is_stored(tmp_path):
    project = make_project()
    before = counts()
    lines = [ROW, *(row if isinstance(row, dict) else row + "\n" for row, _field, _reason in BAD)]
    result = refusal(project, write(tmp_path, lines))
    for line, (error, (_row, field, reason)) in enumerate(zip(result["errors"], BAD, strict=True), 2):
        assert (error["line"], error["field"]) == (line, field), error
        assert reason in error["reason"]
    assert counts() == before


def test_the_first_hundred_bad_rows_are_listed_and_the_others_counted(tmp_path):
    rows = [{"id": str(number), "prompt": "x", "response_a": "y"} for number in range(130)]
    result = refusal(make_project(), write(tmp_path, rows))
    assert len(result["errors"]) == 100 and result["more"] == 30


def test_what_is_wrong_with_json_in_a_cell_is_told_by_its_character_and_not_by_a_line_in_it(tmp_path):
    path = tmp_path / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prompt", "response_a", "response_b", "metadata"])
        for number, cell in enumerate(['{\n "a": }', "[" * 100_000]):
            writer.writerow([number, f"Q{number}", "A", "B", cell])
    errors = refusal(make_project(), path)["errors"]
    assert [(error["field"], error["reason"]) for error in errors] == [
        ("metadata", "is not valid JSON: Expecting value at character 9"),
        ("metadata", "is nested too deeply"),
    ]


def test_broken_utf_8_is_found_in_json_lines_and_in_csv(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b'\n{"id": "2", "prompt": "\xff"}\n')
    assert "byte" in refusal(make_project(), path)["errors"][0]["reason"]
    path = tmp_path / "broken.csv"
    path.write_bytes(b"id,prompt,response_a,response_b\n1,x,y,z\n2,x,\xff,z\n")
    error = refusal(make_project(), path)["errors"][0]
    assert (error["line"], error["field"]) == (3, "response_a") and "UTF-8" in error["reason"]


ODD = "e\u0301 ﬁ \u202eabc\u202c 👩‍👩‍👧 \u2028 \ufeff \t\r\n \\u0000 \\. \\N 漢字 " + "\x7f\x01"


def odd_rows():
    return [{"id": f"o{n}", "prompt": ODD, "response_a": ODD + "a", "response_b": ODD + f"b{n}", "metadata": {"o": ODD}}
            for n in range(3)]  # fmt: skip


def test_text_is_stored_exactly_as_received_whatever_the_container(tmp_path):
    rows = odd_rows()
    plain = write(tmp_path, rows)
    zipped = tmp_path / "rows.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "rows.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "metadata": json.dumps(row["metadata"])} for row in rows)
    parquet = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    stored = []
    for path in (plain, zipped, table, parquet):
        project = make_project()
        ingest.ingest_file(project, path)
        stored.append(
            list(
                project.comparisons.order_by("external_id").values_list(
                    "external_id",
                    "prompt__turns",
                    "prompt__text_hash",
                    "response_a__text",
                    "response_b__text",
                    "metadata",
                )
            )
        )
    assert stored[0][0][1] == [{"role": "user", "content": ODD}]
    assert stored[0][0][3] == ODD + "a" and stored[0][0][5] == {"o": ODD}
    assert all(others == stored[0] for others in stored[1:])


def test_structured_columns_arrive_the_same_from_every_container(tmp_path):
    structured = {name: json.dumps(value) for name, value in RICH.items() if isinstance(value, list | dict)}
    cells = {**RICH, **structured}
    cells["turns"] = cells.pop("prompt")
    table = tmp_path / "rich.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, cells)
        writer.writeheader()
        writer.writerow(cells)
    nested = tmp_path / "nested.parquet"
    pq.write_table(pa.Table.from_pylist([{**RICH, "id": "7"}]), nested)
    stored = []
    for path in (write(tmp_path, [RICH]), table, nested):
        project = make_project("multipref")
        ingest.ingest_file(project, path)
        stored.append(
            (
                list(project.prompts.values_list("turns", "context", "text_hash")),
                list(project.comparisons.order_by("external_id").values_list("external_id", "response_b__text")),
                list(
                    project.judgments.order_by("id").values_list(
                        "comparison__external_id", "outcome", "level", "p_b", "round", "cost", "reasons", "aspects"
                    )
                ),
            )
        )
    assert len(stored[0][2]) == 4
    assert stored[1] == stored[0] and stored[2] == stored[0]


def test_identical_responses_are_kept_and_marked(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [{**ROW, "response_b": ROW["response_a"]}, {**ROW, "id": "q2"}]))
    marks = dict(project.comparisons.values_list("external_id", "metadata__identical_responses"))
    assert marks == {"q1": True, "q2": None}


@pytest.mark.parametrize(
    ("preset", "preference", "level"),
    [("plain", 0.5, 1), ("plain", -0.2, 0), ("multipref", 0.5, 1), ("multipref", -1, -2), ("helpsteer2", 0.1, 1),
     ("multipref", 0, 0)],
)  # fmt: skip
def test_a_graded_preference_becomes_the_nearest_level(tmp_path, preset, preference, level):
    labels = [{"annotator": None, "preference": preference, "raw": "r"}]
    ingest.ingest_file(make_project(preset), write(tmp_path, [{**ROW, "human_labels": labels, "ai_labels": []}]))
    assert Judgment.objects.get().level == level


def test_a_tie_is_refused_by_a_protocol_that_has_none(tmp_path):
    vote = {"rater": "w1", "kind": "person", "preference": 0}
    result = refusal(make_project("helpsteer2"), write(tmp_path, [{**ROW, "judgments": [vote]}]))
    assert result["errors"][0]["field"] == "judgments[0].preference" and "tie" in result["errors"][0]["reason"]


def test_of_a_published_file_what_the_protocol_cannot_say_is_left_and_counted(tmp_path):
    labels = [{"annotator": "w1", "preference": 0}, {"annotator": "w2", "preference": 0.5}]
    project = make_project("helpsteer2")
    report = ingest.ingest_file(project, write(tmp_path, [{**ROW, "human_labels": labels}]))
    assert report.left == {"ties: this project's protocol has none": 1} and report.judgments == 1
    assert "1 parts of the file could not be carried" in str(report)


def test_a_changed_judgment_is_refused(tmp_path):
    project = make_project()
    said = {"rater": "ann", "kind": "person", "level": 1}
    ingest.ingest_file(project, write(tmp_path, [{**ROW, "judgments": [said]}]))
    result = refusal(project, write(tmp_path, [{**ROW, "judgments": [{**said, "level": -1}]}]))
    assert "round" in result["errors"][0]["reason"] and Judgment.objects.get().level == 1


def test_a_labeler_of_the_project_is_not_taken_for_a_recorded_one(tmp_path):
    project = make_project()
    Labeler.objects.create(project=project, name="longest", kind="longest")
    row = {**ROW, "judgments": [{"rater": "longest", "kind": "ai", "p_b": 0.5}]}
    assert "differently" in refusal(project, write(tmp_path, [row]))["errors"][0]["reason"]
    assert not Rater.objects.exists()


@pytest.mark.parametrize("content", [b"", b"[{}]", b"PK\x03\x04\0\0zip", b"\x1f\x8b\x08\0cut off", b"PAR1nothing"])
def test_a_file_of_no_use_is_refused_with_words(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(work.StepRefused, match="Nothing was imported"):
        ingest.ingest_file(make_project(), path)


def test_rows_of_no_known_shape_name_what_they_need(tmp_path):
    with pytest.raises(work.StepRefused, match="response_a"):
        ingest.ingest_file(make_project(), write(tmp_path, [{"question": "x", "chosen": "y"}]))


def test_rows_of_both_shapes_may_be_mixed(tmp_path):
    labels = [{"annotator": "w1", "preference": 1, "raw": "right"}]
    ingest.ingest_file(make_project(), write(tmp_path, [ROW, {**ROW, "id": "q2", "human_labels": labels}]))
    judgment = Judgment.objects.get()
    assert judgment.comparison.external_id == "q2" and judgment.comparison.metadata == {}


def uploaded(project, rows):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    name = default_storage.save(f"uploads/{project.pk}/rows.jsonl", ContentFile(content))
    return Job.objects.request(project, Job.Kind.INGEST, upload=name, filename="rows.jsonl"), name


@pytest.mark.django_db(transaction=True)
def test_an_upload_is_imported_by_the_worker_and_removed():
    project = make_project()
    job, name = uploaded(project, [ROW])
    bad, bad_name = uploaded(make_project(), [{"id": "x"}])
    assert ingest.run_ingests() == 2
    job.refresh_from_db()
    bad.refresh_from_db()
    assert job.state == Job.State.DONE and project.comparisons.count() == 1
    assert bad.state == Job.State.FAILED and bad.message
    assert not default_storage.exists(name) and not default_storage.exists(bad_name)


@pytest.mark.django_db(transaction=True)
def test_a_fault_that_is_not_the_files_leaves_it_to_be_asked_for_again(monkeypatch):
    project = make_project()
    job, name = uploaded(project, [ROW])
    with monkeypatch.context() as broken:
        broken.setattr(ingest, "take_in", lambda *_args, **_kwargs: 1 / 0)
        ingest.run_ingests()
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and default_storage.exists(name)
    Job.objects.request(project, Job.Kind.INGEST, upload=name, filename="rows.jsonl")
    ingest.run_ingests()
    assert project.comparisons.count() == 1 and not default_storage.exists(name)


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_import_stores_nothing(monkeypatch):
    project = make_project()
    job, name = uploaded(project, [ROW])
    beat = Job.beat

    def cancelled_meanwhile(self, *progress):
        Job.objects.get(pk=self.pk).cancel()
        beat(self, *progress)

    monkeypatch.setattr(Job, "beat", cancelled_meanwhile)
    ingest.run_ingests()
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert not project.comparisons.exists() and not default_storage.exists(name)


def test_any_row_of_random_shape_is_read_or_refused_never_crashes():
    rng = random.Random(5)
    values = [None, 1, -1.5, "text", "", [], {}, [{}], {"text": 1}, [{"role": "user", "content": "x"}], True, "\ud800"]
    for _number in range(3000):
        row = {**ROW, **{name: rng.choice(values) for name in rng.sample(sorted({*native.KNOWN, "extra"}), 4)}}
        try:
            native.read(row)
        except files.RowInvalid as invalid:
            assert invalid.field and invalid.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset", "expected"),
    [
        ("llmfao", "plain", (13, 1850, 7723, 3700)),
        ("tulu1_user_oriented", "multipref", (252, 756, 877, 0)),
    ],
)
def test_published_preference_data_comes_in_whole(name, preset, expected):
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here: the published data lies beside the repository, never in it")
    project = make_project(preset)
    report = ingest.ingest_file(project, path)
    people = Judgment.objects.filter(rater__kind=Rater.Kind.PERSON).count()
    assert (report.prompts, report.comparisons, people, report.judgments - people) == expected
    if name == "tulu1_user_oriented":
        assert Judgment.objects.filter(round=2).count() == 5
        assert project.comparisons.filter(metadata__identical_responses=True).count() == 35


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**ROW, "judgments": [{"kind": "ai", "rater": "People", "p_b": 0.5}]}, "judgments[0].rater"),
        ({**ROW, "ai_labels": [{"judge": " people", "preference": 0.5}]}, "ai_labels[0].judge"),
        ({**ROW, "ai_labels": [{"judge": "People:1", "preference": 0.5}]}, "ai_labels[0].judge"),
        (
            {**ROW, "judgments": [{"kind": "person", "level": 1, "created_at": "2026-01-01T00:00:00+23:59"}]},
            "judgments[0].created_at",
        ),
        (
            {**ROW, "judgments": [{"kind": "person", "level": 1, "created_at": "0001-01-01T00:00:00+10:00"}]},
            "judgments[0].created_at",
        ),
    ],
)
def test_a_labeler_called_people_and_a_time_out_of_this_world_are_refused_with_row_and_field(tmp_path, row, field):
    errors = refusal(make_project(), write(tmp_path, [{**ROW, "id": "q0"}, row]))["errors"]
    assert [(error["line"], error["field"]) for error in errors] == [(2, field)]


def test_a_time_with_a_zone_is_stored_as_the_same_moment_and_people_may_be_called_people(tmp_path):
    vote = {"kind": "person", "rater": "people", "level": 1, "created_at": "2026-01-01T05:30:00+05:30"}
    ingest.ingest_file(make_project(), write(tmp_path, [{**ROW, "judgments": [vote]}]))
    assert Judgment.objects.get().created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert Rater.objects.get().external_id == "people"


def test_the_database_refuses_a_labeler_called_people():
    with pytest.raises(IntegrityError, match="labeler_not_people"):
        Labeler.objects.create(project=make_project(), name="People", kind="recorded")


def test_a_csv_header_in_latin_1_is_refused_before_its_rows_are_looked_at(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("id,prompt,réponse\n1,x,y\n".encode("latin-1"))
    project = make_project()
    assert preview.preview(project, path).problem == "the first line is not UTF-8; save the file as UTF-8"
    with pytest.raises(work.StepRefused, match="save the file as UTF-8"):
        ingest.ingest_file(project, path)


def test_csv_lines_may_end_in_bare_carriage_returns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,prompt,response_a,response_b\rq1,Why?,So.,Because.\r")
    assert ingest.ingest_file(make_project(), path).comparisons == 1


@pytest.mark.parametrize("start", [json.dumps(ROW).encode(), b"id,prompt"])
def test_a_preview_of_endless_empty_lines_ends_soon(tmp_path, start, monkeypatch):
    monkeypatch.setattr(preview, "PREVIEW_SIZE", 1000 * files.LEAST_LINE)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(start + b"\n" * 300_000))
    lines = []
    monkeypatch.setattr(files, "SIGN_OF_LIFE", 1)
    file = files.RowFile(path, budget=preview.PREVIEW_SIZE, on_line=lines.append)
    with pytest.raises(files.BudgetSpent):
        list(file)
    assert len(lines) <= 1000
    seen = preview.preview(make_project(), path)
    assert seen.cut_short


def test_a_file_that_just_fits_the_budget_is_read_whole(tmp_path):
    path = write(tmp_path, [ROW, ROW])
    assert len(list(files.RowFile(path, budget=path.stat().st_size))) == 2


@pytest.mark.parametrize("start", [json.dumps(ROW), "id,prompt"])
def test_an_import_of_empty_lines_can_be_cancelled(tmp_path, start, monkeypatch):
    monkeypatch.setattr(files, "SIGN_OF_LIFE", 100)
    project = make_project()
    Job.objects.request(project, Job.Kind.INGEST)
    job = Job.objects.claim(Job.Kind.INGEST)
    job.cancel()
    with pytest.raises(JobCancelled):
        ingest.ingest_file(project, write(tmp_path, [start + "\n" * 101]), job=job)


def test_a_job_says_how_it_ended_whatever_that_quotes():
    Job.objects.request(make_project(), Job.Kind.INGEST)
    job = Job.objects.claim(Job.Kind.INGEST)
    job.beat(1, 2, "read \0 and \udcff")
    job.finish(Job.State.FAILED, "a\0b\udce9", errors=[{"field": "r\udce9p\0", "share": float("nan")}])
    job.refresh_from_db()
    assert (job.state, job.message) == (Job.State.FAILED, "ab?")
    assert job.result == {"errors": [{"field": "r?p", "share": "nan"}]}
