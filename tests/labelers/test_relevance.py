"""The null of relevance, length and repetition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelers
from labelers.base import Outcome
from labelers.relevance import Relevance, distinct, words
from tests.labelers.test_labelers import Prompt, mirrored, pair

ABOUT = Prompt(turns=[{"role": "user", "content": "Why do bees dance in the hive?"}])
BEES = "Bees dance in the hive because the dance tells other bees where flowers are."
IRON = "Iron rusts because water and air turn it into oxide over some weeks outside."


def outcome(a, b, labeler=None):
    return (labeler or Relevance()).judge([pair(a, b, prompt=ABOUT)])[0].outcome


def test_what_is_about_the_prompt_wins_of_two_that_are_equally_long():
    assert len(words(BEES)) == len(words(IRON))
    assert outcome(BEES, IRON) == Outcome.A
    assert outcome(IRON, BEES) == Outcome.B


def test_the_longer_wins_of_two_that_are_equally_close():
    assert outcome(BEES, BEES + " They also hum, and a humming hive is a sign that the dance goes on.") == Outcome.B


def test_saying_the_same_again_gains_nothing():
    twice = " ".join([BEES] * 2)
    once, again = (Relevance().judge([pair("x", text, prompt=ABOUT)])[0].scores[1] for text in (BEES, twice))
    assert 0 < again < 1.1 * once
    assert distinct(words(" ".join([BEES] * 20))) < 0.1


def test_rarity_comes_from_the_project():
    pairs = [pair(f"the hive the hive number {number}", "the hive of the day", prompt=ABOUT) for number in range(30)]
    fitted = Relevance.fitted([*pairs, pair("bees", "dance", prompt=ABOUT)])
    assert fitted._rarity("hive") < fitted._rarity("dance") <= fitted._rarity("never")
    assert outcome("the hive of the day", "the bees of the day", fitted) == Outcome.B


def test_a_closeness_of_ones_own_can_be_given():
    labeler = Relevance(closeness=lambda asked, text: float("because" in text))
    assert outcome("I know it not.", "because it is", labeler) == Outcome.B


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=15, deadline=None)
def test_it_mirrors_and_equal_texts_tie(a, b):
    one = pair(a, b, prompt=ABOUT)
    straight, turned = Relevance().judge([one, mirrored(one)])
    assert straight.p_b == pytest.approx(1 - turned.p_b)
    assert Relevance().judge([pair(a, a, prompt=ABOUT)])[0].outcome == Outcome.TIE


def test_its_parts_are_shown_and_no_words_score_nothing():
    (found,) = Relevance().judge([pair("", BEES, prompt=ABOUT)])
    assert found.scores[0] == 0
    assert set(found.attributes) == {"relevance", "length", "unique"}
    assert found.attributes["length"] == {"a": 0.0, "b": len(words(BEES)) / 100}


def test_scripts_without_spaces_count_by_character():
    assert words("蜜蜂 dance") == ["蜜", "蜂", "dance"]


def test_it_is_a_kind_that_reads_nothing():
    assert labelers.load("null_relevance") is Relevance
