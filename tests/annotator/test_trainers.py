"""What trainers load, as pure functions: comparisons in, rows out, and what has no row is counted."""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from django.utils.module_loading import import_string

from annotator import protocols
from annotator.formats import WRITERS
from annotator.formats.source import FormatUnfit, Judged, Label, Options, Prompt, Response, Vote

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \u200f שלום \x01 end "
# Names that make TRL do something else; `prompt`, `completion` and `margin` only where they are meant.
RESERVED = {"images", "image", "tools", "chat_template_kwargs", "messages", "chosen_ids", "ref_chosen_logps"}
TRAINERS = [name for name, path in WRITERS.items() if ".trainers." in path]


def vote(number=0, ratings=None, spans=(), is_person=True, outcome="level", **fields):
    """A person's vote for B; `ratings`: {"helpfulness": (a's, b's)}."""
    attributes = {key: dict(zip("ab", values, strict=True)) for key, values in (ratings or {}).items()}
    marked = [{"side": side, "start": start, "end": end, "type": "wrong_fact"} for side, start, end in spans]
    base = (f"person-{number}", is_person, False, outcome, 1.0, None, None, {}, attributes, [], "", None, NOON)
    return Vote(*base, spans=marked, **fields)


def judged(*votes, key="c1", a="left", b="right", p_b=0.75, turns=None, strength=0.5, neither=0, further=(), meta=None):
    turns = turns or [{"role": "user", "content": "Why?"}]
    label = Label("people", p_b, 0.0, strength, 1.0, max(len(votes), 1), neither)
    meta = meta or {}
    responses = [Response(side, text, f"model-{side}", meta.get(side, {})) for side, text in (("a", a), ("b", b))]
    return Judged(key, Prompt("p1", turns), *responses, label, votes, further=tuple(further))


@dataclasses.dataclass
class Source:
    comparisons: tuple

    def judged(self):
        return iter(self.comparisons)


def write(format, *comparisons, preset="plain", **options):
    """(rows by config, what was left out)."""
    writer = import_string(WRITERS[format])(protocols.read(protocols.PRESETS[preset]), Options(**options))
    rows = {config.name: [] for config in writer.configs}
    for row in writer.rows(Source(comparisons)):
        rows[row.config].append(row.values)
    return rows, dict(writer.left_out)


def said(*roles, text="Why?"):
    return [{"role": role, "content": f"{text} {number}"} for number, role in enumerate(roles)]


SYSTEM = said("system", "user", "assistant", "user", text=ODD)


@pytest.mark.parametrize("format", TRAINERS)
@pytest.mark.parametrize("ties", ["drop", "both"])
def test_rows_have_the_declared_columns_none_that_trainers_react_to_and_no_null_where_it_hurts(format, ties):
    preset = {"trl_stepwise": "fine-grained"}.get(format, "helpsteer2")
    comparisons = [
        judged(vote(ratings={"helpfulness": (0, 4)}), turns=turns, p_b=p_b, meta={"a": {"step_ends": [2, 4]}})
        for turns in (None, SYSTEM)
        for p_b in (0.75, 0.5, 0.1)
    ]
    definition = protocols.read(protocols.PRESETS[preset])
    writer = import_string(WRITERS[format])(definition, Options(ties=ties))
    schemas = {config.name: config.schema for config in writer.configs}
    counts = Counter()
    for row in writer.rows(Source(comparisons)):
        counts[row.config] += 1
        assert set(row.values) == set(schemas[row.config].names)
        theirs = {name for name in row.values if not name.startswith("meta_")}
        assert all(row.values[name] is not None for name in theirs)
        assert not theirs & (RESERVED - ({"messages"} if format == "axolotl" else set()))
        if "chosen" in theirs:
            assert row.values["chosen"] != row.values["rejected"]
    assert set(counts) == set(schemas) and min(counts.values()) > 0
    assert writer.notes and all(note.endswith(".") for note in writer.notes)


@pytest.mark.parametrize("format", [name for name in TRAINERS if name not in ("trl_kto", "trl_stepwise")])
def test_a_format_of_pairs_never_gets_a_tie_equal_or_empty_answers_and_refuses_to_keep_ties(format):
    comparisons = (judged(a="x", b="x"), judged(b=" \n"), judged(p_b=None), judged(p_b=0.5), judged(neither=1))
    rows, left = write(format, *comparisons)
    assert not any(rows.values())
    reasons = ("equal responses", "an empty response", "no answer on the scale", "a tie", "neither response is valid")
    assert {reason: left[reason] for reason in reasons} == dict.fromkeys(reasons, 1)
    with pytest.raises(FormatUnfit, match="tie"):
        write(format, ties="keep")


