"""Batch files: what a judge was not asked yet goes out as one file of a batch interface, and comes back as another.

The format is OpenAI's: a request a line, {"custom_id", "method", "url", "body"}; a result a line, {"custom_id",
"response": {"status_code", "body"}, "error"}. Its calls are rows of the same ledger as those that are made here:
written and reserved before they go out, in flight until they come back, so that nothing is asked on both ways.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from itertools import islice
from typing import Any

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator.models import BatchFile, Comparison, Job, Labeler, LabelerCall, User
from annotator.pipeline import batch_results, call_books, calls, disclosures, ledger, scope, versions, work
from labelers.base import Answer, LabelerError, Prices
from labelers.offline import Offline

CHUNK = 200
# OpenAI takes so many requests in a file.
MOST_REQUESTS = 50_000
URL = "/v1/chat/completions"

Finished = list[tuple[Comparison, dict[str, Answer]]]


class _Desk(calls.Asker):
    """What an `Asker` knows and writes, without its calls."""

    def look(self, comparisons: Sequence[Comparison]) -> tuple[list[LabelerCall], Finished]:
        """The calls that could be made now, each at its highest price, and what needs none any more."""
        stored = self._stored(comparisons)
        for comparison in comparisons:
            self._advance(calls.Open(comparison, stored.get(comparison.pk, {})))
        wanted, finished = [self._call(each) for each in self._ready], self._finished
        self._ready.clear()
        self._finished, self._is_open = [], 0
        return wanted, finished  # type: ignore[return-value]

    def earlier(self, call: LabelerCall, comparison: Comparison, stored: Mapping[int, Any]) -> dict[str, Answer]:
        needs = self.labeler.needs(comparison, call.step)
        return calls.Open(comparison, stored.get(comparison.pk, {})).given(needs)

    def answers(self, comparisons: Sequence[Comparison]) -> dict[int, Any]:
        return self._stored(comparisons)

    def failed(self, call: LabelerCall, error: LabelerError) -> None:
        self.failures.add(error.kind, str(error))
        self.failures.give_up(str(error))
        self.books.failed(call, error)

    def store(self) -> None:
        """What was told since, together. Raises StepRefused when a call cost more than there is."""
        self.books.record()
        if self.books.refused:
            raise self.books.refused


@transaction.atomic
def request_file(
    labeler: Labeler, *, on: str, number: int, factor: Decimal, most: Decimal, by: User | None
) -> tuple[BatchFile, Job]:
    """A file of what the version in use has not judged of at most `number` comparisons; a worker writes it.

    Raises StepRefused for a judge whose steps are not all calls.
    """
    version = versions.current_version(labeler)
    if version.parameters.get("tools"):
        raise work.StepRefused(_("Programs check responses for this judge before it is asked: it cannot go by file."))
    prices = {name: str(price) for name, price in asdict(versions.prices(labeler)).items()}
    file = BatchFile.objects.create(
        labeler_version=version, scope=on, asked_for=number, factor=factor, most=most, prices=prices, requested_by=by
    )
    return file, _ask(file, by)


def request_results(file: BatchFile, address: str, *, by: User | None) -> Job:
    """Take in the results stored at `address`."""
    return _ask(file, by, results=address)


def _ask(file: BatchFile, by: User | None, **more: Any) -> Job:
    """A LABEL job: of a labeler one runs at a time, so a run that is under way cannot ask the same meanwhile."""
    labeler = file.labeler_version.labeler
    key = f"{labeler.pk}:file:{file.pk}:{more.get('results', '')}"[:120]
    job = Job.objects.request(
        labeler.project, Job.Kind.LABEL, key=key, by=by, labeler=labeler.pk, batch_file=file.pk, **more
    )
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.LABEL]))
    return job


def fill(file: BatchFile, beat: Callable[[int, int], None]) -> str:
    """Write the file's calls, each with its highest price held; gives the closing message. Safe to repeat.

    Raises StepRefused when texts may not leave, the money is not there, or somebody gave the file up.
    """
    version = file.labeler_version
    try:
        disclosures.refuse_unless_allowed(version)
        desk = _desk(file, _set_aside(file))
    except work.StepRefused:
        close(file)
        raise
    for comparisons in scope.batches(version, _comparisons(file), CHUNK):
        done = file.calls.values("comparison").distinct().count()
        room = min(file.asked_for - done, len(comparisons))
        wanted, _finished = desk.look(comparisons[: max(room, 0)])
        room_for_calls = MOST_REQUESTS - file.calls.count()
        if not _hold(file, desk, wanted[:room_for_calls]) or room < len(comparisons) or room_for_calls < len(wanted):
            break
        beat(done, file.asked_for)
    return _sent_out(file)


@transaction.atomic
def _hold(file: BatchFile, desk: _Desk, wanted: Sequence[LabelerCall]) -> bool:
    """Write what there is money for; False when it did not reach. Raises StepRefused when the file was given up."""
    _refuse_closed(file)
    for call in wanted:
        call.cost *= file.factor
        call.batch_file = file
    if desk.reservation is None:
        LabelerCall.objects.bulk_create(wanted)
        return True
    return len(ledger.hold(desk.reservation, list(wanted))) == len(wanted)


def _refuse_closed(file: BatchFile) -> None:
    """Raises StepRefused for a file that was given up; else nobody gives it up before the caller's transaction ends."""
    if BatchFile.objects.select_for_update().get(pk=file.pk).state == BatchFile.State.CLOSED:
        raise work.StepRefused(_("The file was given up before it was written."))


