"""Protocols as data: what is asked, which answers are taken, and how the order on screen becomes the own one."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator import protocols
from annotator.models import Assignment, Candidate, Judgment, Prompt, Response
from annotator.pipeline import assign, judge
from annotator.protocols import AnswerInvalid, check, inverse, mirror, on_screen
from tests.builders import make_comparison, make_person, make_project, make_user
from tests.examples import examples

# How long an example takes says more about the machine than about the code.
CALM = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIDES = protocols.SIDES
READ = {name: protocols.read(stored) for name, stored in protocols.PRESETS.items()}
RANKED = [name for name, definition in READ.items() if definition.ranks]
WORDS = "It is shorter, and nothing that was asked for is missing in it."
LONG = " ".join(["It is mostly helpful: it answers what was asked, in order, and leaves out what nobody needs."] * 3)


def definition_of(**asked):
    return protocols.read({"question": "Which?", "levels": [[-1, "A"], [0, "Tie"], [1, "B"]], **asked})


def refused(definition, answer, texts=None):
    with pytest.raises(AnswerInvalid) as caught:
        check(definition, answer, texts)
    return caught.value.field


def an_answer(definition, texts):
    """An answer to everything the protocol asks, as given on screen; no two responses are treated alike."""
    sides = SIDES[: len(texts)]
    answer = {
        "level": definition.levels[0].value,
        "confidence": 2 if definition.confidence else None,
        "justification": "" if definition.justification == "none" else WORDS,
        "reasons": [choice.key for choice in definition.reasons[:2]],
        "flags": [choice.key for choice in definition.flags[1:3]],
        "aspects": {
            aspect.key: {
                "level": aspect.levels[0].value,
                "confidence": 3 if aspect.confidence else None,
                "reasons": [choice.key for choice in aspect.reasons[:1]],
            }
            for aspect in definition.aspects
        },
        "attributes": {
            attribute.key: {
                side: min(attribute.minimum + place, attribute.maximum) for place, side in enumerate(sides)
            }
            for attribute in definition.attributes
        },
    }  # fmt: skip
    if definition.feedback != "none":
        answer["feedback"] = {side: f"{side}: {LONG}" for side in sides}
    if definition.edit != "none":
        answer["edit"] = {"side": "b", "text": texts["b"] + " Better."}
    if definition.spans:
        marks = {"type": definition.spans.types[0].key, "severity": "major", "comment": "no"}
        answer["spans"] = [{"side": "a", "start": 0, "end": 2, **marks}, {"side": "b", "start": 1, "end": 4, **marks}]
    if definition.ranking == "full":
        answer["ranking"] = {"ranks": list(range(len(sides), 0, -1))}
    if definition.ranking == "best_worst":
        answer["ranking"] = {"best": 0, "worst": 1}
    return answer


# ---------- definitions ----------


def test_a_definition_of_an_earlier_release_asks_for_nothing_new():
    old = protocols.read({"question": "Which?", "levels": [[-1, "A"], [1, "B"]], "reasons": [["x", "X"]]})
    assert (old.feedback, old.edit, old.ranking, old.spans, old.flags) == ("none", "none", "none", None, ())
    assert (old.justification, old.justification_min, old.criterion, old.neither_valid) == ("optional", 0, False, True)
    assert not old.ranks


def test_levels_and_anchors_may_say_when_to_give_them_and_show_a_case():
    stored = {
        "question": "Which?",
        "levels": [[-1, "A", "much more", "Like **this**."], [1, "B"]],
        "attributes": [
            {
                "key": "k",
                "label": "K",
                "minimum": 1,
                "maximum": 2,
                "anchors": ["low", {"label": "high", "example": "x"}],
            }
        ],
    }
    definition = protocols.read(stored)
    assert (definition.levels[0].meaning, definition.levels[0].example) == ("much more", "Like **this**.")
    low, high = definition.attributes[0].anchors
    assert (low.value, low.label, high.value, high.example) == (1, "low", 2, "x")


@pytest.mark.parametrize("points", range(2, 10))
def test_every_scale_from_two_to_nine_points_gives_preferences_from_minus_one_to_one(points):
    half = points // 2
    values = [value for value in range(-half, half + 1) if value or points % 2]
    definition = definition_of(levels=[[value, str(value)] for value in values])
    given = [check(definition, {"level": value}).preference for value in values]
    assert len(values) == points and given[0] == -1 and given[-1] == 1 and given == sorted(given)


@pytest.mark.parametrize("levels", [[], [[1, "B"]], [[-1, "A"], [2, "B"]], [[1, "B"], [-1, "A"]], [[0, "T"], [0, "U"]]])
def test_a_scale_that_is_no_mirror_of_itself_is_nonsense(levels):
    with pytest.raises(ValueError, match="mirror"):
        definition_of(levels=levels)


# ---------- answers ----------


@pytest.mark.parametrize("preset", READ)
def test_what_a_full_answer_to_a_preset_says_is_all_kept(preset):
    definition = READ[preset]
    texts = {side: f"Response {side} of several." for side in SIDES[: 4 if definition.ranks else 2]}
    answer = an_answer(definition, texts)
    checked = check(definition, answer, texts)
    for name in ("reasons", "flags", "feedback", "edit", "attributes"):
        assert getattr(checked, name) == (answer.get(name) or type(getattr(checked, name))())
    assert [span["text"] for span in checked.spans] == [
        texts[span["side"]][span["start"] : span["end"]] for span in answer.get("spans", [])
    ]
    assert checked.outcome == "level" and checked.level is not None


@pytest.mark.parametrize("preset", READ)
def test_each_thing_that_a_preset_requires_is_refused_by_name_when_it_is_missing(preset):
    definition = READ[preset]
    texts = {side: f"Response {side} of several." for side in SIDES[: 3 if definition.ranks else 2]}
    answer = an_answer(definition, texts)
    assert refused(definition, {**answer, "outcome": "whatever"}, texts) == "outcome"
    if definition.ranks:
        assert refused(definition, {**answer, "ranking": {}}, texts).startswith("ranking.")
    else:
        assert refused(definition, {**answer, "level": None}, texts) == "level"
    if definition.justification == "required":
        assert refused(definition, {**answer, "justification": ""}, texts) == "justification"
    if definition.feedback == "required":
        assert refused(definition, {**answer, "feedback": {"a": LONG}}, texts) == "feedback.b"
    for aspect in definition.aspects:
        if aspect.required:
            others = {key: said for key, said in answer["aspects"].items() if key != aspect.key}
            assert refused(definition, {**answer, "aspects": others}, texts) == f"aspects.{aspect.key}"
    for attribute in definition.attributes:
        others = {**answer["attributes"], attribute.key: {"a": 1}}
        assert refused(definition, {**answer, "attributes": others}, texts) == f"attributes.{attribute.key}.b"


def test_a_required_length_counts_words_not_blanks():
    definition = definition_of(justification="required", justification_min=12, feedback="required", feedback_min=5)
    given = {"level": 1, "justification": "too short", "feedback": {"a": "enough", "b": "enough"}}
    assert refused(definition, given) == "justification"
    assert refused(definition, {**given, "justification": "too      \n\n    short"}) == "justification"
    assert check(definition, {**given, "justification": "long enough 𝕏"}).justification == "long enough 𝕏"
    assert refused(
        definition, {**given, "justification": "long enough.", "feedback": {"a": "four", "b": "enough"}}
    ) == ("feedback.a")


def test_flags_count_with_every_answer_and_explain_why_it_cannot_be_judged():
    definition = definition_of(flags=[["pii", "Personal data"], ["expert", "Needs an expert"]])
    for outcome in ({"level": 1}, {"outcome": "neither_valid"}, {"outcome": "cannot_judge"}):
        assert check(definition, {**outcome, "flags": ["expert", "pii"]}).flags == ["pii", "expert"]
    assert refused(definition, {"outcome": "cannot_judge"}) == "justification"
    assert refused(definition, {"level": 1, "flags": ["dull"]}) == "flags"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({"spans": [{"side": "a", "start": 0, "end": 1, "type": "x"}]}, "spans"),
        ({"ranking": {"ranks": [1, 2]}}, "ranking"),
        ({"feedback": {"a": "good"}}, "feedback"),
        ({"edit": {"side": "a", "text": "new"}}, "edit"),
    ],
)
def test_what_the_protocol_does_not_ask_is_refused_and_not_dropped(answer, field):
    assert refused(definition_of(), {"level": 1, **answer}) == field


TEXTS = {"a": "naïve 👩‍🚀 مرحبا", "b": "plain"}
MARKING = definition_of(spans={"types": [["x", "X"], ["y", "Y"]], "severities": [["minor", "Minor"]], "comment": True})


@pytest.mark.parametrize(
    "change",
    [
        {"start": -1},
        {"start": 3, "end": 3},
        {"end": 10**6},
        {"end": 3.0},
        {"start": True},
        {"side": "c"},
        {"side": None},
        {"type": "z"},
        {"type": ""},
        {"severity": ""},
        {"comment": "x" * 3000},
    ],
)
def test_a_mark_that_is_not_in_the_text_or_not_named_is_refused(change):
    span = {"side": "a", "start": 0, "end": 3, "type": "x", "severity": "minor", "comment": ""}
    assert refused(MARKING, {"level": 1, "spans": [{**span, **change}]}, TEXTS) == "spans.0"


@given(st.data())
@CALM
def test_a_mark_keeps_the_passage_that_its_code_points_cut_from_the_stored_text(data):
    text = data.draw(st.text(min_size=1, max_size=30))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    span = {"side": "b", "start": start, "end": end, "type": "y", "severity": "minor"}
    kept = check(MARKING, {"level": 0, "spans": [span]}, {"a": "", "b": text}).spans
    assert [each["text"] for each in kept] == [text[start:end]]


def test_marks_may_overlap_and_the_same_mark_counts_once():
    span = {"side": "a", "start": 0, "end": 3, "type": "x", "severity": "minor", "comment": ""}
    given = [{**span, "start": 2, "end": 5}, span, {**span, "type": "y"}, span]
    kept = check(MARKING, {"level": 0, "spans": given}, TEXTS).spans
    assert [(each["start"], each["end"], each["type"]) for each in kept] == [(0, 3, "x"), (0, 3, "y"), (2, 5, "x")]


def test_an_edit_that_changes_nothing_is_none():
    texts = {"a": "One.", "b": "Two."}
    optional, required = definition_of(edit="optional"), definition_of(edit="required")
    same = {"level": 1, "edit": {"side": "b", "text": "Two."}}
    assert check(optional, same, texts).edit == {}
    assert refused(required, same, texts) == "edit"
    assert check(required, {"level": 1, "edit": {"side": "b", "text": "Two!"}}, texts).edit["text"] == "Two!"
    assert refused(optional, {"level": 1, "edit": {"side": "c", "text": "x"}}, texts) == "edit"


# ---------- ranking ----------


@pytest.mark.parametrize(
    ("ranks", "kept", "level"),
    [([1, 2, 3], [1, 2, 3], -1), ([3, 1, 3], [2, 1, 2], 1), ([2, 2, 2], [1, 1, 1], 0), ([1, 3, 3], [1, 2, 2], -1)],
)
def test_ranks_are_kept_without_gaps_and_say_which_of_a_and_b_is_better(ranks, kept, level):
    checked = check(READ["ranking"], {"ranking": {"ranks": ranks}}, dict(zip("abc", "xyz", strict=True)))
    assert (checked.ranking, checked.level, checked.outcome) == ({"ranks": kept}, level, "level")


@pytest.mark.parametrize(
    ("ranks", "field"),
    [([1, 2], "ranking.rank.c"), ([1, None, 2], "ranking.rank.b"), ([1, 2, 4], "ranking.rank.c"),
     ([0, 1, 2], "ranking.rank.a"), ([1, 2, 3, 4], "ranking"), ([True, 1, 2], "ranking.rank.a")],
)  # fmt: skip
def test_every_response_needs_one_of_the_ranks(ranks, field):
    texts = dict(zip("abc", "xyz", strict=True))
    assert refused(READ["ranking"], {"ranking": {"ranks": ranks}}, texts) == field


def test_without_a_tie_no_two_responses_share_a_rank():
    definition = definition_of(levels=[[-1, "A"], [1, "B"]], ranking="full")
    assert refused(definition, {"ranking": {"ranks": [1, 2, 1]}}) == "ranking.rank.c"


@pytest.mark.parametrize(
    ("best", "worst", "outcome", "level"),
    [(0, 1, "level", -1), (1, 2, "level", 1), (2, 0, "level", 1), (3, 1, "level", -1), (2, 3, "ranked", None)],
)
def test_best_and_worst_decide_between_a_and_b_where_they_name_one_of_them(best, worst, outcome, level):
    texts = dict(zip("abcd", "wxyz", strict=True))
    checked = check(READ["best-worst"], {"ranking": {"best": best, "worst": worst}}, texts)
    assert (checked.outcome, checked.level) == (outcome, level)
    assert checked.ranking == {"best": best, "worst": worst}
    assert (checked.preference is None) == (outcome == "ranked")


@pytest.mark.parametrize(
    ("ranking", "field"),
    [({"best": 0}, "ranking.worst"), ({"worst": 0}, "ranking.best"), ({"best": 1, "worst": 1}, "ranking.worst"),
     ({"best": 4, "worst": 1}, "ranking.best"), ({"best": "0", "worst": 1}, "ranking.best")],
)  # fmt: skip
def test_best_and_worst_are_two_of_the_responses(ranking, field):
    texts = dict(zip("abcd", "wxyz", strict=True))
    assert refused(READ["best-worst"], {"ranking": ranking}, texts) == field


# ---------- the order on screen ----------

LEVELS = st.integers(-4, 4) | st.none()
COUNTS = st.integers(2, 8)


@st.composite
def answers(draw, count=2):
    sides = SIDES[:count]
    by_side = st.dictionaries(st.sampled_from(sides), st.integers(0, 4), max_size=count)
    span = st.fixed_dictionaries({"side": st.sampled_from(sides), "start": st.integers(0, 5), "end": st.integers(6, 9)})
    ranks = st.lists(st.integers(1, count), min_size=count, max_size=count).map(lambda each: {"ranks": each})
    ends = st.permutations(range(count)).map(lambda order: {"best": order[0], "worst": order[1]})
    return {
        "level": draw(LEVELS) if count == 2 else None,
        "aspects": draw(st.dictionaries(st.sampled_from("xyz"), st.fixed_dictionaries({"level": LEVELS}), max_size=2))
        if count == 2
        else {},
        "attributes": draw(st.dictionaries(st.sampled_from("pq"), by_side, max_size=2)),
        "feedback": draw(st.dictionaries(st.sampled_from(sides), st.text(max_size=5), min_size=1)),
        "edit": {"side": draw(st.sampled_from(sides)), "text": "new"},
        "spans": draw(st.lists(span, min_size=1, max_size=3)),
        "ranking": draw(ranks | ends),
        "justification": "as it is",
    }


@given(answers())
@CALM
def test_turning_an_answer_to_a_pair_twice_gives_it_back(answer):
    assert mirror(mirror(answer)) == answer


@given(st.data())
@CALM
def test_an_answer_to_several_comes_back_through_the_inverse_order(data):
    count = data.draw(COUNTS)
    order = tuple(data.draw(st.permutations(range(count))))
    answer = data.draw(answers(count))
    assert mirror(mirror(answer, order), inverse(order)) == answer


@given(st.data())
@CALM
def test_what_is_said_of_a_response_stays_with_its_text_in_whichever_order_it_is_shown(data):
    count = data.draw(COUNTS)
    order = tuple(data.draw(st.permutations(range(count))))
    own = {side: f"text of {side}" for side in SIDES[:count]}
    shown = {SIDES[place]: own[SIDES[each]] for place, each in enumerate(order)}
    side = data.draw(st.sampled_from(SIDES[:count]))
    place = SIDES.index(side)
    other = data.draw(st.sampled_from([each for each in range(count) if each != place]))
    given = {
        "feedback": {side: shown[side]},
        "edit": {"side": side, "text": shown[side]},
        "spans": [{"side": side, "start": 0, "end": 1}],
        "attributes": {"k": {side: 3}},
        "ranking": {"ranks": [1 if each == place else 2 for each in range(count)], "best": place, "worst": other},
    }
    turned = mirror(given, order)
    (own_side,) = turned["feedback"]
    assert own[own_side] == shown[side] == turned["edit"]["text"]
    assert turned["edit"]["side"] == turned["spans"][0]["side"] == own_side
    assert turned["attributes"] == {"k": {own_side: 3}}
    assert SIDES[turned["ranking"]["best"]] == own_side
    assert own[SIDES[turned["ranking"]["worst"]]] == shown[SIDES[other]]
    assert turned["ranking"]["ranks"].index(1) == SIDES.index(own_side)


def test_only_where_responses_are_ranked_are_more_than_a_and_b_on_screen():
    ranking, plain = READ["ranking"], READ["plain"]
    assert on_screen(ranking, a_first=True, shown_order=[2, 0, 1], count=3) == (2, 0, 1)
    assert on_screen(plain, a_first=False, shown_order=[2, 0, 1], count=3) == (1, 0)
    assert on_screen(ranking, a_first=False, shown_order=[2, 0, 1], count=4) == (1, 0, 2, 3)


# ---------- through the database ----------


def further(comparison, count):
    """Further responses beside A and B."""
    for place in range(2, count):
        response = Response.objects.create(
            prompt=Prompt.objects.get(pk=comparison.prompt_id), external_id=f"r{place}", text=f"Response {place}, more."
        )
        Candidate.objects.create(comparison=comparison, response=response, place=place)
    comparison.candidates_count = count - 2
    comparison.save()


@pytest.mark.django_db
@pytest.mark.parametrize("a_first", [True, False])
@pytest.mark.parametrize("preset", READ)
def test_an_answer_is_stored_in_the_own_order_and_shown_again_as_it_was_given(preset, a_first):
    definition = READ[preset]
    project = make_project(preset)
    comparison = make_comparison(project, a="Water falls.", b="Drops fall down.", votes_wanted=1, places_open=1)
    count = 4 if definition.ranks else 2
    further(comparison, count)
    lease = assign.next_assignment(project, make_person(project, make_user()))
    order = [2, 1, 3, 0] if definition.ranks else None
    Assignment.objects.filter(pk=lease.pk).update(a_first=a_first, shown_order=order)
    lease = Assignment.objects.get(pk=lease.pk)
    texts = [comparison.response_a.text, comparison.response_b.text]
    texts += [candidate.response.text for candidate in comparison.candidates.order_by("place")]
    places = order or ([0, 1] if a_first else [1, 0])
    shown = {side: texts[place] for side, place in zip(SIDES, places, strict=False)}

    given = an_answer(definition, shown)
    judge.submit_judgment(lease, given, client_id=uuid4())
    stored = Judgment.objects.get()
    if not definition.ranks:
        assert stored.level == given["level"] * (1 if a_first else -1)
    for span in stored.spans:
        assert span["text"] == texts[SIDES.index(span["side"])][span["start"] : span["end"]]
    if stored.edit:
        assert stored.edit["text"].startswith(texts[SIDES.index(stored.edit["side"])])
    if definition.ranking == "full":
        assert [rank for _text, rank in sorted(zip(texts, stored.ranking["ranks"], strict=True))] == [
            rank for _text, rank in sorted(zip(shown.values(), given["ranking"]["ranks"], strict=True))
        ]
    again = judge.shown_answer(stored)
    assert check(definition, again, shown) == check(definition, given, shown)
    assert again["outcome"] == "level"
    reopened = judge.undo(lease)
    assert check(definition, reopened.draft, shown) == check(definition, given, shown)


@pytest.mark.django_db
def test_best_and_worst_that_do_not_tell_a_from_b_are_stored_without_a_level():
    project = make_project("best-worst")
    comparison = make_comparison(project, votes_wanted=1, places_open=1)
    further(comparison, 4)
    lease = assign.next_assignment(project, make_person(project, make_user()))
    Assignment.objects.filter(pk=lease.pk).update(shown_order=[3, 2, 1, 0])
    given = {"ranking": {"best": 0, "worst": 1}}
    judge.submit_judgment(Assignment.objects.get(pk=lease.pk), given, client_id=uuid4())
    stored = Judgment.objects.get()
    assert (stored.outcome, stored.level, stored.preference) == ("ranked", None, None)
    assert stored.ranking == {"best": 3, "worst": 2}
    assert judge.shown_answer(stored)["ranking"] == {"best": 0, "worst": 1}
