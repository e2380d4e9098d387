"""Published layouts beyond the round trip: what is left out, what is refused, and in which words."""

import json
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils.module_loading import import_string

from annotator import protocols
from annotator.formats import WRITERS
from annotator.formats.published import together, trl_rows
from annotator.formats.rows import RowInvalid, RowLeft
from annotator.formats.source import FormatUnfit, Options, Prompt, Response
from annotator.models import Comparison, Judgment
from annotator.pipeline import ingest
from tests.annotator.public_rows import ODD, Source, better, entries, judged, vote, written
from tests.builders import make_project

U, A = ({"role": role, "content": ""} for role in ("user", "assistant"))


def said(*texts):
    """A conversation: the user speaks first."""
    return [{**(A if place % 2 else U), "content": text} for place, text in enumerate(texts)]


def rated(*ratings, key="helpfulness", **more):
    """Votes for A or B by the higher rating; each rating is (a, b)."""
    return [
        vote(1.0 if b > a else -1.0, number, attributes={key: {"a": a, "b": b}}, **more)
        for number, (a, b) in enumerate(ratings)
    ]


# hh-rlhf


@pytest.mark.parametrize("text", ["x\n\nHuman: y", "\n\nAssistant:", "a\n\n\nHuman: b"])
@pytest.mark.parametrize("place", ["prompt", "a", "b"])
def test_hh_leaves_out_a_text_that_would_come_back_as_other_turns(text, place):
    assert written("hh_rlhf", judged(vote(1.0), **{place: text})) == (
        [],
        {"a text with the tags that separate turns": 1},
    )


def test_hh_has_no_place_for_a_system_turn():
    turns = [{"role": "system", "content": "Be brief."}, *said("Hi")]
    assert written("hh_rlhf", judged(vote(1.0), prompt=turns)) == ([], {"a system turn": 1})


def test_hh_takes_the_longest_common_beginning_for_the_prompt_and_says_where_answers_go_on():
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: So?\n\nAssistant:"
    (entry,) = entries("hh_rlhf", [{"chosen": f"{start} Yes\n\nHuman: Ah\n\nAssistant: Oh", "rejected": f"{start} No"}])
    assert json.loads(entry.prompt.turns) == said("Hi", "Hello", "So?")
    assert {each.text for each in entry.responses} == {"Yes\n\nHuman: Ah\n\nAssistant: Oh", "No"}
    assert entry.left == ["a response of several turns, kept as one text"]


def test_rows_that_stand_twice_in_a_file_are_two_comparisons():
    row = {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
    names = [entry.comparisons[0].external_id for entry in entries("hh_rlhf", [row, row, row])]
    assert len(set(names)) == 3 and names[1] == f"{names[0]}-2"


@pytest.mark.django_db
def test_an_empty_response_of_a_published_set_is_passed_over_and_counted(tmp_path):
    good = {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
    path = tmp_path / "hh.jsonl"
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in (good, {**good, "chosen": "\n\nHuman: Hi\n\nAssistant:"}))
    )
    report = ingest.ingest_file(make_project(), path)
    assert (report.comparisons, report.left) == (1, {"rows: with an empty response": 1})
    assert Comparison.objects.count() == Judgment.objects.count() == 1