def _sent_out(file: BatchFile) -> str:
    """What no call of the file holds goes back; an empty file is closed."""
    if file.reservation:
        ledger.close(file.reservation)
    number = file.calls.count()
    if not number:
        close(file)
        return _("Nothing to ask: all of it is judged or out, or the money does not reach for one call.")
    BatchFile.objects.filter(pk=file.pk, state=BatchFile.State.PREPARING).update(state=BatchFile.State.OUT)
    return _("%(n)s calls in the file: download it from the labeler's page.") % {"n": number}


@transaction.atomic
def _set_aside(file: BatchFile) -> Any:
    _refuse_closed(file)
    labeler = file.labeler_version.labeler
    if _prices(file) == Prices():
        return None
    if file.reservation is None:
        file.reservation = ledger.reserve(labeler.project, f"file:{file.pk}", file.most, source=labeler.name)
        file.save(update_fields=["reservation"])
    return file.reservation


def _comparisons(file: BatchFile) -> Any:
    project = file.labeler_version.labeler.project
    on_people = file.scope == "people"
    return (scope.judged_by_people(project) if on_people else project.comparisons.all()).order_by("pk")


def _desk(file: BatchFile, reservation: Any, failures: call_books.Failures | None = None) -> _Desk:
    judge = versions.unconnected(file.labeler_version, prices=_prices(file))
    return _Desk(judge, file.labeler_version, reservation, failures=failures)


def _prices(file: BatchFile) -> Prices:
    """What the lead saw: a labeler whose prices change has other prices in files that are asked for then."""
    return Prices(**{name: Decimal(price) for name, price in file.prices.items()})


def lines(file: BatchFile) -> Iterator[bytes]:
    """The file itself, a request a line, for the calls of it that are in flight."""
    desk = _desk(file, file.reservation)
    offline = Offline(desk.labeler)
    waiting = file.calls.filter(status=LabelerCall.Status.IN_FLIGHT).order_by("pk")
    texts = waiting.select_related("comparison__prompt", "comparison__response_a", "comparison__response_b")
    rows = texts.iterator(chunk_size=CHUNK)
    while chunk := list(islice(rows, CHUNK)):
        stored = desk.answers([call.comparison for call in chunk if call.comparison])
        for call in chunk:
            assert call.comparison is not None
            earlier = desk.earlier(call, call.comparison, stored)
            body = offline.request(call.comparison, call.step, earlier)
            line = {"custom_id": custom_id(call), "method": "POST", "url": URL, "body": body}
            yield json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def custom_id(call: LabelerCall) -> str:
    return f"call-{call.pk}"


def take_in(
    file: BatchFile, address: str, beat: Callable[[int, int], None], failures: call_books.Failures
) -> Iterator[Finished]:
    """Store the results at `address`; gives the comparisons that have all their answers now, in chunks.

    Whole or not at all: every line is looked at before the first is stored. What was stored before (a repeated file, a
    crash) is not stored again. Raises StepRefused with line and field of what is wrong.
    """
    if not default_storage.exists(address):
        raise work.StepRefused(_("The uploaded results are gone from storage. Upload them again."))
    batch_results.check(file, address)
    desk = _desk(file, file.reservation, failures)
    offline, done, total = Offline(desk.labeler), 0, file.calls.count()
    with default_storage.open(address) as stored:
        rows = batch_results.rows(stored)
        while chunk := dict(islice(((batch_results.number(row), row) for _line, row in rows), CHUNK)):
            yield _take_chunk(file, desk, offline, chunk)
            done += len(chunk)
            beat(done, total)
    if not file.calls.filter(status=LabelerCall.Status.IN_FLIGHT).exists():
        close(file)


