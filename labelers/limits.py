"""How fast an endpoint may be asked: calls at once, found by asking; calls and tokens a minute, as given.

Calls at once follow additive increase, multiplicative decrease (Chiu and Jain 1989, doi 10.1016/0169-7552(89)90019-6),
as TCP does: one more for every round of answers, half after a refusal, once for all calls that were under way when it
was noticed. A Retry-After holds back every call, because it speaks of the endpoint and not of the one that was told.

The minute slides: in no 60 seconds are more calls begun than allowed, nor more tokens held for them. A call holds
the tokens it is expected to use when it begins, and what it did use once that is known.

One `Limits` is for one run against one endpoint, and not safe to share between threads: its caller keeps the books in
one thread. Several runs that ask the same endpoint each have their own; what they get wrong together the endpoint
answers with 429, and each then goes back by half.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
MINUTE = 60.0
# A server may ask for patience, but not for ever.
LONGEST_WAIT = 120.0


class Window:
    """Calls at once: never more than `most`, never fewer than one."""

    def __init__(self, most: int, clock: Clock = time.monotonic) -> None:
        self.most = max(most, 1)
        self._clock = clock
        self._size = float(self.most)
        self._halved_at = float("-inf")

    @property
    def size(self) -> int:
        return int(self._size)

    def answered(self, *, was_full: bool) -> None:
        """A call came back. `was_full`: all places were taken, so that one more would have been used."""
        if was_full:
            self._size = min(self._size + 1 / self._size, float(self.most))

    def refused(self, begun_at: float) -> None:
        """A call that began then was told that the endpoint has too much to do."""
        if begun_at > self._halved_at:
            self._size = max(self._size / 2, 1.0)
            self._halved_at = self._clock()


@dataclass(eq=False)
class Held:
    """An amount that counts for a minute from `at` on."""

    at: float
    amount: int
    counts: bool = True


class Rate:
    """An amount a minute; None: as much as one likes. What alone passes the limit gets a minute to itself."""

    def __init__(self, limit: int | None, clock: Clock = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._held: deque[Held] = deque()
        self._sum = 0

    def wait(self, amount: int) -> float:
        """Seconds until `amount` fits if nothing else is taken; 0 when it fits now."""
        if self.limit is None:
            return 0.0
        self._forget()
        excess, free_at = self._sum + amount - self.limit, self._clock()
        for held in self._held:
            if excess <= 0:
                break
            excess -= held.amount
            free_at = held.at + MINUTE
        return free_at - self._clock()

    def take(self, amount: int) -> Held:
        """Count `amount` from now on; gives what `correct` needs."""
        held = Held(self._clock(), amount, counts=self.limit is not None)
        if held.counts:
            self._held.append(held)
            self._sum += amount
        return held

    def correct(self, held: Held, amount: int) -> None:
        """What was held turned out to be `amount`."""
        if held.counts:
            self._sum += amount - held.amount
            held.amount = amount

    def _forget(self) -> None:
        while self._held and self._held[0].at <= self._clock() - MINUTE:
            old = self._held.popleft()
            old.counts = False
            self._sum -= old.amount


@dataclass(eq=False)
class Begun:
    """A call that is under way: what its end is reported with."""

    at: float
    place: Held
    tokens: Held
    was_full: bool


class Limits:
    """When the next call to an endpoint may begin."""

    def __init__(
        self,
        most: int,
        calls_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.window = Window(most, clock)
        self.running = 0
        self._calls = Rate(calls_per_minute, clock)
        self._tokens = Rate(tokens_per_minute, clock)
        self._clock = clock
        self._held_back_until = float("-inf")

    @property
    def places(self) -> int:
        """Calls that may still begin beside those that run."""
        return max(self.window.size - self.running, 0)

    def wait(self, tokens: int = 0) -> float:
        """Seconds until a call of so many `tokens` may begin once there is a place; 0 for now."""
        held_back = self._held_back_until - self._clock()
        return max(held_back, self._calls.wait(1), self._tokens.wait(tokens), 0.0)

    def begin(self, tokens: int = 0) -> Begun:
        self.running += 1
        was_full = self.running >= self.window.size
        return Begun(self._clock(), self._calls.take(1), self._tokens.take(tokens), was_full)

    def withdrawn(self, call: Begun) -> None:
        """It was not made after all."""
        self.running -= 1
        self._calls.correct(call.place, 0)
        self._tokens.correct(call.tokens, 0)

    def answered(self, call: Begun, tokens: int) -> None:
        """It came back and used so many tokens."""
        self.running -= 1
        self._tokens.correct(call.tokens, tokens)
        self.window.answered(was_full=call.was_full)

    def failed(self, call: Begun) -> None:
        """It failed in a way that says nothing of how busy the endpoint is; it may have used all its tokens."""
        self.running -= 1

    def refused(self, call: Begun, retry_after: float | None = None) -> None:
        """The endpoint had too much to do, and asked for `retry_after` seconds of rest if it said how many."""
        self.running -= 1
        self._tokens.correct(call.tokens, 0)
        self.window.refused(call.at)
        if retry_after is not None:
            until = self._clock() + min(retry_after, LONGEST_WAIT)
            self._held_back_until = max(self._held_back_until, until)