OURS = (
    *("ultrafeedback", "ultrafeedback_binarized", "hh_rlhf", "rewardbench", "rewardbench2", "shp", "arena"),
    *("summarize", "trl_rows"),
)
SAMPLES = sorted(
    path for path in (Path(__file__).parent / "rows").glob("*.jsonl") if path.stem.partition("-")[0] in OURS
)


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize("preset", ["plain", "helpsteer2", "summarize9", "arena"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_protocol_takes_published_rows(path, preset):
    project = make_project(preset)
    report = ingest.ingest_file(project, path)
    assert report.comparisons and (report.judgments or report.left == {"ties: this project's protocol has none": 1})
    again = ingest.ingest_file(project, path)
    assert (again.comparisons, again.judgments, again.skipped_existing) == (0, 0, report.comparisons)


# TRL rows


def test_which_response_becomes_a_says_nothing_of_which_is_better_and_does_not_depend_on_it():
    rows = [{"prompt": f"Q{number}", "chosen": f"yes {number}", "rejected": f"no {number}"} for number in range(40)]
    there = entries("trl_rows", rows)
    back = entries("trl_rows", [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows])
    assert 8 < sum(entry.votes[0].preference < 0 for entry in there) < 32
    assert [[one.text for one in each.responses] for each in there] == [
        [one.text for one in each.responses] for each in back
    ]
    assert [entry.votes[0].preference for entry in there] == [-entry.votes[0].preference for entry in back]


@pytest.mark.parametrize(
    ("margins", "strengths", "left"),
    [
        ((0.5, 1.0), (0.5, 1.0), 0),
        ((1, 3, 0), (1 / 3, 1.0, 0.01), 0),
        ((0.5, 7.0), (1.0, 1.0), 2),
        ((None, 0.25), (1.0, 0.25), 0),
    ],
)
def test_a_margin_is_a_strength_where_the_file_says_on_which_scale(margins, strengths, left):
    rows = [{"prompt": "Q", "chosen": f"y{n}", "rejected": "n", "margin": each} for n, each in enumerate(margins)]
    found = entries("trl_rows", rows)
    assert [abs(entry.votes[0].preference) for entry in found] == pytest.approx(strengths)
    assert sum(len(entry.left) for entry in found) == left


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Q", "completion": "A", "label": True}, "a single response with a label"),
        ({"prompt": "Q", "completions": ["s1", "s2"], "labels": [True, False]}, "the steps of one response"),
        ({"chosen": "blue", "rejected": "green"}, "no column prompt"),
        ({"prompt": said("Q"), "chosen": "A", "rejected": "B"}, "of the same kind"),
        ({"chosen": said("Q", "A"), "rejected": said("R", "B")}, "does not begin with the same user turn"),
    ],
)
def test_rows_without_two_responses_to_one_prompt_are_refused_in_words(row, words):
    assert trl_rows.claims(row)
    with pytest.raises(RowInvalid, match=words):
        trl_rows.read(row)


def test_text_that_begins_alike_is_cut_between_words_and_nothing_is_lost():
    (entry,) = entries("trl_rows", [{"chosen": "The sky is blue.", "rejected": "The sky is bright."}])
    assert json.loads(entry.prompt.turns) == said("The sky is ")
    assert {each.text for each in entry.responses} == {"blue.", "bright."}


def test_the_layout_that_trl_itself_refuses_is_read():
    row = {"prompt": "Q", "chosen": said("Q", "A"), "rejected": said("Q", "B"), "tools": ["search"]}
    (entry,) = entries("trl_rows", [row])
    assert better(entry) == "A" and entry.left == ["tools"]


def test_text_beside_which_another_column_may_be_the_prompt_is_not_taken_for_it():
    texts = {"chosen": "The sky is blue.", "rejected": "The sky is bright."}
    assert trl_rows.claims({**texts, "source": "x", "meta_source": "people"})
    assert not trl_rows.claims({**texts, "question": "What is the sky like?"})


@pytest.mark.parametrize("as_json", [False, True])
def test_a_system_column_is_the_systems_turn_and_messages_may_be_json_in_a_csv_file(as_json):
    row = {
        "system": "Be brief.",
        "prompt": said("Q"),
        "chosen": [{**A, "content": "1"}],
        "rejected": [{**A, "content": "2"}],
    }
    given = {name: json.dumps(value) if as_json and name != "system" else value for name, value in row.items()}
    (entry,) = entries("trl_rows", [given])
    assert json.loads(entry.prompt.turns) == [{"role": "system", "content": "Be brief."}, *said("Q")]
    assert {each.text for each in entry.responses} == {"1", "2"}


# UltraFeedback


def test_binarized_scores_are_ratings_stretched_to_ten_and_its_splits_have_the_original_names():
    project = judged(*rated((1, 4), (2, 4)), prompt=said("Q"))
    ((row,), _left) = written("ultrafeedback_binarized", project, preset="helpsteer2", validation=0.0)
    assert (row["score_chosen"], row["score_rejected"]) == (10.0, 1 + 9 * 1.5 / 4)
    assert row["chosen"] == row["messages"] == said("Q", "right") and row["prompt"] == "Q"
    ((row,), _left) = written("ultrafeedback_binarized", judged(vote(1.0)), preset="helpsteer2")
    assert (row["score_chosen"], row["score_rejected"]) == (None, None)


