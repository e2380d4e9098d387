"""What other annotation tools export comes in as it was meant: drafts do not count, no question is guessed at."""

import json
from pathlib import Path

import pytest

from annotator.formats.files import RowFile
from annotator.formats.rows import RowInvalid
from annotator.formats.tools import argilla, doccano, label_studio, potato

ROWS = Path(__file__).parent / "rows"


def sample(name):
    return [row for _line, row in RowFile(ROWS / f"{name}.jsonl")]


def said(entry):
    return [(vote.is_ai, vote.rater, vote.preference, vote.answer) for vote in entry.votes]


RECORD = {"id": "r", "prompt": "Q", "response1": "one", "response2": "two"}


def answered(question, *answers, status="submitted"):
    """Columns of a flattened Argilla record: the answers of u1, u2, ... to one question."""
    users = [f"u{place}" for place in range(1, len(answers) + 1)]
    return {
        f"{question}.responses": list(answers),
        f"{question}.responses.users": users,
        f"{question}.responses.status": [status] * len(answers),
    }


def test_argilla_counts_what_was_submitted_and_a_suggestion_as_the_vote_of_a_labeler():
    entry = argilla.read(sample("argilla")[0])
    ratings = {"rating": {"a": 5, "b": 2}}
    assert said(entry) == [
        (False, "u-1", -1, {"attributes": ratings, "justification": "The second invents a cause."}),
        (False, "u-2", -1, {"attributes": {"rating": {"a": 4, "b": 1}}}),
        (True, "judge-x", -1, {}),
    ]
    assert entry.votes[2].p_b == pytest.approx(0.2)
    assert entry.left == ["a draft"]
    assert [one.model for one in entry.responses] == ["m-large", ""]
    assert json.loads(entry.comparisons[0].metadata) == {"status": "completed", "domain": "physics"}


def test_argilla_ranks_share_a_rank_where_its_older_layout_says_so():
    entry = argilla.read(sample("argilla-nested")[0])
    assert entry.comparisons[0].others == (2,) and [one.text for one in entry.responses] == ["7", "9", "2 🙂"]
    assert [vote.answer["ranking"] for vote in entry.votes] == [{"ranks": [2, 3, 1]}, {"ranks": [1, 2, 1]}]
    assert json.loads(entry.votes[0].provenance) == {"answers": {"topic": "maths"}}
    assert any("topic" in words for words in entry.left) and "a vector (embedding)" in entry.left
    assert any("taken as submitted" in words for words in entry.left)
    assert [turn["role"] for turn in json.loads(entry.prompt.turns)] == ["system", "user"]


@pytest.mark.parametrize("status", ["draft", "discarded"])
def test_argilla_without_a_submitted_answer_is_a_comparison_without_judgments(status):
    entry = argilla.read({**RECORD, **answered("preference", "response2", status=status)})
    assert not entry.votes and len(entry.left) == 1 and len(entry.comparisons) == 1


def test_argilla_questions_that_name_no_response_are_kept_and_never_taken_for_the_preference():
    entry = argilla.read({**RECORD, **answered("quality", 2), **answered("label", "1"), **answered("tone", "warm")})
    assert not entry.votes
    assert {words for words in entry.left if "kept with" in words} == {
        f"the answers to the question {name}, kept with the judgments' provenance only"
        for name in ("quality", "label", "tone")
    }


def test_of_several_preferences_the_one_that_is_called_so_counts():
    both = {**answered("fluency", "response1"), **answered("overall", "response2")}
    assert [vote.preference for vote in argilla.read({**RECORD, **both}).votes] == [1]
    neither = {**answered("fluency", "response1"), **answered("style", "response2")}
    assert not argilla.read({**RECORD, **neither}).votes


def test_ties_and_neither_are_told_apart():
    entry = argilla.read({**RECORD, **answered("preference", "tie", "both bad", ["response2"])})
    assert [(vote.preference, vote.answer.get("outcome")) for vote in entry.votes] == [
        (0, None), (None, "neither_valid"), (1, None),
    ]  # fmt: skip


def test_a_low_score_of_a_suggestion_is_no_probability():
    row = {**RECORD, "preference.suggestion": "response2", "preference.suggestion.agent": "x"}
    vote = argilla.read({**row, "preference.suggestion.score": 0.3}).votes[0]
    assert (vote.p_b, vote.preference, json.loads(vote.provenance)) == (None, 1, {"scores": {"preference": 0.3}})


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**RECORD, **answered("preference", "response1"), "preference.responses.users": []}, None),
        ({**RECORD, **answered("q", "response1"), "q.responses.users": ["u1", "u2"]}, "q.responses.users"),
        ({**RECORD, **answered("q", "response1"), "q.responses": "response1"}, "q.responses"),
        ({**RECORD, **answered("rating_response1", 2.5)}, "responses.rating_response1"),
        ({**RECORD, **answered("q", "x"), "response2": ""}, "response2"),
        ({"id": "r", "prompt": "Q", **answered("q", "x")}, ""),
        ({"id": "r", "response1": "one", "response2": "two", **answered("q", "x")}, ""),
        ({**RECORD, "id": None, **answered("q", "x")}, "id"),
    ],
)
def test_argilla_errors_name_the_field(row, field):
    if field is None:
        assert argilla.read(row).votes
        return
    with pytest.raises(RowInvalid) as caught:
        argilla.read(row)
    assert caught.value.field == field