def _take_chunk(file: BatchFile, desk: _Desk, offline: Offline, chunk: Mapping[int | None, Any]) -> Finished:
    texts = ("comparison__prompt", "comparison__response_a", "comparison__response_b")
    about = list(file.calls.filter(pk__in=[pk for pk in chunk if pk]).select_related(*texts))
    comparisons = list({call.comparison_id: call.comparison for call in about if call.comparison}.values())
    stored = desk.answers(comparisons)
    for call in about:
        if call.status == LabelerCall.Status.IN_FLIGHT and call.comparison:
            earlier = desk.earlier(call, call.comparison, stored)
            _record(file, desk, offline, call, earlier, chunk[call.pk])
    desk.store()
    _wanted, finished = desk.look(comparisons)
    return finished


def _record(
    file: BatchFile, desk: _Desk, offline: Offline, call: LabelerCall, earlier: dict[str, Answer], row: Any
) -> None:
    said = row.get("response") or {}
    if row.get("error") or said.get("status_code") != 200:
        # A request that failed is not billed.
        desk.failed(call, LabelerError(_reason(row), permanent=True))
        return
    assert call.comparison is not None
    try:
        answer = offline.answer(call.comparison, call.step, earlier, said["body"])
    except LabelerError as error:
        desk.failed(call, LabelerError(str(error), permanent=True, may_have_cost=True))
    else:
        desk.books.answered(call, replace(answer, cost=_within(call, answer.cost * file.factor), latency_ms=0))


def _within(call: LabelerCall, cost: Decimal) -> Decimal:
    """What of a cost is counted: never more than is held for the call, or the file would cost more than was confirmed.

    An endpoint that counts more tokens than the request can have is told of with the call.
    """
    if cost > call.cost:
        call.error = f"cost {cost}, more than could be foreseen; {call.cost} is counted"
    return min(cost, call.cost)


def _reason(row: Mapping[str, Any]) -> str:
    """Why a request failed: the endpoint's word for it, never its text."""
    error, said = row.get("error"), row.get("response")
    code = error.get("code") if isinstance(error, dict) else None
    status = said.get("status_code") if isinstance(said, dict) else None
    word = code if isinstance(code, str) and code.isidentifier() else "failed"
    return f"batch: HTTP {status} ({word})" if isinstance(status, int) else f"batch: {word}"


@transaction.atomic
def close(file: BatchFile) -> int:
    """Give up what has not come back (the batch was cancelled, or ran out): its money goes back. Gives how many calls.

    They can be asked anew. Results that come later are refused: nobody has the money for them any more.
    """
    file = BatchFile.objects.select_for_update(of=("self",)).select_related("reservation").get(pk=file.pk)
    waiting = file.calls.filter(status=LabelerCall.Status.IN_FLIGHT)
    over = waiting.update(status=LabelerCall.Status.FAILED, cost=0, ended_at=now(), error="batch: given up")
    if file.reservation:
        ledger.close(file.reservation)
    ended = {"state": BatchFile.State.CLOSED, "closed_at": now()}
    BatchFile.objects.filter(pk=file.pk).exclude(state=BatchFile.State.CLOSED).update(**ended)
    transaction.on_commit(batch_results.remove_taken)
    return over


@transaction.atomic
def close_abandoned() -> int:
    """Close files whose writing has ended without them: cancelled, or given up after its workers died. Gives how many.

    Nothing of them has gone out, so nothing is lost.
    """
    preparing = BatchFile.objects.filter(state=BatchFile.State.PREPARING)
    files = {file.pk: file for file in preparing.select_for_update(skip_locked=True)}
    writing = Job.objects.unfinished().filter(kind=Job.Kind.LABEL, parameters__batch_file__in=list(files))
    over = files.keys() - set(writing.values_list("parameters__batch_file", flat=True)) if files else set()
    for pk in sorted(over):
        close(files[pk])
    return len(over)
