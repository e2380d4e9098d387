"""Files with columns of their own: guessed, mapped, and refused by the names their columns have."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from annotator.formats import mapped
from annotator.formats.entries import MAPPED, Entries, ShapeUnknown, Way
from annotator.formats.files import FileInvalid
from annotator.formats.rows import RowInvalid
from annotator.pipeline import preview
from tests.builders import make_project

COLUMNS = {"prompt": "q", "response_a": "left text", "response_b": "right text", "winner": "best", "rater": "who"}
ROW = {"q": "What is rain?", "left text": "Water.", "right text": "Drops 🌧.", "best": "left", "who": "ann", "n": 1}


def read(*rows, **mapping):
    return list(Entries(enumerate(rows, 1), Way(MAPPED, {"columns": COLUMNS, **mapping})))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Question", "Answer 1", "Answer 2", "Winner"], {"prompt": "Question", "response_a": "Answer 1",
         "response_b": "Answer 2", "winner": "Winner"}),
        (["instruction", "output_a", "output_b", "model_a", "model_b", "preference", "annotator"],
         {"prompt": "instruction", "response_a": "output_a", "response_b": "output_b", "model_a": "model_a",
          "model_b": "model_b", "winner": "preference", "rater": "annotator"}),
        (["text1", "text2"], {"response_a": "text1", "response_b": "text2"}),
        (["colour", "size"], {}),
    ],
)  # fmt: skip
def test_columns_are_guessed_from_their_names(names, expected):
    assert mapped.guess(names) == expected


@pytest.mark.parametrize(
    ("value", "verdict"),
    [("A", "a"), ("Response 2", "b"), ("model_b", "b"), ("tie (bothbad)", "neither"), ("Tie", "tie"), ("", ""),
     ("left text", "a"), ("3", None)],
)  # fmt: skip
def test_a_winner_is_told_by_its_words(value, verdict):
    assert mapped.verdict_of(value, COLUMNS) == verdict


def test_a_row_becomes_a_comparison_with_a_judgment_and_the_rest_as_metadata():
    [(_line, entry)] = read(ROW)
    assert [one.text for one in entry.responses] == ["Water.", "Drops 🌧."]
    assert (entry.votes[0].rater, entry.votes[0].preference, entry.comparisons[0].metadata) == ("ann", -1.0, '{"n":1}')
    assert read(ROW)[0][1].comparisons[0].external_id == entry.comparisons[0].external_id
    assert read({**ROW, "q": "What is hail?"})[0][1].comparisons[0].external_id != entry.comparisons[0].external_id


def test_neighbours_about_the_same_texts_are_one_comparison_with_several_judgments():
    other = {**ROW, "who": "bob", "best": "right", "n": 2, "same": "x"}
    [(line, entry), (third, _entry)] = read({**ROW, "same": "x"}, other, {**ROW, "q": "And snow?"})
    assert (line, third) == (1, 3)
    assert [(vote.rater, vote.preference, vote.provenance) for vote in entry.votes] == [
        ("ann", -1.0, '{"n":1}'), ("bob", 1.0, '{"n":2}')]  # fmt: skip
    assert entry.comparisons[0].metadata == '{"same":"x"}'


def test_a_winner_may_name_the_model_or_mean_what_was_said():
    columns = {**COLUMNS, "model_a": "m1", "model_b": "m2"}
    named = {**ROW, "m1": "x-1", "m2": "x-2", "best": "x-2"}
    assert read(named, columns=columns)[0][1].votes[0].preference == 1
    assert read({**ROW, "best": 3}, winner={"3": "b"})[0][1].votes[0].preference == 1
    assert read({**ROW, "best": "left"}, winner={"left": ""})[0][1].votes == []


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [({"left text": ""}, "left text", "empty"), ({"best": "purple"}, "best", "purple"), ({"q": None}, "q", "missing"),
     ({"right text": "a\0"}, "right text", "NUL")],
)  # fmt: skip
def test_what_is_wrong_is_named_by_the_files_own_column(change, field, reason):
    [_first, (line, invalid)] = read({**ROW, "q": "Other?"}, {**ROW, **change})
    assert isinstance(invalid, RowInvalid) and (line, invalid.field) == (2, field) and reason in invalid.reason


def test_a_winner_that_is_nan_says_nothing_and_an_infinite_one_is_asked_about():
    [(_line, silent), (_second, invalid)] = read({**ROW, "best": math.nan}, {**ROW, "q": "Other?", "best": math.inf})
    assert silent.votes == [] and len(silent.comparisons) == 1
    assert (invalid.field, invalid.reason.partition(":")[0]) == ("best", "says 'inf'")


@pytest.mark.django_db
def test_a_preview_shows_no_meaning_of_nan_and_asks_for_that_of_infinity(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({**ROW, "best": 7}).replace("7", best) + "\n" for best in ("1e999", "1.0")))
    way = Way(MAPPED, {"columns": COLUMNS})
    assert set(preview.preview(make_project(), file, way).winners) == {"inf", "1"}
    pq.write_table(pa.Table.from_pylist([{**ROW, "best": math.nan}, {**ROW, "best": 1.0}]), tmp_path / "own.parquet")
    seen = preview.preview(make_project(), tmp_path / "own.parquet", way)
    assert set(seen.winners) == {"1"} and seen.can_import


def test_a_mapping_that_lacks_something_says_what():
    for mapping, words in (
        ({"columns": {"prompt": "q"}}, "which column is the response_a"),
        ({"columns": {**COLUMNS, "system": "q"}}, "goes to prompt and to system"),
        ({"columns": {**COLUMNS, "colour": "x"}}, "colour is no field"),
        ({"columns": COLUMNS, "winner": {"x": "y"}}, "not y"),
    ):
        with pytest.raises(FileInvalid, match=words):
            mapped.checked(mapping)
    with pytest.raises(ShapeUnknown):
        list(Entries([(1, ROW)]))


@pytest.mark.django_db
def test_the_command_maps_checks_and_says_what_it_left(tmp_path, capsys):
    project, file = make_project("helpsteer2"), tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (ROW, {**ROW, "q": "And hail?", "best": "same"})))
    said = ["ingest", str(project.pk), str(file), "--map", *(f"{goal}={name}" for goal, name in COLUMNS.items())]
    call_command(*said, "--dry-run")
    assert "All 2 rows fit: 2 comparisons would be new" in capsys.readouterr().out and not project.comparisons.exists()
    call_command(*said)
    assert "left 1 times: ties: this project's protocol has none" in capsys.readouterr().out
    assert (project.comparisons.count(), project.judgments.count()) == (2, 1)
    with pytest.raises(CommandError, match="write NAME=VALUE"):
        call_command(*said, "--winner", "left")