def task(*results, **annotation):
    data = {"prompt": "Q", "answer1": "one", "answer2": "two"}
    return {"id": 1, "data": data, "annotations": [{"id": 5, "completed_by": 3, "result": list(results), **annotation}]}


def result(kind, given, name="control", about="answer1", key=""):
    return {"type": kind, "from_name": name, "to_name": about, "value": {key or kind: given}}


def test_label_studio_pairs_ratings_reasons_and_predictions():
    first, second = (label_studio.read(row) for row in sample("label_studio"))
    person, model = first.votes
    assert (person.rater, person.preference, person.active_ms) == ("10", -1, 42125)
    assert person.answer["attributes"] == {"helpfulness": {"a": 4, "b": 1}}
    assert person.answer["justification"] == "A tier is no rain.\nReally."
    assert json.loads(person.provenance) == {"annotation": 9, "ground_truth": True}
    assert (model.is_ai, model.rater, model.preference) == (True, "judge-2", 1)
    assert first.left == ["a cancelled annotation"]
    assert said(second) == [(False, "kim@example.org", 0, {})] and second.left == ["a draft"]
    assert json.loads(first.comparisons[0].metadata)["lang"] == "de"


def test_label_studio_ranks_a_list_and_leaves_buckets_that_are_kinds():
    entry = label_studio.read(sample("label_studio-ranker")[0])
    assert [vote.answer["ranking"] for vote in entry.votes] == [{"ranks": [2, 1, 3]}]
    assert [one.external_id for one in entry.responses] == ["llm_1", "llm_2", "llm_3"]
    assert any("question rank" in words for words in entry.left)
    assert "a person's answers that did not say which response is better" in entry.left


def test_label_studio_ratings_alone_say_which_is_better_and_not_by_how_much():
    for a, b, preference in ((5, 1, -1), (2, 3, 1), (4, 4, 0)):
        rated = [result("rating", a, "quality"), result("rating", b, "quality", "answer2")]
        vote = label_studio.read(task(*rated)).votes[0]
        assert (vote.preference, vote.answer) == (preference, {"attributes": {"quality": {"a": a, "b": b}}})
    assert not label_studio.read(task(result("rating", 4))).votes


def test_label_studio_words_about_a_response_are_feedback_on_it():
    choice = result("pairwise", "right", "comparison", "comparison", "selected")
    vote = label_studio.read(task(choice, result("textarea", ["Too long."], "note", "answer2", "text"))).votes[0]
    assert (vote.preference, vote.answer) == (1, {"feedback": {"b": "Too long."}})


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (task(result("pairwise", "top", key="selected")), "annotations[0].result[0].value.selected"),
        (task(lead_time=-1), None),
        (task(result("choices", ["left"]), lead_time=-1), "annotations[0].lead_time"),
        (task(result("choices", ["left"]), created_at="soon"), "annotations[0].created_at"),
        ({**task(), "data": {"prompt": "Q", "answer1": "one"}}, "data"),
        ({**task(), "data": {"prompt": "Q", "items": [{"id": 1}, {"id": 2}]}}, "data.items[0]"),
        ({**task(), "data": {"prompt": "Q", "items": ["x"] * 9}}, "data.items"),
        ({**task(), "annotations": ["x"]}, "annotations[0]"),
    ],
)
def test_label_studio_errors_name_the_field(row, field):
    if field is None:
        assert label_studio.read(row).left == ["an annotation without an answer"]
        return
    with pytest.raises(RowInvalid) as caught:
        label_studio.read(row)
    assert caught.value.field == field


def test_label_studio_refuses_a_rank_of_something_that_is_no_item():
    row = sample("label_studio-ranker")[0]
    row["annotations"][0]["result"][0]["value"]["ranker"][0] = "llm_9"
    with pytest.raises(RowInvalid, match="none of the task's items"):
        label_studio.read(row)