def test_the_originals_scores_are_a_models_and_say_how_clear_it_was():
    row = {"prompt": "Q", "prompt_id": "p", "chosen": said("Q", "A"), "rejected": said("Q", "B"), "score_chosen": 8.5}
    (entry,) = entries("ultrafeedback_binarized", [{**row, "score_rejected": 4.0}])
    (given,) = entry.votes
    assert (given.rater, given.is_ai, abs(given.preference), better(entry)) == ("ultrafeedback", True, 0.5, "A")
    assert entry.comparisons[0].metadata == "{}"


def test_comparisons_of_a_prompt_are_one_row_of_rated_completions():
    first = judged(*rated((4, 0), (3, 0)))
    c = Response("c", "third", "model-c")
    second = judged(*rated((4, 2)), key="c2")
    second = second.__class__(**{**vars(second), "prompt": first.prompt, "response_b": c})
    ((row,), left) = written("ultrafeedback", first, second, judged(vote(1.0), key="c3"), preset="helpsteer2")
    assert [each["response"] for each in row["completions"]] == ["left", "right", "third"]
    helpful = [each["annotations"]["helpfulness"]["Rating"] for each in row["completions"]]
    assert helpful == ["5", "1", "3"]
    assert {each["annotations"]["honesty"]["Rating"] for each in row["completions"]} == {"N/A"}
    assert left == {"fewer than two responses that people rated": 1}
    (entry,) = entries("ultrafeedback", [row])
    assert [better(entry, number) for number in range(3)] == ["left", "left", "third"]
    assert not entry.votes[0].is_ai and entry.left == ["people's mean ratings, kept with the responses"]


def test_ultrafeedback_needs_ratings_and_says_what_fits():
    with pytest.raises(FormatUnfit, match="UltraFeedback binarized fits"):
        written("ultrafeedback")


def test_completions_without_ratings_are_compared_without_a_vote():
    rating = {name: {"Rating": "4"} for name in ("helpfulness", "honesty", "instruction_following", "truthfulness")}
    texts = {"x": rating, "y": {**rating, "honesty": {"Rating": "2"}}, "z": {"honesty": {"Rating": "N/A"}}}
    row = {
        "instruction": "Q",
        "completions": [{"model": text, "response": text, "annotations": each} for text, each in texts.items()],
    }
    (entry,) = entries("ultrafeedback", [row])
    (given,) = entry.votes
    assert len(entry.comparisons) == 3 and entry.left == ["a completion without ratings"]
    assert (given.rater, given.preference) == ("ultrafeedback", -0.125)
    assert given.answer["attributes"]["honesty"] == {"a": 4, "b": 2}
    row["completions"][0]["annotations"] = {"honesty": {"Rating": "7"}}
    with pytest.raises(RowInvalid, match='"1" to "5"'):
        entries("ultrafeedback", [row])


# RewardBench


@pytest.mark.parametrize("format", ["rewardbench", "rewardbench2", "shp"])
def test_a_prompt_of_several_turns_is_left_out_of_layouts_of_one_instruction(format):
    several = judged(vote(1.0), prompt=said("Hi", "Hello", "So?"))
    system = judged(vote(1.0), key="c2", prompt=[{"role": "system", "content": "Be brief."}, *said("Hi")])
    assert written(format, several, system) == ([], {"a conversation of several turns": 1, "a system turn": 1})


def ranked(*ranks, key="c1"):
    further = [Response(side, f"text {side}", f"model-{side}") for side in "cdef"[: len(ranks[0]) - 2]]
    votes = [vote(1.0 if each[1] < each[0] else -1.0, n, ranking={"ranks": each}) for n, each in enumerate(ranks)]
    return judged(*votes, key=key, further=further)


def test_a_ranking_has_its_best_answers_right_and_what_loses_to_all_of_them_wrong():
    ((row,), _left) = written("rewardbench2", ranked([1, 3, 1, 2]), preset="ranking", pairs="all")
    assert (row["chosen"], row["rejected"]) == (["left", "text c"], ["right", "text d"])
    assert (row["num_correct"], row["num_incorrect"], row["total_completions"]) == (2, 2, 4)
    (entry,) = entries("rewardbench2", [row])
    assert len(entry.comparisons) == 4 and {better(entry, n) for n in range(4)} == {"left", "text c"}
    assert len({one.external_id for one in entry.comparisons}) == 4


def test_rewardbench_2_leaves_out_what_beats_each_other_in_a_circle():
    circle = ranked([1, 2, 3], [2, 3, 1], [3, 1, 2])
    rows, left = written("rewardbench2", circle, preset="ranking", pairs="all")
    assert (rows, left) == ([], {"no response that beats another and loses to none": 1})


