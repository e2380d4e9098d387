"""The books of calls: what each gave and cost, written together, and alone where something is in the way.

A row is written before its call (`calls`); here it ends, with its cost committed in the same transaction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from django.db import DataError, IntegrityError, transaction
from django.utils.timezone import now
from django.utils.translation import ngettext

from annotator.models import LabelerCall, Reservation
from annotator.models.jobs import storable
from annotator.pipeline import ledger
from annotator.pipeline.work import StepRefused
from labelers.base import Answer, Failure, LabelerError
from labelers.chat import MOST_TOKENS

Status = LabelerCall.Status
# Characters of a failure that are kept as its example.
EXAMPLE = 300
# What the database, or the way to it, says of a value that a row cannot hold.
UNSTORABLE = (DataError, IntegrityError, OverflowError, TypeError, ValueError)


@dataclass
class Failures:
    """Calls that did not give what they were made for, by kind: how many, and the latest of each in words.

    A few numbers, however many calls fail. `given_up` counts what was not asked again.
    """

    calls: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    given_up: int = 0
    last: str = ""

    def add(self, kind: str, words: str) -> None:
        self.calls[kind] = self.calls.get(kind, 0) + 1
        self.examples[kind] = storable(words[:EXAMPLE])

    def give_up(self, words: str) -> None:
        self.given_up += 1
        self.last = storable(words[:EXAMPLE])

    def told(self, lost: int) -> list[str]:
        """What a run's closing message says of them, and of the `lost` calls of an earlier run."""
        parts = []
        if self.given_up:
            words = ngettext(
                "%(n)s call failed, with: %(why)s", "%(n)s calls failed, the last with: %(why)s", self.given_up
            )
            parts.append(words % {"n": self.given_up, "why": self.last})
        if lost:
            words = ngettext(
                "%(n)s call of an earlier run was lost and is counted as paid",
                "%(n)s calls of an earlier run were lost and are counted as paid",
                lost,
            )
            parts.append(words % {"n": lost})
        return parts


class Books:
    """Of a run's calls: `reservation` is None where they cost nothing. `refused`: a call cost more than there was."""

    def __init__(self, reservation: Reservation | None, failures: Failures) -> None:
        self.reservation = reservation
        self.failures = failures
        self.refused: StepRefused | None = None
        # Calls that ended, with what they cost, before they are recorded.
        self._ended: list[tuple[LabelerCall, Decimal]] = []

    def answered(self, call: LabelerCall, answer: Answer) -> None:
        call.status = Status.OK if answer.is_understood else Status.UNPARSED
        call.input_tokens, call.output_tokens = answer.usage.input_tokens, answer.usage.output_tokens
        call.latency_ms = answer.latency_ms
        call.answer = storable(answer.stored())
        self._ended.append((call, answer.cost))

    def failed(self, call: LabelerCall, error: LabelerError) -> None:
        call.status = Status.FAILED
        call.error = storable(str(error)) + (" (counted as paid)" if error.may_have_cost and call.cost else "")
        self._ended.append((call, call.cost if error.may_have_cost else Decimal(0)))

    def record(self) -> None:
        """Store the calls that ended and what they cost, together when nothing is in the way."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        held = [call.cost for call, _cost in ended]
        for call, _cost in ended:
            call.ended_at = now()
        try:
            self._store(ended)
        except (ledger.OverBudget, ledger.ReservationClosed, *UNSTORABLE):
            for (call, cost), most in zip(ended, held, strict=True):
                self._record_alone(call, cost, most)

    @transaction.atomic
    def _store(self, ended: Sequence[tuple[LabelerCall, Decimal]]) -> None:
        if self.reservation is not None:
            return ledger.commit_calls(self.reservation, ended)
        for call, _cost in ended:
            call.save()
        return None

    def _record_alone(self, call: LabelerCall, cost: Decimal, held: Decimal) -> None:
        """One call; it stops the run when it cost more than there was. One that no row can hold failed, and is paid."""
        try:
            self._commit_alone(call, cost, held)
        except UNSTORABLE as error:
            call.status, call.answer = Status.FAILED, {}
            call.input_tokens = call.output_tokens = call.latency_ms = 0
            call.error = f"its answer cannot be stored ({type(error).__name__})"
            self.failures.add(Failure.GARBAGE, call.error)
            self._commit_alone(call, held, held)

    def _commit_alone(self, call: LabelerCall, cost: Decimal, held: Decimal) -> None:
        reservation = self.reservation
        if reservation is None:
            return self._store([(call, cost)])
        try:
            ledger.commit(reservation, cost, call=call)
        except ledger.OverBudget as refusal:
            call.error = f"cost {cost}, more than could be foreseen; {held} is counted"
            ledger.commit(reservation, held, call=call, note=call.error)
            self.refused = refusal
        except ledger.ReservationClosed:
            # Another run took this call for lost and has counted it as paid.
            pass
        return None


def kept(answer: Answer) -> Answer:
    """`answer` as rows and verdicts can hold it, so that what is stored is what is counted. Raises LabelerError.

    Characters that the database does not know go; numbers that cannot be are no answer.
    """
    numbers = [answer.p_b, answer.p_tie, *(value for sides in answer.attributes.values() for value in sides.values())]
    tokens = answer.usage.input_tokens, answer.usage.output_tokens
    if not all(0 <= count <= MOST_TOKENS for count in tokens) or not all(map(_is_finite, numbers)):
        raise LabelerError(
            "the answer holds numbers that cannot be", permanent=False, may_have_cost=True, kind=Failure.GARBAGE
        )
    words = ("text", "finish_reason", "reasoning", "answered_by")
    return replace(answer, **{name: storable(getattr(answer, name)) for name in words})


def _is_finite(number: float | None) -> bool:
    return number is None or math.isfinite(number)


def fault(error: Exception) -> LabelerError:
    """Its name and never its words: they may quote a response, or a key."""
    reason = f"a fault of this program ({type(error).__name__}); the worker's log has it in full"
    return LabelerError(reason, permanent=True, may_have_cost=True, kind=Failure.FAULT)
