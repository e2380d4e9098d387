"""Asking a labeler whose calls are worth money: each call is reserved, written, made, recorded, in this order.

A row is written before its call, so a crash leaves it in flight and visible; the next run counts it as paid and asks
again. An answer that was stored is never asked for again, not even when only some steps of a comparison were answered.
Network calls happen in threads, all of the database's work in the thread of the run.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import QuerySet
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator.models import Comparison, Job, Labeler, LabelerCall, LabelerVersion, Prompt, Reservation
from annotator.pipeline import ledger
from annotator.pipeline.work import StepRefused
from labelers.base import Answer, Asking, Calling, LabelerError, Usage, Verdict

Status = LabelerCall.Status
# By comparison and step; None for a step that earlier answers made needless.
Answers = dict[tuple[int, str], Answer | None]
# So many calls in a row that cannot pass: the endpoint, key or model is wrong, not the comparison.
HOPELESS = 5
# Seconds between two looks at the clock while nothing happens.
PATIENCE = 2.0


@dataclass
class Wanted:
    """One step of one comparison, or prompt, that has to be asked."""

    comparison: Comparison | Prompt
    step: str
    failures: int = 0
    not_before: float = 0.0


@dataclass
class Asked:
    """What became of a batch: verdicts by comparison id, failures in words, and why it stopped early, if it did."""

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    stopped: StepRefused | None = None


class Asker:
    """Asks `labeler` about batches of comparisons, `labeler.concurrency` calls at once, with `reservation`'s money.

    A generator, which gives no verdicts, is asked about prompts in the same way.
    `reservation` is None for a labeler that costs nothing. `beat` is called every second or two and may raise to
    stop: calls in flight are then still waited for and recorded, because they are paid.
    """

    def __init__(
        self,
        labeler: Asking | Calling,
        version: LabelerVersion,
        reservation: Reservation | None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.labeler = labeler
        # The column of a call that says what it was about.
        self.about = "comparison" if isinstance(labeler, Asking) else "prompt"
        self.version = version
        self.reservation = reservation
        self.beat = beat
        self.in_vain = 0

    def ask(self, comparisons: Sequence[Comparison | Prompt]) -> Asked:
        """Ask what is not answered yet; gives the verdicts of all that are now."""
        answers: Answers = dict(self._stored(comparisons))
        waiting = deque(
            Wanted(comparison, step)
            for comparison in comparisons
            for step in self.labeler.steps(comparison)
            if (comparison.pk, step) not in answers
        )
        asked = Asked()
        running: dict[Future[Answer], tuple[Wanted, LabelerCall]] = {}
        with ThreadPoolExecutor(max(self.labeler.concurrency, 1)) as threads:
            try:
                while waiting or running:
                    self._start(waiting, running, threads, answers, asked)
                    self._collect(waiting, running, answers, asked)
                    self.beat()
            finally:
                while running:
                    self._collect(deque(), running, answers, asked)
        if not isinstance(self.labeler, Asking):
            return asked
        for comparison in comparisons:
            steps = self.labeler.steps(comparison)
            if all((comparison.pk, step) in answers for step in steps):
                asked.verdicts[comparison.pk] = self.labeler.verdict(_given(comparison, steps, answers))
        return asked

    def _stored(self, comparisons: Sequence[Comparison | Prompt]) -> dict[tuple[int, str], Answer]:
        own = LabelerCall.objects.filter(labeler_version=self.version, status__in=(Status.OK, Status.UNPARSED))
        calls = own.filter(**{f"{self.about}__in": comparisons})
        return {
            (getattr(call, f"{self.about}_id"), call.step): Answer(
                **call.answer,
                usage=Usage(call.input_tokens, call.output_tokens),
                cost=call.cost,
                latency_ms=call.latency_ms,
            )
            for call in calls.order_by("id")
        }

    def _start(
        self,
        waiting: deque[Wanted],
        running: dict[Future[Answer], tuple[Wanted, LabelerCall]],
        threads: ThreadPoolExecutor,
        answers: Answers,
        asked: Asked,
    ) -> None:
        """Fill the free places with calls that are due and whose highest price is held."""
        if asked.stopped:
            waiting.clear()
            return
        clock = time.monotonic()
        due = [wanted for wanted in self._ready(waiting, answers) if wanted.not_before <= clock]
        due = due[: self.labeler.concurrency - len(running)]
        if not due:
            return
        held = self._hold([self._call(wanted) for wanted in due])
        for wanted, call in zip(due, held, strict=False):
            waiting.remove(wanted)
            earlier = self._earlier(wanted, answers)
            running[threads.submit(self.labeler.ask, wanted.comparison, wanted.step, earlier)] = (wanted, call)
        if not held and not running:
            asked.stopped = self._out_of_money(due[0])

    def _ready(self, waiting: deque[Wanted], answers: Answers) -> list[Wanted]:
        """Those whose needs are answered; the ones among them with nothing left to ask are settled on the way."""
        ready = []
        for wanted in list(waiting):
            comparison, step = wanted.comparison, wanted.step
            if not all((comparison.pk, need) in answers for need in self.labeler.needs(comparison, step)):
                continue
            if self.labeler.is_needed(comparison, step, self._earlier(wanted, answers)):
                ready.append(wanted)
            else:
                waiting.remove(wanted)
                answers[comparison.pk, step] = None
        return ready

    def _earlier(self, wanted: Wanted, answers: Answers) -> dict[str, Answer]:
        return _given(wanted.comparison, self.labeler.needs(wanted.comparison, wanted.step), answers)

    def _call(self, wanted: Wanted) -> LabelerCall:
        return LabelerCall(
            labeler_version=self.version,
            step=wanted.step,
            **{self.about: wanted.comparison},
            cost=self.labeler.highest_price(wanted.comparison, wanted.step) if self.reservation else Decimal(0),
        )

    def _hold(self, calls: list[LabelerCall]) -> list[LabelerCall]:
        if self.reservation is None:
            return LabelerCall.objects.bulk_create(calls)
        return ledger.hold(self.reservation, calls) or (
            ledger.hold(self.reservation, calls) if ledger.top_up(self.reservation, calls[0].cost) else []
        )

    def _out_of_money(self, wanted: Wanted) -> StepRefused:
        price = self.labeler.highest_price(wanted.comparison, wanted.step)
        words = _(
            "The money set aside for %(name)s is used up: the next call can cost up to %(price)s %(currency)s. "
            "Raise the budget, or make a new plan for what is left."
        )
        project = self.version.labeler.project
        return StepRefused(
            words % {"name": self.version.labeler.name, "price": f"{price:.6f}", "currency": project.currency}
        )

    def _collect(
        self,
        waiting: deque[Wanted],
        running: dict[Future[Answer], tuple[Wanted, LabelerCall]],
        answers: Answers,
        asked: Asked,
    ) -> None:
        """Wait for some calls and record them; without any, sleep until one is due or it is time to beat."""
        if not running:
            ready = self._ready(waiting, answers)
            soonest = min((wanted.not_before for wanted in ready), default=0.0) - time.monotonic()
            time.sleep(min(max(soonest, 0.0), PATIENCE))
            return
        for future in wait(running, PATIENCE, FIRST_COMPLETED).done:
            wanted, call = running.pop(future)
            try:
                answer = future.result()
            except LabelerError as error:
                self._record_failure(call, error)
                self._again_or_not(wanted, error, waiting, asked)
            except Exception as error:  # a fault of ours must not lose what the other calls cost
                self._record_failure(call, LabelerError(repr(error), permanent=True, may_have_cost=True))
                asked.stopped = StepRefused(f"{type(error).__name__}: {error}")
            else:
                self.in_vain = 0
                answers[wanted.comparison.pk, wanted.step] = answer
                asked.stopped = self._record_answer(call, answer) or asked.stopped

    def _again_or_not(self, wanted: Wanted, error: LabelerError, waiting: deque[Wanted], asked: Asked) -> None:
        wanted.failures += 1
        delay = self.labeler.delay(error, wanted.failures)
        if delay is not None:
            wanted.not_before = time.monotonic() + delay
            waiting.append(wanted)
            return
        asked.failures.append(str(error))
        self._drop_dependents(wanted, waiting)
        self.in_vain += 1
        if self.in_vain >= HOPELESS:
            words = _(
                "%(number)s calls in a row failed for good, the last with: %(error)s. Run it again once that is mended."
            )
            asked.stopped = StepRefused(words % {"number": self.in_vain, "error": error})

    def _drop_dependents(self, failed: Wanted, waiting: deque[Wanted]) -> None:
        """What needs an answer that will not come is not asked."""
        lost = {failed.step}
        for wanted in [each for each in waiting if each.comparison is failed.comparison]:
            if lost.intersection(self.labeler.needs(wanted.comparison, wanted.step)):
                lost.add(wanted.step)
                waiting.remove(wanted)

    def _record_answer(self, call: LabelerCall, answer: Answer) -> StepRefused | None:
        call.status = Status.OK if answer.is_understood else Status.UNPARSED
        call.input_tokens, call.output_tokens = answer.usage.input_tokens, answer.usage.output_tokens
        call.latency_ms = answer.latency_ms
        call.answer = answer.stored()
        return self._record(call, answer.cost)

    def _record_failure(self, call: LabelerCall, error: LabelerError) -> None:
        call.status = Status.FAILED
        call.error = str(error) + (" (counted as paid)" if error.may_have_cost and call.cost else "")
        self._record(call, call.cost if error.may_have_cost else Decimal(0))

    def _record(self, call: LabelerCall, cost: Decimal) -> StepRefused | None:
        """Store the call and what it cost. Gives the reason to stop when it cost more than there was."""
        call.ended_at = now()
        if self.reservation is None:
            call.save()
            return None
        held = call.cost
        try:
            ledger.commit(self.reservation, cost, call=call)
        except ledger.OverBudget as refusal:
            call.error = f"cost {cost}, more than could be foreseen; {held} is counted"
            ledger.commit(self.reservation, held, call=call, note=call.error)
            return refusal
        except ledger.ReservationClosed:
            # Another run took this call for lost and has counted it as paid.
            pass
        return None


def _given(comparison: Comparison | Prompt, steps: Sequence[str], answers: Answers) -> dict[str, Answer]:
    """The answers of those of `steps` that were asked."""
    found = {step: answers.get((comparison.pk, step)) for step in steps}
    return {step: answer for step, answer in found.items() if answer is not None}


def count_lost(labeler: Labeler) -> int:
    """Calls of any version that earlier runs left in flight when they died: counted as paid, at their most.

    Of a labeler one job runs at a time, so a call that is in flight when a run begins has nobody who waits for it.
    """
    return count_as_paid(LabelerCall.objects.filter(labeler_version__labeler=labeler))


def count_as_paid(calls: QuerySet[LabelerCall]) -> int:
    """Take those of `calls` that are in flight for lost; gives how many."""
    lost = list(calls.filter(status=Status.IN_FLIGHT).select_related("reservation"))
    for call in lost:
        call.status, call.ended_at = Status.LOST, now()
        call.error = "the worker died while it waited for the answer"
        if call.reservation is None:
            call.save()
        else:
            # Closed: whoever waited for it lives after all and has recorded it meanwhile.
            with contextlib.suppress(ledger.ReservationClosed):
                ledger.commit(call.reservation, call.cost, call=call)
    return len(lost)


def return_money() -> int:
    """Close what a run had set aside when its worker died and nobody took it up again; gives how many.

    Calls that were in flight count as paid, as everywhere.
    """
    open_ones = Reservation.objects.filter(is_open=True, plan=None, key__startswith="job:").select_related("account")
    by_job = {int(reservation.key.removeprefix("job:")): reservation for reservation in open_ones}
    alive = set(Job.objects.unfinished().filter(pk__in=by_job).values_list("pk", flat=True)) if by_job else set()
    over = [reservation for pk, reservation in by_job.items() if pk not in alive]
    for reservation in over:
        count_as_paid(LabelerCall.objects.filter(reservation=reservation))
        ledger.close(reservation)
    return len(over)