def test_rewardbench_names_its_parts_as_the_project_does():
    ((row,), _left) = written("rewardbench", judged(vote(1.0), category="Open QA"))
    assert (row["subset"], row["chosen_model"], type(row["id"])) == ("Open QA", "model-b", int)


def test_a_row_with_very_many_right_answers_compares_every_response_at_least_once():
    row = {"id": "1", "prompt": "Name a number.", "subset": "Ties", "num_correct": 20}
    texts = {"chosen": [f"{n}" for n in range(20)], "rejected": [f"x{n}" for n in range(5)]}
    (entry,) = entries("rewardbench2", [{**row, **texts}])
    places = {place for one in entry.comparisons for place in (one.a, one.b)}
    assert (len(entry.comparisons), len(places)) == (20, 25)
    assert entry.left == ["pairs of a row with very many responses"]


# SHP, Arena, summaries


def test_shp_says_which_side_won_and_null_for_what_only_a_forum_knows():
    rows, _left = written("shp", judged(vote(1.0)), judged(vote(-1.0), domain="cooking"))
    assert [(row["labels"], row["human_ref_A"], row["domain"]) for row in rows] == [
        (0, "left", ""),
        (1, "left", "cooking"),
    ]
    assert {rows[0][name] for name in ("upvote_ratio", "score_A", "score_ratio", "created_at_utc_B")} == {None}
    with pytest.raises(RowInvalid, match="1 .A is better. or 0"):
        entries("shp", [{**rows[0], "labels": True}])


def test_an_arena_conversation_that_parts_at_once_is_one_text_with_its_later_turns_tagged():
    row = {"question_id": "q", "model_a": "x", "model_b": "y", "winner": "model_a", "judge": "j"}
    both = {"conversation_a": said("Hi", "Yes", "So?", "Well"), "conversation_b": said("Hi", "No", "So?", "Hm")}
    (entry,) = entries("arena", [{**row, **both}])
    assert [each.text.partition("\n")[0] for each in entry.responses] == ["Yes", "No"]
    assert entry.responses[0].text.endswith("\n<extra_id_1>User\nSo?\n<extra_id_1>Assistant\nWell")
    assert len(entry.left) == 2


