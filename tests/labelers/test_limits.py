"""How fast an endpoint is asked: what is promised holds for every order of begin, answer, refusal and time."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from labelers.limits import LONGEST_WAIT, MINUTE, Limits, Rate, Window
from tests.examples import examples


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def busy(window, answers):
    for _ in range(answers):
        window.answered(was_full=True)


def test_a_refusal_halves_and_answers_add_one_a_round():
    clock = Clock()
    window = Window(16, clock)
    window.refused(begun_at=clock.now)
    assert window.size == 8
    busy(window, 8)
    assert window.size == 8, "a round of answers makes not quite one more: the window grew meanwhile"
    busy(window, 1)
    assert window.size == 9
    busy(window, 1000)
    assert window.size == 16


def test_calls_that_were_under_way_at_a_refusal_count_as_one():
    clock = Clock()
    window = Window(64, clock)
    begun = clock.now
    clock.now += 1
    for _ in range(10):
        window.refused(begun_at=begun)
    assert window.size == 32
    clock.now += 1
    window.refused(begun_at=clock.now)
    assert window.size == 16


def test_answers_do_not_widen_what_was_not_used():
    window = Window(8, Clock())
    window.refused(begun_at=1e9)
    for _ in range(100):
        window.answered(was_full=False)
    assert window.size == 4


def test_a_retry_after_holds_every_call_back_and_not_for_ever():
    clock = Clock()
    limits = Limits(4, clock=clock)
    limits.refused(limits.begin(), retry_after=7)
    assert limits.wait() == pytest.approx(7)
    limits.refused(limits.begin(), retry_after=3)
    assert limits.wait() == pytest.approx(7), "a shorter wish does not take back a longer one"
    clock.now += 7
    assert limits.wait() == 0
    limits.refused(limits.begin(), retry_after=1e6)
    assert limits.wait() == pytest.approx(LONGEST_WAIT)


def test_tokens_are_held_at_their_most_and_given_back_when_known():
    limits = Limits(4, tokens_per_minute=1000, clock=Clock())
    call = limits.begin(900)
    assert limits.wait(200) == pytest.approx(MINUTE)
    limits.answered(call, 100)
    assert limits.wait(200) == limits.wait(900) == 0
    assert limits.wait(901) == pytest.approx(MINUTE)


def test_what_alone_passes_the_limit_is_asked_when_the_minute_is_empty():
    clock = Clock()
    rate = Rate(10, clock)
    rate.take(3)
    assert rate.wait(50) == pytest.approx(MINUTE)
    clock.now += MINUTE
    assert rate.wait(50) == 0


@given(
    limit=some.integers(1, 30),
    steps=some.lists(some.tuples(some.floats(0, 45), some.integers(1, 30)), min_size=1, max_size=80),
)
@settings(max_examples=examples(150), deadline=None)
def test_no_minute_holds_more_than_the_limit_and_a_wait_is_no_longer_than_needed(limit, steps):
    clock = Clock()
    rate = Rate(limit, clock)
    taken: deque[tuple[float, int]] = deque()
    for later, amount in steps:
        clock.now += later
        amount = min(amount, limit)
        waited = rate.wait(amount)
        if waited:
            just_before = clock.now + waited - 1e-3
            assert sum(n for at, n in taken if at > just_before - MINUTE) + amount > limit
        clock.now += waited
        # The end of the wait is computed from sums of floats; a worker sleeps at least as long.
        clock.now += 1e-9
        assert rate.wait(amount) < 1e-6
        rate.take(amount)
        taken.append((clock.now, amount))
        assert sum(n for at, n in taken if at > clock.now - MINUTE) <= limit


@given(
    most=some.integers(1, 32),
    events=some.lists(
        some.tuples(some.sampled_from(["begin", "answer", "refuse", "fail"]), some.floats(0, 2)), max_size=200
    ),
)
@settings(max_examples=examples(150), deadline=None)
def test_whatever_happens_the_calls_at_once_stay_between_one_and_the_most(most, events):
    clock = Clock()
    limits = Limits(most, clock=clock)
    running: deque = deque()
    for event, later in events:
        clock.now += later
        if event == "begin":
            if limits.places and not limits.wait():
                running.append(limits.begin())
        elif running:
            call = running.popleft()
            {"answer": lambda c: limits.answered(c, 1), "refuse": limits.refused, "fail": limits.failed}[event](call)
        assert len(running) == limits.running <= most
        assert 1 <= limits.window.size <= most
    if not running:
        assert limits.places >= 1, "a run never waits for ever"
