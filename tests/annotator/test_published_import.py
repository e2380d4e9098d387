"""Published sets through the database: imported into a project of the preset that a reader names, and out again."""

import json
from pathlib import Path

import pytest
from django.utils.module_loading import import_string

from annotator import protocols
from annotator.formats import WRITERS, source
from annotator.models import Judgment
from annotator.pipeline import aggregate, ingest
from annotator.readings.snapshot import Snapshot
from tests.builders import make_project

pytestmark = pytest.mark.django_db
ROWS = Path(__file__).parent / "rows"


def out_again(preset, path, writer, config, **options):
    """Rows of `config` written from a project that holds nothing but the file."""
    project = make_project(preset)
    ingest.ingest_file(project, path)
    snapshot = Snapshot.take(project, aggregate.default_recipe(project), source.Filters())
    definition = protocols.read(project.protocol.definition)
    made = import_string(WRITERS[writer])(definition, source.Options(**options))
    return [row.values for row in made.rows(snapshot) if row.config == config]


def lines(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_helpsteer3_votes_are_the_same_after_the_way_through_a_project():
    path = ROWS / "helpsteer3.jsonl"
    columns = ("domain", "language", "context", "response1", "response2", "overall_preference")
    made = out_again("helpsteer3", path, "helpsteer3", "preference", single="keep")
    assert [{name: row[name] for name in columns} for row in made] == [
        {name: row[name] for name in columns} for row in lines(path)
    ]
    said = [
        {vote["score"]: vote["reasoning"] for vote in row[0]["individual_preference"]} for row in (made, lines(path))
    ]
    assert said[0] == said[1]


def test_helpsteer2_ratings_are_the_same_where_one_response_is_the_more_helpful():
    path = ROWS / "helpsteer2.jsonl"
    assert out_again("helpsteer2", path, "helpsteer2", "default", single="keep") == lines(path)


def test_marks_and_people_are_the_same_after_the_way_through_a_project():
    row = lines(ROWS / "fine_grained.jsonl")[0]
    made = out_again("fine-grained", ROWS / "fine_grained.jsonl", "fine_grained", "default")
    (first,) = [
        each
        for each in made
        if (each["prediction 1"], each["prediction 2"]) == (row["prediction 1"], row["prediction 2"])
    ]
    assert (first["question"], first["preference"]) == (row["question"], row["preference"][:1])
    kept = [{name: each[name] for name in ("error type", "start", "end")} for each in first["feedback"]["errors"]]
    assert kept == [{name: each[name] for name in ("error type", "start", "end")} for each in row["feedback"]["errors"]]
    # Named people of MultiPref are people of their own.
    project = make_project("multipref")
    ingest.ingest_file(project, ROWS / "multipref.jsonl")
    names = Judgment.objects.filter(project=project).values_list("rater__external_id", flat=True)
    assert sorted(names) == ["w17", "w2", "x3", "x3"]


BOTH = {
    "domain": "general",
    "language": "english",
    "context": [{"role": "user", "content": "Why does it rain?"}],
    "response1": "Clouds.",
    "response2": "Because.",
}
PREFERENCE = {
    **BOTH,
    "overall_preference": -1,
    "individual_preference": [{"score": -1, "reasoning": "It names the cause."}],
}
FEEDBACK = {**BOTH, "feedback1": ["The response is mostly helpful."], "feedback2": ["The response is not helpful."]}


@pytest.mark.parametrize("order", [(PREFERENCE, FEEDBACK), (FEEDBACK, PREFERENCE)], ids=["second", "first"])
def test_feedback_and_preference_end_with_both_in_either_order_and_a_repeat_changes_nothing(tmp_path, order):
    project = make_project("helpsteer3")
    paths = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for path, row in zip(paths, order, strict=True):
        path.write_text(json.dumps(row) + "\n")
        brought = ingest.ingest_file(project, path)
    assert (brought.comparisons, brought.supplemented, project.imports.count()) == (0, 1, 2)
    assert "1 comparisons existed already; 1 of them got metadata that they lacked" in str(brought)
    comparison = project.comparisons.get()
    assert comparison.judgments.count() == 1
    said = dict(comparison.metadata)
    assert (said["feedback1"], said["feedback2"]) == (FEEDBACK["feedback1"], FEEDBACK["feedback2"])
    assert said["overall_preference"] == -1
    for path in paths:
        assert not ingest.ingest_file(project, path).anything_new
    comparison.refresh_from_db()
    assert comparison.metadata == said


def test_metadata_that_a_comparison_has_is_never_overwritten(tmp_path):
    project, path = make_project(), tmp_path / "rows.jsonl"
    for metadata in ({"a": 1, "b": None}, {"a": 2, "b": 2, "c": 3}):
        row = {"id": "q", "prompt": "Why?", "response_a": "So.", "response_b": "Because.", "metadata": metadata}
        path.write_text(json.dumps(row) + "\n")
        ingest.ingest_file(project, path)
    assert project.comparisons.get().metadata == {"a": 1, "b": None, "c": 3}