def test_a_picture_is_named_and_a_prompt_that_is_nothing_else_passed_over():
    image = {"type": "image", "image": "x.png"}
    row = {"id": "q", "model_a": "x", "model_b": "y", "winner": "both_bad"}

    def seen(*parts):
        turns = {"role": "user", "content": list(parts)}
        return {
            **row,
            "conversation_a": [turns, {**A, "content": "1"}],
            "conversation_b": [turns, {**A, "content": "2"}],
        }

    (entry,) = entries("arena", [seen({"type": "text", "text": ODD}, image)])
    assert json.loads(entry.prompt.turns) == said(ODD)
    assert entry.left == ["a part of the kind image"] * 2
    assert entry.votes[0].answer == {"outcome": "neither_valid"}
    with pytest.raises(RowLeft, match="an empty turn"):
        entries("arena", [seen(image)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[{,", "is not valid JSON: .* at character 3"), ("[" * 100_000, "is nested too deeply")],
)
def test_a_conversation_as_text_that_is_no_json_is_an_error(text, reason):
    row = {"question_id": "q", "winner": "tie", "conversation_a": text, "conversation_b": said("Q", "B")}
    with pytest.raises(RowInvalid, match=reason):
        entries("arena", [row])


def test_an_unknown_winner_is_an_error():
    row = {"question_id": "q", "winner": "both", "conversation_a": said("Q", "A"), "conversation_b": said("Q", "B")}
    with pytest.raises(RowInvalid, match="winner"):
        entries("arena", [row])


def test_summaries_need_nine_levels_and_leave_out_votes_that_choose_neither():
    with pytest.raises(FormatUnfit, match="summarize9"):
        written("summarize")
    assert written("summarize", judged(vote(0.0)), preset="summarize9") == ([], {"a vote that chooses neither": 1})


@pytest.mark.parametrize(
    ("choice", "sure", "preference"), [(1, 8, 0.75), (0, 1, -1), (0, 5, 0), (0, None, -1), (0, 8, -1)]
)
def test_the_choice_holds_where_confidence_contradicts_it(choice, sure, preference):
    row = {"info": {"id": "t", "post": "P"}, "summaries": [{"text": "x"}, {"text": "y"}], "extra": {"confidence": sure}}
    (entry,) = entries("summarize", [{**row, "choice": choice}])
    assert entry.votes[0].preference == preference


def test_ratings_of_one_summary_are_no_comparison():
    with pytest.raises(RowInvalid, match="rates one summary alone"):
        entries("summarize", [{"info": {"id": "t"}, "summary": {"text": "x", "axes": {"overall": 3}}}])


# Reward-conditioned pairs


def test_every_pair_stands_twice_each_response_chosen_where_its_score_is_asked_for():
    turns = [{"role": "system", "content": "Be brief."}, *said(ODD)]
    rows, _left = written("reward_conditioned", judged(*rated((1, 4)), prompt=turns), preset="helpsteer2")
    assert [row["meta_goal"] for row in rows] == [10.0, 3.2]
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [
        ("right", "left"),
        ("left", "right"),
    ]
    assert [row["prompt"][0]["content"].partition("score ")[2][:3] for row in rows] == ["10 ", "3.2"]
    assert all(row["prompt"][0]["content"].endswith("\n\nBe brief.") for row in rows)
    assert [row["prompt"][1] for row in rows] == [turns[1]] * 2
    assert [row["meta_chosen_model"] for row in rows] == ["model-b", "model-a"]


def test_without_ratings_the_label_scores_and_implicit_rows_hold_whole_conversations():
    first, second = written("reward_conditioned", judged(p_b=0.75, source="judge"), prompt="implicit")[0]
    assert (first["meta_goal"], second["meta_goal"]) == (7.8, 3.2)
    assert [turn["role"] for turn in first["chosen"]] == ["system", "user", "assistant"] and "prompt" not in first


def test_pairs_that_would_contradict_themselves_are_left_out():
    equal, against = (
        judged(vote(1.0, attributes={"helpfulness": {"a": 2, "b": 2}})),
        judged(vote(1.0, attributes={"helpfulness": {"a": 3, "b": 2}})),
    )
    rows, left = written("reward_conditioned", equal, against, judged(vote(1.0)), preset="helpsteer2")
    assert rows == []
    assert left == {"equal scores": 1, "the better response has the lower score": 1, "nobody rated helpfulness": 1}


def test_only_an_attribute_of_which_more_is_better_makes_a_score():
    definition = {**protocols.PRESETS["plain"], "attributes": protocols.PRESETS["helpsteer2"]["attributes"][3:]}
    ((row, _other), _left) = written("reward_conditioned", judged(vote(1.0)), preset=definition)
    assert row["meta_goal"] == 10.0


# One row a prompt


@pytest.mark.parametrize(("format", "preset"), [("ultrafeedback", "helpsteer2"), ("rewardbench2", "plain")])
@pytest.mark.parametrize("limit", ["MOST_OF_PROMPT", "LONGEST_OF_PROMPT"])
def test_a_prompt_with_more_than_a_row_is_made_of_is_counted_and_never_held(format, preset, limit, monkeypatch):
    monkeypatch.setattr(together, limit, {"MOST_OF_PROMPT": 3, "LONGEST_OF_PROMPT": 50}[limit])
    held = weakref.WeakSet()
    most = 0

    def comparisons():
        nonlocal most
        for prompt, count in (("many", 40), ("few", 2)):
            for number in range(count):
                a, b = Response("a", "better", "m"), Response(f"b{number}", f"worse {number} ...", "m")
                one = judged(*rated((3, 1)), key=f"{prompt}{number}")
                one = replace(one, prompt=Prompt(prompt, said("Q")), response_a=a, response_b=b)
                held.add(one.label)
                most = max(most, len(held))
                yield one

    writer = import_string(WRITERS[format])(protocols.read(protocols.PRESETS[preset]), Options())
    (row,) = writer.rows(SimpleNamespace(judged=comparisons))
    assert row.values["meta_comparison_ids"] == ["few0", "few1"]
    assert dict(writer.left_out) == {together.TOO_MANY: 1}
    assert most <= 6 + (limit == "LONGEST_OF_PROMPT")


def test_texts_of_one_prompt_are_held_once():
    votes = rated((3, 1))
    (held,) = together.by_prompt(Source(*(judged(*votes, key="c1") for _comparison in range(4))), Counter())
    assert len({id(each.prompt) for each in held}) == len({id(each.response_a) for each in held}) == 1
    assert len(held) == 4