def test_dpo_has_the_prompt_in_a_column_of_its_own_unless_asked_otherwise_and_rewards_the_reverse():
    comparison = judged(turns=SYSTEM, a=ODD)
    explicit = {
        "prompt": SYSTEM,
        "chosen": [{"role": "assistant", "content": "right"}],
        "rejected": [{"role": "assistant", "content": ODD}],
    }
    implicit = {name: SYSTEM + explicit[name] for name in ("chosen", "rejected")}
    for format, usual in (("trl_preference", explicit), ("trl_reward", implicit), ("openrlhf", implicit)):
        for prompt, expected in (("recommended", usual), ("explicit", explicit), ("implicit", implicit)):
            (row,) = write(format, comparison, prompt=prompt)[0]["default"]
            theirs = {name: value for name, value in row.items() if not name.startswith("meta_") and name != "margin"}
            assert theirs == expected
    assert "margin" not in write("trl_preference", comparison)[0]["default"][0]
    assert write("openrlhf", comparison, margin="llama2")[0]["default"][0]["margin"] == 1.5


@pytest.mark.parametrize("prompt", ["implicit", "explicit"])
def test_openrlhf_is_told_which_flags_its_rows_need(prompt):
    writer = import_string(WRITERS["openrlhf"])(protocols.read(protocols.PRESETS["plain"]), Options(prompt=prompt))
    assert ("with `--data.prompt_key prompt`" in writer.notes[0]) == (prompt == "explicit")


def rated(*pairs, **fields):
    """A comparison that people rated for helpfulness, each as (A, B)."""
    return judged(*(vote(number, {"helpfulness": pair}) for number, pair in enumerate(pairs)), **fields)


def test_kto_takes_what_people_on_average_find_good_or_bad_and_nothing_between():
    rows, left = write("trl_kto", rated((3, 1), (3, 1), (3, 1)), rated((4, 2), (1, 2)), preset="helpsteer2")
    assert [(row["completion"][0]["content"], row["label"], row["meta_rating"]) for row in rows["default"]] == [
        ("left", True, 3.0),
        ("right", False, 1.0),
    ]
    assert rows["default"][0]["prompt"] == [{"role": "user", "content": "Why?"}]
    assert (rows["default"][0]["meta_votes"], rows["default"][0]["meta_source"]) == (3, "people")
    assert left == {"a response rated neither good nor bad": 2}


def test_kto_follows_ratings_not_preferences_and_its_bounds_can_be_moved():
    both_good = rated((4, 3), p_b=0.5, neither=1)
    assert [row["label"] for row in write("trl_kto", both_good, preset="helpsteer2")[0]["default"]] == [True, True]
    strict = write("trl_kto", both_good, preset="helpsteer2", good=3.5, bad=3.0)[0]["default"]
    assert [row["label"] for row in strict] == [True, False]
    with pytest.raises(FormatUnfit, match="good from 1 and bad up to 1"):
        write("trl_kto", preset="helpsteer2", good=1, bad=1)


def test_kto_counts_responses_that_nobody_rated_or_that_are_empty_and_no_ai_labeler_rates():
    ai = vote(9, {"helpfulness": (4, 4)}, is_person=False)
    rows, left = write("trl_kto", judged(ai), rated((4, 0), a=" "), preset="helpsteer2")
    assert [row["label"] for row in rows["default"]] == [False]
    assert left == {"a response that nobody rated": 2, "an empty response": 1}


def test_kto_without_ratings_is_refused_in_words_and_takes_decided_pairs_when_asked():
    with pytest.raises(FormatUnfit, match="--labels pairs"):
        write("trl_kto")
    rows, left = write("trl_kto", judged(vote()), judged(p_b=0.5), labels="pairs", ties="both")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows["default"]] == [
        ("left", False),
        ("right", True),
    ]
    assert {row["meta_rating"] for row in rows["default"]} == {None}
    assert left == {"a tie": 1}


def test_of_a_ranking_the_best_is_good_the_worst_bad_and_the_middle_left_out():
    ranks = vote(ranking={"ranks": [2, 1, 3]})
    third = Response("c", "third")
    rows, left = write("trl_kto", judged(ranks, further=[third]), labels="pairs", pairs="all")
    assert {(row["completion"][0]["content"], row["label"]) for row in rows["default"]} == {
        ("right", True),
        ("third", False),
    }
    assert left == {"a response that won one pair and lost another": 1}
    assert len(write("trl_preference", judged(ranks, further=[third]), pairs="all")[0]["default"]) == 3


STEPS = "Two and two are four.\nFour and four are nine.\n\nSo it is nine."
ENDS = [22, 46]


def stepwise(*votes, a=STEPS, meta=None):
    steps = {"step_ends": ENDS} if meta is None else meta
    comparison = judged(*votes, a=a, meta={"a": steps}, turns=said("system", "user"))
    rows, left = write("trl_stepwise", comparison, preset="fine-grained")
    return rows["default"], left


