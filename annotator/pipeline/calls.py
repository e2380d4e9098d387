"""Asking a labeler whose calls are worth money: each call is reserved, written, made, recorded, in this order.

A row is written before its call, so a crash leaves it in flight and visible; the next run counts it as paid and asks
again. An answer that was stored is never asked for again, not even when some of a comparison's other steps failed.
Network calls happen in threads, all of the database's work in the thread of the run.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from annotator.models import Comparison, LabelerCall, LabelerVersion, Prompt, Reservation
from annotator.pipeline import disclosures, ledger
from annotator.pipeline.call_books import Books, Failures, Status, fault, kept
from annotator.pipeline.work import StepRefused
from labelers.base import Answer, Asking, Calling, Failure, LabelerError, Usage
from labelers.limits import Begun, Limits

logger = logging.getLogger(__name__)

# What is asked about: a comparison is judged, a prompt is answered.
Subject = Comparison | Prompt
# By step; None for a step that earlier answers made needless.
Answers = dict[str, Answer | None]
# What is done with subjects all of whose steps are answered, some at a time.
Take = Callable[[Sequence[tuple[Any, dict[str, Answer]]]], None]
# So many calls in a row that cannot pass: the endpoint, key or model is wrong, not the comparison.
HOPELESS = 5
# So many answers to one call that are none, each of which may have cost the most: it is not asked again.
GARBLED = 2
# A refusal for lack of room says nothing against the call: four count as one failure.
BUSY_SHARE = 0.25
# Seconds between two looks at the clock while nothing happens.
PATIENCE = 2.0
# Subjects read and looked up at once; more are read when fewer than that are open.
CHUNK = 100
# Subjects that are handed over together.
HANDFUL = 25
# Bytes of text that are taken for a token until the endpoint has told what it counts.
BYTES_A_TOKEN = 4


@dataclass(eq=False)
class Open:
    """A subject that is being asked about."""

    subject: Subject
    answers: Answers
    asked: set[str] = field(default_factory=set)
    failed: bool = False

    def given(self, steps: Iterable[str]) -> dict[str, Answer]:
        """The answers of those of `steps` that were needed."""
        found = {step: self.answers.get(step) for step in steps}
        return {step: answer for step, answer in found.items() if answer is not None}


@dataclass(eq=False)
class Wanted:
    """One step of one subject that has to be asked."""

    about: Open
    step: str
    failures: float = 0
    garbled: int = 0


@dataclass(eq=False)
class Running:
    wanted: Wanted
    call: LabelerCall
    begun: Begun


class Asker:
    """Asks `labeler` about subjects, as many calls at once as its endpoint bears, with `reservation`'s money.

    `reservation` is None for a labeler that costs nothing. `beat` is called every second or two and may raise to
    stop: calls in flight are then still waited for and recorded, because they are paid; so it is when a lead takes back
    the word for what leaves. However many subjects there
    are, a few hundred are held at a time.
    """

    def __init__(
        self,
        labeler: Calling,
        version: LabelerVersion,
        reservation: Reservation | None,
        beat: Callable[[], None] = lambda: None,
        failures: Failures | None = None,
    ) -> None:
        self.labeler = labeler
        # The column of a call that says what it was about.
        self.about = "comparison" if isinstance(labeler, Asking) else "prompt"
        self.version = version
        self.reservation = reservation
        self.beat = beat
        self.failures = failures if failures is not None else Failures()
        self.books = Books(reservation, self.failures)
        given = version.parameters
        self.limits = Limits(labeler.concurrency, given.get("calls_per_minute"), given.get("tokens_per_minute"))
        self.word = disclosures.Word(version)
        self.stopped: StepRefused | None = None
        self._in_vain = 0
        self._is_open = 0
        self._ready: deque[Wanted] = deque()
        # (when it is due, a number that settles ties, what)
        self._later: list[tuple[float, int, Wanted]] = []
        self._number = itertools.count()
        self._running: dict[Future[Answer], Running] = {}
        self._finished: list[tuple[Subject, dict[str, Answer]]] = []
        self._handed_over = time.monotonic()
        # Mean tokens of a call, once one is known.
        self._tokens: float | None = None

    def ask(self, subjects: Iterable[Subject], take: Take = lambda finished: None) -> None:
        """Ask what is not answered yet, and give `take` each subject with its answers once it has all it needs.

        Raises StepRefused when nothing may leave (any more), the money is used up or the endpoint is of no use.
        """
        self.word.refuse_unless_it_stands(now=True)
        more = iter(subjects)
        with ThreadPoolExecutor(max(self.labeler.concurrency, 1)) as threads:
            try:
                while not self.stopped and (self._read(more) or self._running):
                    self._start(threads)
                    self._collect()
                    self._hand_over(take)
                    self.beat()
            finally:
                while self._running:
                    self._collect()
                self._hand_over(take, all_of_it=True)
        if self.stopped:
            raise self.stopped

    # What there is to ask

    def _read(self, more: Iterator[Subject]) -> bool:
        """Open more subjects when few are; whether there is anything left to ask."""
        while self._is_open < CHUNK and (chunk := list(itertools.islice(more, CHUNK))):
            stored, out = self._stored(chunk), self._out(chunk)
            for subject in chunk:
                if subject.pk not in out:
                    self._is_open += 1
                    self._advance(Open(subject, stored.get(subject.pk, {})))
        return bool(self._ready or self._later)

    def _out(self, subjects: Sequence[Subject]) -> set[int]:
        """Those that are asked about in a file of a batch interface, whose answers will come back with it."""
        away = LabelerCall.objects.filter(
            labeler_version=self.version, status=Status.IN_FLIGHT, batch_file__isnull=False
        )
        return set(away.filter(**{f"{self.about}__in": subjects}).values_list(f"{self.about}_id", flat=True))

    def _stored(self, subjects: Sequence[Subject]) -> dict[int, Answers]:
        own = LabelerCall.objects.filter(labeler_version=self.version, status__in=(Status.OK, Status.UNPARSED))
        found: dict[int, Answers] = {}
        for call in own.filter(**{f"{self.about}__in": subjects}).order_by("id"):
            found.setdefault(getattr(call, f"{self.about}_id"), {})[call.step] = Answer(
                **call.answer,
                usage=Usage(call.input_tokens, call.output_tokens),
                cost=call.cost,
                latency_ms=call.latency_ms,
            )
        return found

    def _advance(self, about: Open) -> None:
        """Queue what can be asked now. A subject that the labeler's own code cannot bear fails alone."""
        try:
            self._queue(about)
        except Exception as error:
            logger.error("Labeler %s failed by a fault on %s", self.version, about.subject, exc_info=error)
            self.failures.add(Failure.FAULT, str(fault(error)))
            self.failures.give_up(str(fault(error)))
            self._drop(about)

    def _queue(self, about: Open) -> None:
        """The steps that can be asked; a step follows those it needs, so one pass finds them all."""
        labeler, subject = self.labeler, about.subject
        steps = labeler.steps(subject)
        for step in steps:
            needs = labeler.needs(subject, step)
            if step in about.answers or step in about.asked or not all(need in about.answers for need in needs):
                continue
            if labeler.is_needed(subject, step, about.given(needs)):
                about.asked.add(step)
                self._ready.append(Wanted(about, step))
            else:
                about.answers[step] = None
        if not about.failed and all(step in about.answers for step in steps):
            self._is_open -= 1
            self._finished.append((subject, about.given(steps)))

    def _hand_over(self, take: Take, *, all_of_it: bool = False) -> None:
        """A handful at a time, or what there is every second: their answers are stored, so nothing hangs on it."""
        clock = time.monotonic()
        if self._finished and (all_of_it or len(self._finished) >= HANDFUL or clock - self._handed_over > 1):
            finished, self._finished = self._finished, []
            take(finished)
            self._handed_over = clock

    # Calls

    def _start(self, threads: ThreadPoolExecutor) -> None:
        """Fill the free places with calls that are due and whose highest price is held, while a lead's word stands."""
        try:
            self.word.refuse_unless_it_stands()
        except StepRefused as refusal:
            self.stopped = refusal
            return
        begun = self._begin()
        if not begun:
            return
        held = self._hold([self._call(wanted) for wanted, _begun in begun])
        for (wanted, mark), call in zip(begun, held, strict=False):
            about = wanted.about
            earlier = about.given(self.labeler.needs(about.subject, wanted.step))
            future = threads.submit(self.labeler.ask, about.subject, wanted.step, earlier)
            self._running[future] = Running(wanted, call, mark)
        for wanted, mark in reversed(begun[len(held) :]):
            self.limits.withdrawn(mark)
            self._ready.appendleft(wanted)
        if not held and not self._running:
            self.stopped = self._out_of_money(begun[0][0])

    def _begin(self) -> list[tuple[Wanted, Begun]]:
        """What the endpoint's limits let begin now."""
        clock = time.monotonic()
        while self._later and self._later[0][0] <= clock:
            self._ready.append(heapq.heappop(self._later)[2])
        begun = []
        while self._ready and self.limits.places:
            wanted = self._ready.popleft()
            if wanted.about.failed:
                continue
            tokens = self._expected(wanted)
            if self.limits.wait(tokens):
                self._ready.appendleft(wanted)
                break
            begun.append((wanted, self.limits.begin(tokens)))
        return begun

    def _expected(self, wanted: Wanted) -> int:
        """Tokens that the call will use: what calls have used on average, at first a guess from the texts."""
        if self._tokens is not None:
            return int(self._tokens)
        subject = wanted.about.subject
        prompt = subject if isinstance(subject, Prompt) else subject.prompt
        texts = [json.dumps(prompt.turns, ensure_ascii=False)]
        if isinstance(subject, Comparison):
            texts += [subject.response_a.text, subject.response_b.text]
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // BYTES_A_TOKEN

    def _call(self, wanted: Wanted) -> LabelerCall:
        subject, step = wanted.about.subject, wanted.step
        return LabelerCall(
            labeler_version=self.version,
            step=step,
            cost=self.labeler.highest_price(subject, step) if self.reservation else Decimal(0),
            **{self.about: subject},
        )

    def _hold(self, calls: list[LabelerCall]) -> list[LabelerCall]:
        if self.reservation is None:
            return LabelerCall.objects.bulk_create(calls)
        return ledger.hold(self.reservation, calls) or (
            ledger.hold(self.reservation, calls) if ledger.top_up(self.reservation, calls[0].cost) else []
        )

    def _out_of_money(self, wanted: Wanted) -> StepRefused:
        price = self.labeler.highest_price(wanted.about.subject, wanted.step)
        words = _(
            "The money set aside for %(name)s is used up: the next call can cost up to %(price)s %(currency)s. "
            "Raise the budget, or make a new plan for what is left."
        )
        project = self.version.labeler.project
        return StepRefused(
            words % {"name": self.version.labeler.name, "price": f"{price:.6f}", "currency": project.currency}
        )

    # What came back

    def _collect(self) -> None:
        """Wait for some calls and record them; without any, sleep until one is due or it is time to beat."""
        patience = min(self._next_start(), PATIENCE)
        if not self._running:
            time.sleep(patience)
            return
        for future in wait(self._running, patience, FIRST_COMPLETED).done:
            running = self._running.pop(future)
            try:
                answer = kept(future.result())
            except LabelerError as error:
                self._failed(running, error)
            except Exception as error:  # a fault of ours, which one odd answer may bring out: the others go on
                logger.error("Labeler call %s failed by a fault", running.call.pk, exc_info=error)
                self._failed(running, fault(error))
            else:
                self._answered(running, answer)
        self.books.record()
        self.stopped = self.stopped or self.books.refused

    def _next_start(self) -> float:
        """Seconds until a call could begin, as far as that is known; no place is free before a call has ended."""
        if not self.limits.places:
            return PATIENCE
        if self._ready:
            return max(self.limits.wait(self._expected(self._ready[0])), 0.0)
        return max(self._later[0][0] - time.monotonic(), 0.0) if self._later else PATIENCE

    def _answered(self, running: Running, answer: Answer) -> None:
        wanted, used = running.wanted, answer.usage.input_tokens + answer.usage.output_tokens
        self._in_vain = 0
        self._tokens = used if self._tokens is None else 0.95 * self._tokens + 0.05 * used
        self.limits.answered(running.begun, used)
        self.books.answered(running.call, answer)
        if not answer.is_understood:
            kind = Failure.TRUNCATED if answer.finish_reason == "length" else Failure.UNPARSED
            self.failures.add(kind, answer.text)
        wanted.about.answers[wanted.step] = answer
        if not wanted.about.failed:
            self._advance(wanted.about)

    def _failed(self, running: Running, error: LabelerError) -> None:
        wanted = running.wanted
        self.failures.add(error.kind, str(error))
        if error.kind == Failure.BUSY:
            self.limits.refused(running.begun, error.retry_after)
        else:
            self.limits.failed(running.begun)
        self.books.failed(running.call, error)
        wanted.failures += BUSY_SHARE if error.kind == Failure.BUSY else 1
        wanted.garbled += error.kind == Failure.GARBAGE
        delay = self.labeler.delay(error, math.ceil(wanted.failures))
        if delay is None or wanted.garbled >= GARBLED or wanted.about.failed:
            self._give_up(wanted, error)
        else:
            due = time.monotonic() + delay
            heapq.heappush(self._later, (due, next(self._number), wanted))

    def _give_up(self, wanted: Wanted, error: LabelerError) -> None:
        """Without this answer there is no verdict, so what else the subject wants is not bought either.

        Responses to a prompt stand alone: the others are still wanted.
        """
        self.failures.give_up(str(error))
        if not isinstance(self.labeler, Asking):
            wanted.about.answers[wanted.step] = None
            self._advance(wanted.about)
        elif not wanted.about.failed:
            self._drop(wanted.about)
        self._in_vain += 1
        if self._in_vain >= HOPELESS:
            words = _(
                "%(number)s calls in a row failed for good, the last with: %(error)s. Run it again once that is mended."
            )
            self.stopped = StepRefused(words % {"number": self._in_vain, "error": error})

    def _drop(self, about: Open) -> None:
        """What else it wants is not asked any more."""
        about.failed = True
        self._is_open -= 1
        self._later = [entry for entry in self._later if not entry[2].about.failed]
        heapq.heapify(self._later)
