"""What an AI judged is no vote of people, also where only the name of the table says who judged."""

import json

import pytest

from annotator.formats import ai_tables
from annotator.formats.entries import MAPPED, Entries, Way
from annotator.formats.folders import Folder

ASKED = [{"role": "user", "content": "Why?"}]
ROW = {
    "chosen": [*ASKED, {"role": "assistant", "content": "So."}],
    "rejected": [*ASKED, {"role": "assistant", "content": "No."}],
}


def raters(rows, way=None):
    return [(vote.rater, vote.is_ai) for _line, entry in Entries(rows, way) for vote in entry.votes]


@pytest.mark.parametrize(
    ("table", "labeler"),
    [("gpt4_overall_binarized", "gpt-4"), ("ai_overall_binarized", "ai"), ("data/GPT-4o-prefs", "gpt-4o"),
     ("claude_judged", "claude"), ("human_overall_binarized", ""), ("default", ""), ("", ""), ("gpt4_responses", ""),
     ("gpt4_human_preferences", ""), ("aim_labels", ""), ("preference", ""), ("feedback", "")],
)  # fmt: skip
def test_a_name_says_which_ai_judged_only_where_it_says_that_one_did(table, labeler):
    assert ai_tables.labeler(table) == labeler


def test_rows_of_a_configuration_are_votes_of_its_labeler_unless_they_say_whose_they_are():
    said, by_config = {**ROW, "meta_source": "people:mean"}, Way(config="gpt4_overall_binarized")
    assert raters([(1, ROW), (2, said)], by_config) == [("gpt-4", True), ("", False)]
    assert raters([(1, ROW)], Way(config="human_overall_binarized")) == raters([(1, ROW)]) == [("", False)]
    assert raters([(1, {**ROW, "meta_judges": ["small"]})], Way(config="ai_overall_binarized")) == [("small", True)]


def test_the_rows_keep_the_ids_that_they_have_without_the_name():
    found = [
        entry.comparisons[0].external_id for way in (None, Way(config="gpt4_prefs"))
        for _line, entry in Entries([(1, ROW)], way)
    ]  # fmt: skip
    assert found[0] == found[1]


def test_a_folders_table_is_such_a_name_too(tmp_path):
    for table in ("gpt4_overall_binarized", "human_overall_binarized"):
        (tmp_path / table).mkdir()
        (tmp_path / table / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    assert raters(Folder(tmp_path, "gpt4_overall_binarized")) == [("gpt-4", True)]
    assert raters(Folder(tmp_path, "human_overall_binarized")) == [("", False)]


def test_columns_that_somebody_mapped_are_as_they_said():
    columns = {"prompt": "question", "response_a": "chosen", "response_b": "rejected", "winner": "winner"}
    row = {"question": "Why?", "chosen": "So.", "rejected": "No.", "winner": "a"}
    way = Way(MAPPED, {"columns": columns, "by": "person"}, config="gpt4_prefs")
    ((_line, entry),) = Entries([(1, row)], way)
    assert "meta_source" not in entry.comparisons[0].metadata
