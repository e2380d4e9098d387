"""Pairs whose right answer is known: labelers with a planted fault fail the check that is for it, sound ones pass."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelers import checks
from labelers.base import Outcome, Verdict, verdict_of
from labelers.checks import NAMES, checked, make
from labelers.nulls import Longest, Random
from tests.examples import examples
from tests.labelers.test_labelers import Pair, Prompt, Response

TOPICS = ("bees", "iron", "verbs", "tides", "chess", "bread", "moons", "laws", "goats", "wheels", "maps", "salt")


def project(count=12):
    """Pairs of different prompts; each response names its prompt's topic."""
    return [
        Pair(
            Response(f"All about {topic}: they are what they are."),
            Response(f"{topic.title()} are hard to explain, but {topic} matter a good deal to many of us."),
            prompt=Prompt(turns=[{"role": "user", "content": f"Please explain {topic} to me in a few words."}]),
        )
        for topic in TOPICS[:count]
    ]


class Named:
    """A labeler made of a function of a pair."""

    def __init__(self, p_b):
        self.p_b = p_b

    def judge(self, pairs):
        return [verdict_of(self.p_b(pair)) for pair in pairs]


def topic(pair):
    return pair.prompt.turns[0]["content"].split()[2]


def on_topic(pair):
    """Sound: what names the topic wins; else it asks for no more than a tie."""
    a, b = (topic(pair) in side.text.lower() for side in (pair.response_a, pair.response_b))
    return 0.5 + 0.4 * (b - a)


def outcome(name, labeler, **options):
    check = make(name, project(), **options)
    return check.evaluate(labeler.judge(check.pairs))


SOUND = Named(on_topic)
ALWAYS_A = Named(lambda pair: 0.1)
LONGER = Longest()


@pytest.mark.parametrize("name", ["swap", "duplicate", "padding", "contrast", "shuffle"])
def test_a_sound_labeler_passes(name):
    found = outcome(name, SOUND)
    assert (found.outcome, found.rate, found.unusable) == ("pass", 1.0, 0)
    assert found.n == (6 if name == "contrast" else 12)


@pytest.mark.parametrize(
    ("name", "labeler"),
    [
        ("swap", ALWAYS_A),
        ("duplicate", ALWAYS_A),
        ("padding", LONGER),
        ("padding", ALWAYS_A),
        ("contrast", ALWAYS_A),
        ("criterion_flip", LONGER),
    ],
)
def test_a_labeler_with_the_fault_does_not_pass(name, labeler):
    found = outcome(name, labeler)
    assert found.outcome == "fail"
    assert found.high < found.threshold


def test_a_labeler_that_reads_the_criterion_flips():
    def by_criterion(pair):
        longer = len(pair.response_b.text) > len(pair.response_a.text)
        return 0.9 if longer == ("more" in pair.criterion) else 0.1

    assert outcome("criterion_flip", Named(by_criterion)).outcome == "pass"
    flipped = make("criterion_flip", project(), criteria=("Which is more polite?", "Which is ruder?"))
    assert {pair.criterion for pair in flipped.pairs} == {"Which is more polite?", "Which is ruder?"}


def test_a_labeler_that_always_ties_shows_nothing():
    assert outcome("criterion_flip", Named(lambda pair: 0.5)).passed == 0
    assert outcome("contrast", Named(lambda pair: 0.5)).passed == 0


def test_chance_passes_contrast_one_time_in_four():
    check = make("contrast", project())
    rates = [check.evaluate(Random(seed).judge(check.pairs)).rate for seed in range(200)]
    assert np.mean(rates) == pytest.approx(0.25, abs=0.05)


def test_a_labeler_that_hangs_on_the_order_of_the_batch_is_caught():
    class Drifting:
        def judge(self, pairs):
            return [verdict_of(0.3 + 0.4 * place / len(pairs)) for place, _pair in enumerate(pairs)]

    assert outcome("shuffle", Drifting()).outcome == "fail"


def test_contrast_takes_close_prompts_and_the_response_people_preferred():
    pairs = project(4)
    first, close = (f"Please explain bees to me in a few {size}words." for size in ("", "short "))
    pairs[2] = replace(pairs[2], prompt=Prompt(turns=[{"role": "user", "content": close}]))
    check = make("contrast", pairs, people=[1.0] * 4)
    assert {pair.prompt.turns[0]["content"] for pair in check.pairs[:2]} == {first, close}
    liked = {pair.response_b.text for pair in pairs}
    assert {side.text for pair in check.pairs for side in (pair.response_a, pair.response_b)} <= liked


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_pairs_and_each_prompt_is_one_case(name):
    pairs = project() + project()

    def texts(check):
        return [(each.prompt.turns, each.response_a.text, each.response_b.text) for each in check.pairs]

    once = make(name, pairs, seed=3)
    assert texts(once) == texts(make(name, pairs, seed=3))
    assert texts(once) != texts(make(name, pairs, seed=4))
    assert len(once.cases) == (6 if name == "contrast" else 12)
    assert len(make(name, pairs, most=2).cases) == 2
    assert sorted(place for case in once.cases for place, _turned in case) == list(range(len(once.pairs)))


@pytest.mark.parametrize("name", NAMES)
def test_what_got_no_verdict_is_told_apart_from_what_failed(name):
    check = make(name, project())
    verdicts = SOUND.judge(check.pairs)
    verdicts[0] = Verdict(Outcome.UNPARSED)
    found = check.evaluate(verdicts)
    assert found.unusable == 1
    assert found.n == len(check.cases) - 1
    nothing = check.evaluate([Verdict(Outcome.ERROR)] * len(check.pairs))
    assert (nothing.n, nothing.rate, nothing.outcome) == (0, None, "unsure")


@pytest.mark.parametrize("name", NAMES)
def test_without_pairs_there_is_nothing_to_tell(name):
    assert make(name, []).evaluate([]).outcome == "unsure"


def test_verdicts_of_another_number_are_refused():
    with pytest.raises(ValueError, match="12 pairs got 1 verdicts"):
        make("duplicate", project()).evaluate([verdict_of(0.5)])
    with pytest.raises(KeyError):
        make("vibes", project())


def test_a_little_under_the_threshold_is_no_proof():
    assert checked("swap", 8, 10, 0).outcome == "unsure"
    assert checked("swap", 80, 100, 0).outcome == "fail"
    assert checked("swap", 90, 100, 0).outcome == "pass"


@given(st.sampled_from(NAMES), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=examples(60), deadline=None)
def test_a_rate_lies_in_its_interval(name, passed, more):
    found = checked(name, passed, passed + more, 0)
    assert found.n == 0 or 0 <= found.low <= found.rate <= found.high <= 1
    assert asdict(found)["name"] == name
    assert (found.outcome == "pass") == (found.n > 0 and found.rate >= checks.THRESHOLDS[name])