def test_steps_are_wrong_where_most_people_marked_an_error_that_touches_them():
    marks = [("a", 43, 47)], [("a", 40, 44), ("b", 0, 5)], [("a", 0, 3)], []
    ((row,), left) = stepwise(*(vote(number, spans=spans) for number, spans in enumerate(marks[:3])))
    assert row["prompt"] == "<extra_id_0>System\nWhy? 0\n<extra_id_1>User\nWhy? 1"
    assert row["completions"] == ["Two and two are four.", "Four and four are nine.", "So it is nine."]
    # 46 is where the last step begins: the mark from 43 to 47 touches both steps, but only one person made it.
    assert (row["labels"], row["meta_votes"]) == ([True, False, True], 3)
    assert left == {"a response without steps in its metadata": 1}
    # Half is not most, and who could not judge does not count.
    ((row,), _left) = stepwise(*(vote(number, spans=spans) for number, spans in enumerate(marks)))
    assert row["labels"] == [True, True, True]
    ((row,), _left) = stepwise(vote(spans=marks[0]), vote(1, outcome="cannot_judge"))
    assert row["labels"] == [True, False, False]


def test_steps_may_be_given_as_texts_and_their_places_are_code_points():
    text = "𝄞 one, שלום.\r\n𝄞 two."
    ((row,), _left) = stepwise(
        vote(spans=[("a", text.index("two"), len(text))]), a=text, meta={"steps": ["𝄞 one, שלום.", "𝄞 two."]}
    )
    assert (row["completions"], row["labels"]) == (["𝄞 one, שלום.", "𝄞 two."], [True, False])
    ((row,), _left) = stepwise(vote(spans=[("a", 0, 1)]), a=text, meta={"step_ends": [text.index("\r"), len(text)]})
    assert (row["completions"], row["labels"]) == (["𝄞 one, שלום.", "𝄞 two."], [False, True])


@pytest.mark.parametrize(
    "meta",
    [{}, {"step_ends": [99]}, {"step_ends": [5, 5]}, {"step_ends": ["5"]}, {"step_ends": 5}, {"step_ends": []}]
    + [{"steps": ["So", "Two"]}, {"steps": [""]}, {"steps": "Two"}, {"steps": [{"step": "Two"}]}],
)
def test_steps_that_do_not_fit_the_text_make_no_row(meta):
    assert stepwise(vote(), meta=meta) == ([], {"a response without steps in its metadata": 2})


def test_stepwise_needs_a_protocol_that_marks_passages_and_people_who_judged():
    with pytest.raises(FormatUnfit, match="fine-grained"):
        write("trl_stepwise")
    assert stepwise(vote(is_person=False)) == ([], {"a response that no person judged": 2})


def test_llama_factory_has_single_objects_an_odd_number_of_turns_and_the_system_turn_apart():
    rows, left = write("llamafactory", judged(turns=SYSTEM, a=ODD), preset="helpsteer2", labels="pairs")
    (row,) = rows["preference"]
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human"]
    assert [turn["value"] for turn in row["conversations"]] == [turn["content"] for turn in SYSTEM[1:]]
    assert row["system"] == SYSTEM[0]["content"]
    assert (row["chosen"], row["rejected"]) == ({"from": "gpt", "value": "right"}, {"from": "gpt", "value": ODD})
    assert [(row["kto_tag"], len(row["conversations"])) for row in rows["kto"]] == [(False, 4), (True, 4)]
    assert [row["conversations"][-1] for row in rows["kto"]] == [
        {"from": "gpt", "value": ODD},
        {"from": "gpt", "value": "right"},
    ]
    assert left == {}


@pytest.mark.parametrize("format", ["llamafactory", "nemo_aligner"])
@pytest.mark.parametrize(
    "roles",
    [("user", "user"), ("user", "system", "user"), ("assistant", "user"), ("system",), ("user", "assistant", "system")],
)
def test_conversations_that_do_not_alternate_are_left_out_and_counted(format, roles):
    rows, left = write(format, judged(turns=said(*roles)))
    assert not any(rows.values())
    assert left == {"the conversation does not alternate between user and assistant": 1}


def test_llama_factory_has_kto_rows_only_where_something_says_what_is_good():
    comparison = rated((4, 2))
    assert set(write("llamafactory", comparison)[0]) == {"preference"}
    rows, left = write("llamafactory", comparison, preset="helpsteer2")
    assert [row["kto_tag"] for row in rows["kto"]] == [True]
    assert left == {"a response rated neither good nor bad (kto)": 1}


