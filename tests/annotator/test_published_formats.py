"""Published layouts, out and in again: what people said survives the way through a file of ours."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator import protocols
from annotator.formats import READERS, recorded, rows
from annotator.formats.files import RowFile
from annotator.formats.published import (
    fine_grained_rows,
    glued,
    helpsteer2_disagreements,
    helpsteer2_preference,
    helpsteer2_ratings,
    helpsteer3_rows,
    multipref_rows,
)
from annotator.formats.published.fine_grained import FineGrained
from annotator.formats.published.helpsteer2 import ATTRIBUTES, HelpSteer2
from annotator.formats.published.helpsteer3 import HelpSteer3
from annotator.formats.published.multipref import MultiPref
from annotator.formats.published.per_rater import PerRater
from annotator.formats.rows import RowInvalid
from annotator.formats.source import Judged, Label, Options, Prompt, Response, Vote
from tests.examples import examples

SHARED = Path(__file__).parents[3] / "shared" / "data"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \u200f שלום \x01 end "
TURNS = [
    {"role": "user", "content": "Hi\nthere"},
    {"role": "assistant", "content": ODD},
    {"role": "user", "content": "𝄞?"},
]
# Text as people and models write it: anything but NUL and lone surrogates, which no text of ours holds.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


def vote(preference, number=0, **said):
    given = {
        "outcome": "level",
        "confidence": None,
        "aspects": {},
        "attributes": {},
        "reasons": [],
        "justification": "",
        "active_ms": None,
        "created_at": NOON,
        **said,
    }
    return Vote(f"person-{number}", True, given.pop("is_expert", False), preference=preference, p_b=None, **given)


def judged(*votes, a="left 𝄞", b="right", turns=TURNS, p_b=0.75, strength=0.5, key="c1", **more):
    label = Label("people", p_b, 0.0, strength, 1.0, max(len(votes), 1), 0)
    prompt = Prompt("p1", turns, more.pop("context", []), more.pop("prompt_metadata", {}))
    a, b = Response("a", a, "model-a"), Response("b", b, "model-b")
    return Judged(key, prompt, a, b, label, tuple(votes), **more)


class Source:
    def __init__(self, *comparisons, profiles=None, tables=None):
        self.comparisons, self.people, self.tables = comparisons, profiles or {}, tables or {}

    def judged(self):
        return iter(self.comparisons)

    def profiles(self):
        return self.people

    def table(self, name):
        return iter(self.tables[name])


def written(writer, source):
    """Rows by config as they come back from a file: {config: [(line, row), …]}."""
    rows = {}
    for row in writer.rows(source):
        schema = next(config.schema for config in writer.configs if config.name == row.config)
        assert set(row.values) == set(schema.names)
        kept = {name: value for name, value in json.loads(json.dumps(row.values)).items() if value is not None}
        rows.setdefault(row.config, []).append((len(rows.get(row.config, [])) + 1, kept))
    return rows


def read(reader, numbered):
    """The entries of `numbered`, each claimed by the reader before rows are joined."""
    numbered = list(numbered)
    assert all(reader.claims(row) for _line, row in numbered)
    return [reader.read(row) for _line, row in (reader.joined(numbered) if hasattr(reader, "joined") else numbered)]


def texts(entry):
    return [response.text for response in entry.responses]


def turns(entry):
    return json.loads(entry.prompt.turns)


def helpsteer2(*comparisons, **options):
    writer = HelpSteer2(protocols.read(protocols.PRESETS["helpsteer2"]), Options(**{"single": "keep"} | options))
    return written(writer, Source(*comparisons))


def rated(a, b):
    return {key: {"a": a[place], "b": b[place]} for place, key in enumerate(ATTRIBUTES)}


@given(st.lists(TEXTS, min_size=1, max_size=5).filter(lambda said: len(said) % 2 == 1), st.none() | TEXTS)
@settings(max_examples=examples(30), deadline=None)
def test_a_glued_conversation_comes_apart_into_its_turns(said, system):
    spoken = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]
    if "<extra_id_" in "".join(said) + (system or ""):
        return
    whole = ([{"role": "system", "content": system}] if system else []) + spoken
    assert glued.turns_of(Prompt("p", whole).text) == whole


@pytest.mark.parametrize(
    "text", ["What does\n<extra_id_1>Assistant\nmean?", "\n<extra_id_1>User\n", "a\n<extra_id_1>User\nb"]
)
def test_words_about_tags_that_make_no_conversation_stay_one_turn(text):
    assert glued.turns_of(text) == [{"role": "user", "content": text}]


def test_helpsteer2_ratings_come_back_with_both_responses_and_the_answer_they_imply():
    tables = helpsteer2(judged(vote(1, attributes=rated((1, 2, 3, 4, 0), (4, 4, 4, 4, 4))), a=ODD))
    (entry,) = read(helpsteer2_ratings, tables["default"])
    assert (turns(entry), texts(entry)) == (TURNS, [ODD, "right"])
    (said,) = entry.votes
    assert said.answer["attributes"] == rated((1, 2, 3, 4, 0), (4, 4, 4, 4, 4))
    assert (said.preference, json.loads(said.provenance)) == (0.75, {"preference_from": "helpfulness"})


def test_helpsteer2_disagreements_come_back_as_ratings_and_nobody_s_preference():
    said = [rated((3, 3, 3, 3, 3), (1, 1, 1, 1, 1)), rated((4, 2, 4, 2, 4), (4, 0, 0, 0, 0))]
    tables = helpsteer2(judged(*(vote(1, number, attributes=each) for number, each in enumerate(said))))
    (entry,) = read(helpsteer2_disagreements, tables["disagreements"])
    assert (entry.votes, entry.left) == ([], [helpsteer2_disagreements.LEFT])
    assert json.loads(entry.comparisons[0].metadata) == {
        f"ratings_{side}": {key: [each[key][side] for each in said] for key in ATTRIBUTES} for side in "ab"
    }


def test_ratings_stand_at_one_place_for_one_person_however_little_others_rated():
    whole = rated((3, 3, 3, 3, 3), (1, 1, 1, 1, 1))
    one_side = {key: {"b": 4} for key in ATTRIBUTES}
    tables = helpsteer2(judged(vote(1, 0, attributes=one_side), vote(-1, 1, attributes=whole)))
    assert [row["helpfulness"] for _line, row in tables["disagreements"]] == [[3], [1]]


def test_lists_of_different_lengths_make_no_vote_either():
    first = {"prompt": "p", "response": "a", **dict.fromkeys(ATTRIBUTES, [1, 2])}
    second = {"prompt": "p", "response": "b", **dict.fromkeys(ATTRIBUTES, [4])}
    (entry,) = read(helpsteer2_disagreements, [(1, first), (2, second)])
    assert (entry.votes, json.loads(entry.comparisons[0].metadata)["ratings_b"]["verbosity"]) == ([], [4])


SINGLE = "a single vote (preference)"
INVALID = {"preference": None, "outcome": "neither_valid"}


@pytest.mark.parametrize(
    ("preferences", "neither", "options", "reason"),
    [
        ([-1], 0, {}, SINGLE),
        ([-1], 0, {"single": "keep"}, ""),
        ([-1], 1, {}, SINGLE),
        ([-1, -1], 2, {}, ""),
        ([-1, -1], 3, {}, "neither response is valid (preference)"),
        ([-1, -1], 3, {"neither": "keep"}, ""),
        ([-1], 2, {"single": "keep"}, "neither response is valid (preference)"),
        ([], 2, {}, "neither response is valid (preference)"),
    ],
)
def test_helpsteer_labels_need_two_votes_and_half_of_all(preferences, neither, options, reason):
    """Answers that neither is valid go first; then two votes and half of all must be left (arXiv 2410.01257)."""
    votes = [vote(each, number) for number, each in enumerate(preferences)]
    votes += [vote(number=9 + number, **INVALID) for number in range(neither)]
    label = Label("people", 0.0 if preferences else None, 0.0, -1.0, 1.0, len(preferences), neither)
    asked = replace(judged(*votes), label=label)
    for format, preset in ((HelpSteer2, "helpsteer2"), (HelpSteer3, "helpsteer3")):
        writer = format(protocols.read(protocols.PRESETS[preset]), Options(**options))
        assert ("preference" in written(writer, Source(asked))) == (not reason)
        assert reason in writer.left_out or not reason
        assert any("single vote" in note for note in writer.notes)


def test_helpsteer_labels_of_a_reviewer_need_no_second_vote():
    asked = judged(vote(-1, attributes=rated((4, 4, 4, 4, 4), (1, 1, 1, 1, 1))))
    reviewed = replace(asked, key="c2", label=replace(asked.label, source="review"))
    tables = helpsteer2(asked, reviewed, single="drop")
    assert [row["meta_comparison_id"] for _line, row in tables["preference"]] == ["c2"]
    assert len(tables["default"]) == 2


@given(
    st.lists(st.sampled_from([-1, -2 / 3, -1 / 3, 1 / 3, 2 / 3, 1, None]), min_size=1, max_size=5), TEXTS, TEXTS, TEXTS
)
@settings(max_examples=examples(30), deadline=None)
def test_helpsteer2_preferences_come_back_vote_by_vote(preferences, a, b, why):
    answered = [each for each in preferences if each is not None]
    mean = sum(answered) / len(answered) if answered else None
    outcome = {True: "neither_valid", False: "level"}
    votes = [
        vote(each, number, outcome=outcome[each is None], justification=f"{why}{number}")
        for number, each in enumerate(preferences)
    ]
    tables = helpsteer2(judged(*votes, a=a, b=b, p_b=None if mean is None else 0.6), neither="keep", ties="keep")
    for entry in read(helpsteer2_preference, tables.get("preference", [])):
        assert (turns(entry), texts(entry)) == (TURNS, [a, b])
        assert [each.answer["justification"] for each in entry.votes] == [each.justification for each in votes]
        assert [each.preference for each in entry.votes] == preferences
        assert entry.comparisons[0].external_id == "c1"


def rating_row(prompt, response, value=1):
    return {"prompt": prompt, "response": response, **dict.fromkeys(ATTRIBUTES, value)}


def test_rows_of_a_pair_find_each_other_and_a_row_alone_is_refused_on_its_line():
    prompts = ["p", "p", "alone", "q", "q", "q", "end"]
    numbered = [(line, rating_row(prompt, f"r{line}")) for line, prompt in enumerate(prompts, 1)]
    made = list(helpsteer2_ratings.joined(numbered))
    whole = {line: [each["response"] for each in row["pair"]] for line, row in made if not isinstance(row, RowInvalid)}
    assert whole == {1: ["r1", "r2"], 4: ["r4", "r5"], 6: ["r5", "r6"]}
    refused = {line: str(row) for line, row in made if isinstance(row, RowInvalid)}
    assert set(refused) == {3, 7}
    assert "line 3 has no second response" in refused[3]


@pytest.mark.parametrize("wrong", [5, -1, 1.5, True])
def test_a_rating_off_the_scale_is_refused_by_name(wrong):
    pair = {"pair": [rating_row("p", "a"), {**rating_row("p", "b"), "coherence": wrong}]}
    with pytest.raises(RowInvalid, match="coherence"):
        helpsteer2_ratings.read(pair)


@pytest.mark.parametrize("wrong", [4, -99, "1", None])
def test_a_strength_off_the_scale_is_refused_by_name(wrong):
    row = {"split": "train", "prompt": "p", "response_1": "a", "response_2": "b", "preference_strength": 1}
    row["all_preferences_unprocessed"] = [{"strength": wrong, "justification": ""}]
    with pytest.raises(RowInvalid, match="strength"):
        helpsteer2_preference.read(row)


def test_files_lie_where_the_original_has_them():
    definition = protocols.read(protocols.PRESETS["helpsteer2"])
    places = {
        share: [
            HelpSteer2(definition, Options(validation=share)).path(config, split)
            for config in ("default", "preference", "disagreements")
            for split in ("train", "validation")
        ]
        for share in (0.0, 0.1)
    }
    assert places[0.0][:3] == ["train", "validation", "preference/preference"]
    assert places[0.0][4] == "disagreements/disagreements"
    assert places[0.1][4:] == ["disagreements/train", "disagreements/validation"]


def test_what_was_said_of_other_responses_is_no_answer_about_a_and_b():
    untold = replace(vote(None, 1), outcome="ranked")
    tables = helpsteer2(judged(vote(-1), untold))
    assert [each["strength"] for each in tables["preference"][0][1]["all_preferences_unprocessed"]] == [-3]


def helpsteer3(*comparisons, preset="helpsteer3", **options):
    writer = HelpSteer3(protocols.read(protocols.PRESETS[preset]), Options(**{"single": "keep"} | options))
    return written(writer, Source(*comparisons)), writer.left_out


@given(st.lists(st.sampled_from([-1, -2 / 3, -1 / 3]), min_size=1, max_size=3), TEXTS, TEXTS, TEXTS)
@settings(max_examples=examples(30), deadline=None)
def test_helpsteer3_preferences_come_back_vote_by_vote(preferences, a, b, why):
    votes = [vote(each, number, justification=f"{why}{number}") for number, each in enumerate(preferences)]
    tables, left = helpsteer3(judged(*votes, a=a, b=b, p_b=0.0, prompt_metadata={"domain": "code", "language": "go"}))
    if a == b:
        assert left["equal responses (preference)"] == 1
        return
    (entry,) = read(helpsteer3_rows, tables["preference"])
    assert (turns(entry), texts(entry)) == (TURNS, [a, b])
    assert [(each.preference, each.answer["justification"]) for each in entry.votes] == [
        (each.preference, each.justification) for each in votes
    ]
    assert json.loads(entry.prompt.metadata) == {"domain": "code", "language": "go"}


def test_helpsteer3_rows_have_the_original_s_columns_and_defaults():
    tables, _left = helpsteer3(judged(vote(-1, feedback={"a": "The response is mostly helpful. 𝄞", "b": "No."})))
    ((_line, row),) = tables["preference"]
    assert list(row) == [
        *("domain", "language", "context", "response1", "response2", "overall_preference", "individual_preference")
    ]
    assert (row["domain"], row["language"], row["context"]) == ("general", "english", TURNS)
    ((_line, row),) = tables["feedback"]
    assert list(row) == ["domain", "language", "context", "response1", "response2", "feedback1", "feedback2"]


def test_helpsteer3_never_writes_a_zero():
    tables, left = helpsteer3(
        judged(vote(-1 / 3), vote(1 / 3, 1)), judged(vote(0), p_b=0.5), judged(vote(-0.1), p_b=0.0)
    )
    assert "preference" not in tables
    assert left["a tie (preference)"] == 3


def test_helpsteer3_feedback_comes_back_by_side_and_makes_nobody_s_preference():
    said = [
        {"a": f"The response is mostly helpful. {ODD}", "b": "The response is not helpful. No."},
        {"a": "The response is perfectly helpful.", "b": "Nothing to say."},
    ]
    alone = [{"a": "", "b": "The response is mostly helpful."}, {"a": "The response is slightly helpful."}]
    votes = [vote(-1, number, feedback=each) for number, each in enumerate([alone[0], *said, alone[1]])]
    tables, _left = helpsteer3(judged(*votes))
    (entry,) = read(helpsteer3_rows, tables["feedback"])
    assert (entry.votes, entry.left) == ([], [helpsteer3_rows.WORDS])
    kept = json.loads(entry.comparisons[0].metadata)
    assert kept == {f"feedback{place}": [each[side] for each in said] for place, side in enumerate("ab", 1)}
    # They go out again with what the people here prefer.
    again, _left = helpsteer3(judged(vote(1, feedback=said[0]), metadata=kept))
    assert [(row["feedback1"], row["feedback2"]) for _line, row in again["feedback"]] == [tuple(kept.values())]
    _tables, left = helpsteer3(judged(*(vote(-1, number, feedback=each) for number, each in enumerate(alone))))
    assert left["nobody spoke of both responses (feedback)"] == 1


def test_helpsteer3_edits_come_back_as_comparisons_with_what_they_were_made_of():
    said = vote(-1, feedback={"a": "Shorter."}, edit={"side": "a", "text": ODD})
    tables, _left = helpsteer3(judged(said, vote(-1, 1, edit={})))
    ((_line, row),) = tables["edit"]
    assert "change_summary" not in row  # null: nobody is asked for it
    (entry,) = read(helpsteer3_rows, tables["edit"])
    assert (texts(entry), entry.votes) == (["left 𝄞", ODD], [])
    assert json.loads(entry.comparisons[0].metadata) == {"feedback": ["Shorter."]}


def test_helpsteer3_edit_quality_comes_back_and_out_again():
    of_edits = {"original_response": "x", "feedback": ["Say more."]}
    tables, _left = helpsteer3(judged(vote(1), metadata=of_edits), judged(vote(1), p_b=0.0, metadata=of_edits))
    assert set(tables) == {"edit_quality"}
    good = [row["good_edited_response"] for _line, row in tables["edit_quality"]]
    assert good == ["right", "left 𝄞"]
    for entry, better in zip(read(helpsteer3_rows, tables["edit_quality"]), good, strict=True):
        assert (texts(entry)[0], entry.votes[0].preference) == (better, -1)
        assert entry.comparisons[0].criterion
        assert json.loads(entry.comparisons[0].metadata).items() >= of_edits.items()


def test_helpsteer3_tables_that_nobody_is_asked_for_are_absent():
    writer = HelpSteer3(protocols.read(protocols.PRESETS["plain"]), Options())
    assert [config.name for config in writer.configs] == ["preference", "edit_quality"]


def multipref(*comparisons, **options):
    writer = MultiPref(protocols.read(protocols.PRESETS["multipref"]), Options(**options))
    return written(writer, Source(*comparisons)), writer.left_out


ANSWERED = {
    "helpful": {"level": 2, "confidence": 3, "reasons": ["clear", "creative"]},
    "harmless": {"level": -1, "confidence": None, "reasons": []},
}


def test_multipref_answers_come_back_with_who_gave_them_how_sure_and_why():
    said = [
        vote(0.5, aspects=ANSWERED, confidence=2.0, active_ms=61_000, justification=ODD),
        vote(-1, 1, is_expert=True),
    ]
    tables, _left = multipref(judged(*said, a=ODD, prompt_metadata={"category": "Open QA"}))
    (entry,) = read(multipref_rows, tables["default"])
    assert (turns(entry), texts(entry), entry.comparisons[0].external_id) == (TURNS, [ODD, "right"], "c1")
    assert json.loads(entry.prompt.metadata) == {"category": "Open QA"}
    normal, expert = entry.votes
    assert normal.answer == {"aspects": ANSWERED, "confidence": 2, "justification": ODD}
    assert (normal.rater, normal.preference, normal.active_ms, normal.created_at) == ("person-0", 0.5, 61_000, NOON)
    assert (expert.rater, expert.preference, expert.is_expert, normal.is_expert) == ("person-1", -1, True, False)


def test_multipref_reasons_that_no_preset_offers_are_kept_word_for_word():
    given = {"evaluator": "w", "overall_pref": "Tie", "timestamp": "Monday", "helpful_own_reason": "𝄞"}
    given["helpful_checked_reasons"] = ["Clearer", "Nicer"]
    row = {"comparison_id": "1", "text": "?", "completion_a": "a", "completion_b": "b"}
    (said,) = multipref_rows.read({**row, "normal_worker_annotations": [given]}).votes
    kept = {"helpful_checked_reasons": ["Nicer"], "helpful_own_reason": "𝄞", "timestamp": "Monday"}
    assert (json.loads(said.provenance), said.created_at) == (kept, None)


@pytest.mark.parametrize("field", ["overall_pref", "overall_confidence", "harmless_pref"])
def test_a_word_that_multipref_does_not_know_is_refused_by_name(field):
    row = {"comparison_id": "1", "text": "?", "completion_a": "a", "completion_b": "b"}
    with pytest.raises(RowInvalid, match=field):
        multipref_rows.read({**row, "normal_worker_annotations": [{"evaluator": "w", field: "A-wins"}]})


def test_multipref_is_binarized_by_people_and_by_labelers_apart():
    ai = replace(vote(None, 9), rater="judge@1", is_person=False, p_b=0.2)
    tables, left = multipref(
        judged(vote(0), vote(0, 1), vote(0.5, 2), ai),
        judged(vote(-0.5), vote(0.5, 1), key="c2"),
    )
    ((_line, human),) = tables["human_overall_binarized"]
    assert (human["chosen"], human["rejected"][-1]["content"]) == (
        [*TURNS, {"role": "assistant", "content": "right"}],
        "left 𝄞",
    )
    assert (human["chosen_model"], human["tie_is_common"]) == ("model-b", True)
    ((_line, by_ai),) = tables["ai_overall_binarized"]
    assert (by_ai["chosen"][-1]["content"], by_ai["meta_judges"]) == ("left 𝄞", ["judge@1"])
    assert left == {"a tie (human_overall_binarized)": 1}


def fine_grained(*comparisons, **options):
    writer = FineGrained(protocols.read(protocols.PRESETS["fine-grained"]), Options(**options))
    return written(writer, Source(*comparisons))


def span(side, text, start, end, kind="wrong_fact", **said):
    return {"side": side, "start": start, "end": end, "type": kind, "severity": "major", "comment": "", **said}


@given(TEXTS, TEXTS, st.data())
@settings(max_examples=examples(30), deadline=None)
def test_marked_passages_come_back_on_the_same_code_points(a, b, data):
    spans = []
    for side, text in (("a", a), ("b", b)):
        start = data.draw(st.integers(0, len(text) - 1))
        spans.append(span(side, text, start, data.draw(st.integers(start + 1, len(text))), comment=ODD))
    edit = {"side": "b", "text": b + "𝄞"}
    ratings = {"completeness": {"a": 0, "b": 3}}
    said = [vote(1, spans=spans, edit=edit, attributes=ratings), vote(-1, 1, spans=spans[:1]), vote(0, 2)]
    (entry,) = read(fine_grained_rows, fine_grained(judged(*said, a=a, b=b))["default"])
    assert (turns(entry), texts(entry), entry.comparisons[0].external_id) == (TURNS, [a, b], "c1")
    assert [each.preference for each in entry.votes] == [1, -1, 0]
    first, second, third = (each.answer for each in entry.votes)
    assert (first["spans"], first["edit"], first["attributes"]) == (spans, edit, ratings)
    assert (second["spans"], third["spans"]) == (spans[:1], [])
    marked = {each["side"]: dict(a=a, b=b)[each["side"]][each["start"] : each["end"]] for each in first["spans"]}
    assert marked == {each["side"]: dict(a=a, b=b)[each["side"]][each["start"] : each["end"]] for each in spans}


def test_marks_count_code_points_where_other_programs_count_two_units():
    text = "𝄞𝄞 wrong"
    ((_line, row), _other) = fine_grained(judged(vote(1, spans=[span("a", text, 3, 8)]), a=text))["default"]
    (error,) = row["feedback"]["errors"]
    assert row["prediction 1"][error["start"] : error["end"]] == "wrong"
    assert (error["error type"], row["preference"]) == ("Wrong-Grounding", [2])


def test_neither_valid_and_documents_come_back():
    context = [{"title": "Clefs", "text": "A clef is a sign. 𝄞"}]
    said = vote(None, outcome="neither_valid")
    (entry,) = read(fine_grained_rows, fine_grained(judged(said, context=context))["default"])
    assert (entry.votes[0].answer["outcome"], json.loads(entry.prompt.context)) == ("neither_valid", context)
    assert turns(entry) == TURNS


def test_qa_feedback_is_six_comparisons_with_the_marks_on_the_first():
    predictions = {f"prediction {number}": f"text {number}" for number in range(1, 5)}
    error = {"error type": "Redundant", "explanation": "", "start": 0, "end": 4}
    missing = [{"error type": "Missing-Major-Auxiliary", "passage_id": 2, "sentence_id": [8]}]
    feedback = {"errors": [error], "missing-info": missing, "corrected-prediction": "t"}
    row = {"question": "?", **predictions, "feedback": feedback, "preference": [0, 2, 1, 0, 1, 1]}
    (entry,) = read(fine_grained_rows, [(1, row)])
    assert [(each.a, each.b) for each in entry.comparisons][:3] == [(0, 1), (0, 2), (0, 3)]
    assert [each.preference for each in entry.votes] == [0, 1, -1, 0, -1, -1]
    first, *others = (each.answer for each in entry.votes)
    assert first["spans"] == [{"side": "a", "start": 0, "end": 4, "type": "repetitive", "comment": ""}]
    assert (first["attributes"], first["edit"]) == ({"completeness": {"a": 1}}, {"side": "a", "text": "t"})
    assert others == [{}] * 5
    with pytest.raises(RowInvalid, match="5 numbers for 6 pairs"):
        fine_grained_rows.read({**row, "preference": [0] * 5})


def test_marks_without_severity_are_an_answer_of_a_protocol_that_asks_for_it():
    definition = recorded.lenient(protocols.read(protocols.PRESETS["fine-grained"]))
    marked = {"side": "a", "start": 0, "end": 4, "type": "repetitive"}
    said = rows.Vote(field="v", comparison=0, rater="", is_ai=False, source="s", preference=1.0)
    said.answer = {"spans": [marked]}
    assert recorded.answer(definition, said, {"a": "text", "b": "b"}).spans[0]["severity"] == ""
    said.answer = {"spans": [marked, {**marked, "start": 1, "severity": "awful"}]}
    with pytest.raises(RowInvalid):
        recorded.answer(definition, said, {"a": "text", "b": "b"})


def qa_feedback(most):
    """Rows of qa-feedback put together again from its comparisons, the first `most` questions."""
    questions = {}
    with gzip.open(SHARED / "qa_feedback.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            number = row["meta"]["question_index"]
            if number >= most:
                break
            questions.setdefault(number, {"question": row["prompt"], "feedback": None, "said": {}})
            own = questions[number]
            places = [int(row[f"model_{side}"].rsplit(" ", 1)[1]) for side in "ab"]
            own.update(
                {f"prediction {place}": row[f"response_{side}"] for place, side in zip(places, "ab", strict=True)}
            )
            own["said"][min(places), max(places)] = row["human_labels"][0]["raw"]
            own["feedback"] = row["meta"].get("span_feedback_of_prediction_1") or own["feedback"]
    for own in questions.values():
        own["preference"] = [number for _pair, number in sorted(own.pop("said").items())]
    return list(questions.values())


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of public data sets is not here")
def test_real_qa_feedback_is_read_whole():
    given = qa_feedback(100)
    entries = read(fine_grained_rows, enumerate(given, 1))
    assert len(entries) == 100
    definition = recorded.lenient(protocols.read(protocols.PRESETS["fine-grained"]))
    marked = 0
    for row, entry in zip(given, entries, strict=True):
        assert texts(entry) == [row[f"prediction {place}"] for place in range(1, 5)]
        assert [each.preference for each in entry.votes] == [(0, -1, 1)[number] for number in row["preference"]]
        for each in entry.votes:
            recorded.leave(definition, each)
            answer = recorded.answer(definition, each, rows.judged_texts(entry, each))
            marked += len(answer.spans)
    assert marked > 100


def per_rater_tables(*comparisons, profiles):
    writer = PerRater(protocols.read(protocols.PRESETS["plain"]), Options())
    return {
        config: [row for _line, row in numbered]
        for config, numbered in written(writer, Source(*comparisons, profiles=profiles)).items()
    }


def test_a_person_s_judgments_carry_what_five_people_here_share_and_no_more():
    about = {"age": "25-34", "gender": "woman", "languages": ["sw", "en"]}
    profiles = {f"person-{number}": about for number in range(5)}
    profiles["person-4"] = {**about, "languages": ["en"]}
    profiles["person-9"] = {**about, "age": "65+"}  # has judged nothing here
    votes = [vote((-1, 1)[number % 2], number) for number in range(6)]
    tables = per_rater_tables(judged(*votes), profiles=profiles)
    # Four of five share the languages: they go for all five, or the fifth would stand out.
    assert all("languages" not in each for each in tables["survey"])
    assert [each["user_id"] for each in tables["survey"]] == [f"person-{number}" for number in range(5)]
    assert [each.get("age") for each in tables["judgments"]] == ["25-34"] * 5 + [None]


def test_a_person_s_conversation_ends_with_both_responses():
    (row,) = per_rater_tables(judged(vote(-1, attributes={"h": {"a": 1}})), profiles={})["judgments"]
    *said, a, b = row["conversation_history"]
    assert [(each["role"], each["content"], each["turn"]) for each in said] == [
        ("user", "Hi\nthere", 0),
        ("model", ODD, 0),
        ("user", "𝄞?", 1),
    ]
    assert [(each["content"], each["model_name"], each["if_chosen"], each["turn"]) for each in (a, b)] == [
        ("left 𝄞", "model-a", True, 1),
        ("right", "model-b", False, 1),
    ]
    assert (row["opening_prompt"], row["preference"], row["ratings"]) == ("Hi\nthere", -1, '{"h": {"a": 1}}')


OURS = ("helpsteer2", "helpsteer2_preference", "helpsteer3", "multipref", "fine_grained")


@pytest.mark.parametrize("name", OURS)
def test_the_preset_named_by_a_reader_asks_for_all_that_its_rows_hold(name):
    reader = import_module(READERS[name])
    definition = recorded.lenient(protocols.read(protocols.PRESETS[reader.PRESET]))
    answered = 0
    for path in sorted((Path(__file__).parent / "rows").glob(f"{name}*.jsonl")):
        if path.stem.partition("-")[0] != name:
            continue
        numbered = iter(RowFile(path))
        for _line, row in reader.joined(numbered) if hasattr(reader, "joined") else numbered:
            entry = reader.read(row)
            for vote in entry.votes:
                left = recorded.leave(definition, vote, reader.PRESET)
                assert not [words for words in left if "edited response" not in words]
                if not recorded.cannot_say(definition, vote):
                    recorded.answer(definition, vote, rows.judged_texts(entry, vote))
                    answered += 1
    assert answered
