"""Writers as pure functions: votes in, rows out."""

from datetime import UTC, datetime

import pytest

from annotator import protocols
from annotator.formats.published.helpsteer2 import ATTRIBUTES, HelpSteer2, most_agreeing, rounded_mean
from annotator.formats.source import Judged, Label, Options, Prompt, Response, Vote
from annotator.formats.trainers.trl import TrlReward

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def vote(preference, number=0, outcome="level", ratings=None, p_b=None):
    attributes = {key: {"a": ratings[0], "b": ratings[1]} for key in ATTRIBUTES} if ratings else {}
    return Vote(
        f"person-{number}",
        p_b is None,
        False,
        outcome,
        preference,
        p_b,
        None,
        {},
        attributes,
        [],
        f"why {number}",
        None,
        NOON,
    )


def judged(*votes, p_b=0.75, neither=0, a="left", b="right", strength=0.5, turns=None, context=()):
    turns = turns or [{"role": "user", "content": "Why?"}]
    label = Label("people", p_b, 0.0, strength, 1.0, 0 if p_b is None else max(len(votes), 1), neither)
    return Judged("c1", Prompt("p1", turns, list(context)), Response("a", a), Response("b", b), label, tuple(votes))


class Source:
    def __init__(self, *comparisons):
        self.comparisons = comparisons

    def judged(self):
        return iter(self.comparisons)


def helpsteer2(*comparisons, **options):
    writer = HelpSteer2(protocols.read(protocols.PRESETS["helpsteer2"]), Options(**options))
    rows = {"default": [], "preference": [], "disagreements": []}
    for row in writer.rows(Source(*comparisons)):
        rows[row.config].append(row.values)
    return rows, writer.left_out


def trl(*comparisons, **options):
    writer = TrlReward(protocols.read(protocols.PRESETS["plain"]), Options(**options))
    return [row.values for row in writer.rows(Source(*comparisons))], writer.left_out


@pytest.mark.parametrize(
    ("votes", "mean", "spread"),
    [((3, 3, 4), 3, 1), ((0, 3, 4, 4, 1), 4, 1), ((0, 4, 2), 2, 4), ((3, -3, 1, 2, -1), 2, 2), ((-1, -2), -2, 1)],
)
def test_the_three_most_agreeing_votes_decide_whatever_their_order(votes, mean, spread):
    for order in (votes, votes[::-1], tuple(sorted(votes))):
        kept = most_agreeing(order)
        assert (rounded_mean(kept), max(kept) - min(kept)) == (mean, spread)


@pytest.mark.parametrize(
    ("strengths", "result"), [((1, 1, 1), 1), ((-3, -1, -2), -2), ((2,), 2), ((3, -3, 1, 2, -1), 2)]
)
def test_a_preference_has_the_strength_people_agree_on(strengths, result):
    said = judged(*(vote(strength / 3, n) for n, strength in enumerate(strengths)))
    rows, _left = helpsteer2(said, single="keep")
    assert rows["preference"][0]["preference_strength"] == result


@pytest.mark.parametrize(
    ("strengths", "reason"),
    [
        ((-1, 1, 1), "a tie (preference)"),
        ((-1, 1), "a tie (preference)"),
        ((-1, 1, 2), "people differ too much on the preference (preference)"),
    ],
)
def test_a_preference_without_agreement_is_left_out_and_counted(strengths, reason):
    rows, left = helpsteer2(judged(*(vote(strength / 3, n) for n, strength in enumerate(strengths))))
    assert rows["preference"] == []
    assert left[reason] == 1


def test_ties_can_be_kept_as_strength_zero():
    rows, _left = helpsteer2(judged(vote(-1 / 3), vote(1 / 3, 1)), ties="keep")
    assert rows["preference"][0]["preference_strength"] == 0


def test_a_neither_valid_vote_is_minus_100_in_the_raw_list_and_not_in_the_mean():
    rows, _left = helpsteer2(
        judged(vote(-2 / 3), vote(-1 / 3, 1), vote(None, 2, outcome="neither_valid"), neither=1, p_b=0.0)
    )
    (row,) = rows["preference"]
    assert row["preference_strength"] == -2
    assert [each["strength"] for each in row["all_preferences_unprocessed"]] == [-2, -1, -100]
    assert [each["strength"] for each in row["three_most_similar_preferences"]] == [-2, -1]


def test_half_who_find_neither_valid_take_the_comparison_out_unless_asked_otherwise():
    comparison = judged(vote(1), vote(None, 1, outcome="neither_valid"), neither=2)
    assert trl(comparison) == ([], {"neither response is valid": 1})
    assert len(trl(comparison, neither="keep")[0]) == 1


def test_ratings_are_rows_of_each_response_and_widely_differing_pairs_are_left_out():
    rows, left = helpsteer2(
        judged(vote(1, ratings=(4, 1)), vote(1, 1, ratings=(3, 1)), vote(1, 2, ratings=(3, 2))),
        judged(vote(1, ratings=(4, 1)), vote(1, 1, ratings=(1, 1))),
    )
    assert [(row["response"], row["helpfulness"]) for row in rows["default"]] == [("left", 3), ("right", 1)]
    assert rows["disagreements"][0]["helpfulness"] == [4, 3, 3]
    assert len(rows["disagreements"]) == 4
    assert left["people differ too much on helpfulness (ratings)"] == 1


def test_a_trainer_never_gets_equal_or_empty_answers_or_a_comparison_without_answer():
    rows, left = trl(judged(a="x", b="x"), judged(b="  \n"), judged(p_b=None), judged(p_b=0.5))
    assert rows == []
    assert left == {"equal responses": 1, "an empty response": 1, "no answer on the scale": 1, "a tie": 1}


@pytest.mark.parametrize(
    ("options", "p_b", "strength", "margin"),
    [
        ({}, 0.75, 0.5, 0.5),
        ({}, 0.25, -0.5, 0.5),
        ({}, 0.75, -0.2, 0.0),
        ({}, 0.9, None, 0.0),
        ({"margin": "soft"}, 0.25, None, 0.5),
    ],
)
def test_a_margin_is_a_number_for_every_row_and_never_negative(options, p_b, strength, margin):
    ((row,), _left) = trl(judged(p_b=p_b, strength=strength), **options)
    assert row["margin"] == margin
    assert row["meta_p_chosen"] == max(p_b, 1 - p_b)
    assert row["chosen"][-1]["content"] == ("right" if p_b > 0.5 else "left")


def test_a_margin_can_be_left_away():
    writer = TrlReward(protocols.read(protocols.PRESETS["plain"]), Options(margin="none"))
    assert "margin" not in writer.configs[0].schema.names


def test_context_documents_stand_before_the_last_question():
    ((row,), _left) = trl(judged(context=[{"title": "Clouds", "text": "Grey."}]))
    assert row["chosen"][0] == {"role": "user", "content": "Clouds\nGrey.\n\nWhy?"}