def test_llama_factory_is_told_of_every_file():
    writer = import_string(WRITERS["llamafactory"])(protocols.read(protocols.PRESETS["plain"]), Options())
    written = {"preference": ["preference/train.jsonl", "preference/validation.jsonl"], "kto": ["kto/train.jsonl"]}
    (name, text), *others = writer.files(written).items()
    info = json.loads(text)
    assert (name, others) == ("dataset_info.json", [])
    assert list(info) == ["preference", "preference_validation", "kto"]
    columns = {"messages": "conversations", "system": "system"}
    assert info["preference_validation"] == {
        "file_name": "preference/validation.jsonl",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {**columns, "chosen": "chosen", "rejected": "rejected"},
    }
    assert (info["kto"]["ranking"], info["kto"]["columns"]) == (False, {**columns, "kto_tag": "kto_tag"})


def test_nemo_rl_ranks_the_better_answer_0_and_has_plain_answers_beside():
    rows, _left = write("nemo_rl", judged(turns=SYSTEM, a=ODD))
    (ranked,), (binary,) = rows["preference"], rows["binary"]
    assert ranked["context"] == binary["prompt"] == SYSTEM
    assert [(each["rank"], each["completion"]) for each in ranked["completions"]] == [
        (0, [{"role": "assistant", "content": "right"}]),
        (1, [{"role": "assistant", "content": ODD}]),
    ]
    assert (binary["chosen"], binary["rejected"]) == ("right", ODD)


def test_nemo_aligner_has_two_lines_a_pair_the_better_first_in_its_models_template():
    rows, _left = write("nemo_aligner", judged(key="c1"), judged(key="c2", p_b=0.2), judged(turns=SYSTEM, key="c3"))
    assert [(row["meta_comparison_id"], row["text"]) for row in rows["bradley_terry"][:4]] == [
        (key, f"<extra_id_0>System\n\n<extra_id_1>User\nWhy?\n<extra_id_1>Assistant\n{text}\n<extra_id_1>")
        for key, text in (("c1", "right"), ("c1", "left"), ("c2", "left"), ("c2", "right"))
    ]
    dpo = rows["dpo"][2]
    assert dpo["prompt"] == (
        f"<extra_id_0>System\n{ODD} 0\n<extra_id_1>User\n{ODD} 1\n<extra_id_1>Assistant\n{ODD} 2\n"
        f"<extra_id_1>User\n{ODD} 3\n<extra_id_1>Assistant\n"
    )
    assert (dpo["chosen_response"], dpo["rejected_response"]) == ("right\n<extra_id_1>", "left\n<extra_id_1>")
    assert set(rows) == {"dpo", "bradley_terry"}


def test_nemo_aligner_labels_nine_attributes_in_a_fixed_order_and_masks_what_is_missing():
    people = [vote(n, {"helpfulness": (4, n), "verbosity": (1, 2)}) for n in range(2)]
    rows, left = write("nemo_aligner", judged(*people), judged(p_b=0.5), preset="helpsteer2")
    assert [row["label"] for row in rows["regression"]] == [
        [-100, -100, -100, -100, 4, -100, -100, -100, 1],
        [-100, -100, -100, -100, 0.5, -100, -100, -100, 2],
    ]
    assert rows["regression"][0]["text"].endswith("<extra_id_1>Assistant\nleft\n<extra_id_2>")
    assert left == {"a response that nobody rated (regression)": 2, "a tie": 1}


def test_axolotl_reward_models_get_single_turns_alone_always_with_a_system():
    brief = said("system", "user")
    rows, left = write("axolotl", judged(), judged(turns=brief, a=ODD), judged(turns=SYSTEM))
    flat = [{name: row[name] for name in ("system", "input", "chosen", "rejected")} for row in rows["bradley_terry"]]
    assert flat == [
        {"system": "", "input": "Why?", "chosen": "right", "rejected": "left"},
        {"system": "Why? 0", "input": "Why? 1", "chosen": "right", "rejected": ODD},
    ]
    assert left == {"more than one turn (bradley_terry)": 1}
    assert [row["messages"] for row in rows["dpo"]] == [[{"role": "user", "content": "Why?"}], brief, SYSTEM]
    assert rows["dpo"][1]["rejected"] == {"role": "assistant", "content": ODD}


def test_ratings_on_another_scale_are_stretched_to_0_to_4():
    definition = {**protocols.PRESETS["helpsteer2"]}
    definition["attributes"] = [{"key": "helpfulness", "label": "Helpful", "minimum": 1, "maximum": 5}]
    writer = import_string(WRITERS["trl_kto"])(protocols.read(definition), Options())
    rows = [row.values for row in writer.rows(Source((rated((5, 2)),)))]
    assert [(row["meta_rating"], row["label"]) for row in rows] == [(4.0, True), (1.0, False)]