def test_doccano_finds_the_responses_beside_the_text_or_in_it():
    first, empty = (doccano.read(row) for row in sample("doccano"))
    assert said(first) == [(False, "", -1, {"justification": "B verwechselt es mit Übermut."})]
    assert not empty.votes and not empty.left
    assert json.loads(first.comparisons[0].metadata) == {"domain": "ethics"}
    inside = doccano.read(sample("doccano-text")[0])
    assert [one.text for one in inside.responses] == ["Blue.\nIt calms.", "Seven."]
    assert json.loads(inside.prompt.turns)[0]["content"] == "Name a colour. 🎨" and inside.votes[0].preference == -1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": 1, "text": "A sentence.", "label": ["positive"]}, "is no comparison.*say which columns"),
        ({"id": 1, "text": "Prompt: a\nResponse A: b\nResponse A: c\nResponse B: d", "label": []}, "twice"),
        ({"id": 1, "text": "Response A: b\nResponse B: d\nPrompt: a", "label": []}, "in this order"),
    ],
)
def test_doccano_refuses_what_is_no_comparison(row, words):
    with pytest.raises(RowInvalid, match=words):
        doccano.read(row)


def test_doccano_does_not_choose_between_people_who_are_not_told_apart():
    row = {"id": 1, "text": "Q", "response_a": "one", "response_b": "two", "Comments": ""}
    entry = doccano.read({**row, "label": "A#B"})
    assert not entry.votes and "contradict" in entry.left[0]
    entry = doccano.read({**row, "label": "B#careful"})
    assert entry.votes[0].preference == 1 and any("question label" in words for words in entry.left)


def test_potato_brings_the_rows_of_one_instance_together():
    numbered = list(enumerate(sample("potato"), 1))
    together = list(potato.joined(numbered))
    assert [line for line, _row in together] == [1, 3]
    first, second = (potato.read(row) for _line, row in together)
    assert [(vote.rater, vote.preference) for vote in first.votes] == [("ann", -1), ("bob", 0)]
    assert first.votes[0].answer == {"justification": "A is right – B is not."}
    assert json.loads(first.votes[0].provenance) == {"answers": {"preference.reasons": ["More accurate"]}}
    assert second.votes[0].preference == pytest.approx(-2 / 3)
    assert sum("shuffled" in words for words in first.left) == 2
    assert json.loads(first.comparisons[0].metadata) == {"topic": "weather"}


def test_potato_of_the_first_version_has_marks_in_the_displayed_text():
    entry = potato.read(sample("potato-first")[0])
    assert [one.text for one in entry.responses] == ["The first reply.", "The second reply."]
    assert [(vote.rater, vote.preference) for vote in entry.votes] == [("", -1)]
    ambiguous = {**sample("potato-first")[0], "displayed_text": "A. one\nB. two\nB. three"}
    with pytest.raises(RowInvalid, match="no two responses"):
        potato.read(ambiguous)


def instance(labels, **more):
    return {
        "instance_id": "p",
        "user_id": "ann",
        "labels": labels,
        "prompt": "Q",
        "left": "one",
        "right": "two",
        **more,
    }


def test_potato_dimensions_are_no_overall_answer_unless_one_is_called_so():
    entry = potato.read(instance({"pair": {"helpfulness": "A", "accuracy": "B"}}))
    assert not entry.votes
    entry = potato.read(instance({"pair": {"helpfulness": "A", "overall": "B"}}))
    assert [vote.preference for vote in entry.votes] == [1]


def test_potato_scales_end_where_the_instance_says():
    assert potato.read(instance({"s": {"scale_value": 0}})).votes[0].preference == 0
    assert potato.read(instance({"s": {"scale_value": "5"}}, scale_max=5)).votes[0].preference == 1
    for value in ("5", "much", True):
        with pytest.raises(RowInvalid, match="scale_max"):
            potato.read(instance({"s": {"scale_value": value}}))


def test_potato_csv_machines_and_instances_without_texts():
    row = {"instance_id": "p", "user_id": "gpt", "annotator_origin": "llm", "pref.selection": "B", "prompt": "Q",
           "response_1": "one", "response_2": "two"}  # fmt: skip
    assert potato.claims(row)
    entry = potato.read(row)
    assert [(vote.is_ai, vote.rater, vote.preference) for vote in entry.votes] == [(True, "gpt", 1)]
    with pytest.raises(RowInvalid, match="join Potato's data file"):
        potato.read({"instance_id": "p", "user_id": "u", "labels": {"pref": {"selection": "A"}}})
    assert potato.read(instance({}, spans={"s": [1]})).left == [
        "marked passages", "an instance that was opened without an answer",
    ]  # fmt: skip


def test_potato_chooses_the_best_and_the_worst_of_several():
    row = {"instance_id": "p", "user_id": "u", "prompt": "Q", "items": ["x", "y", "z"]}
    entry = potato.read({**row, "labels": {"bws": {"best": "B", "worst": "A"}}})
    assert entry.votes[0].answer == {"ranking": {"best": 1, "worst": 0}} and entry.comparisons[0].others == (2,)
