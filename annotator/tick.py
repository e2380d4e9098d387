"""Asks the database every few seconds what is due and nudges the workers. So every message may be lost."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable

from django.db import DatabaseError, close_old_connections
from django.db.models import Min

from annotator.models import Delivery, Job, Judgment, LabelerVersion
from annotator.pipeline import (
    backtest,
    batch_results,
    batches,
    check,
    ledger,
    loop,
    lost,
    places,
    storing,
    tokens,
    webhooks,
    work,
)

logger = logging.getLogger(__name__)

EVERY = 2.0
# One round in so many also looks at whole projects: what is due there may wait half a minute.
SELDOM = 15
# One in so many, about one an hour, reads whole tables for what may go.
RARELY = 1800
# Seconds after which an unanswered nudge is repeated; doubles up to the longest. The embedded broker drains slowly.
FIRST_PATIENCE = 5.0
LONGEST_PATIENCE = 60.0
AGGREGATE = "annotator.pipeline.aggregate.run_aggregates"
DELIVERIES = "annotator.pipeline.webhooks.run_deliveries"


class Nudges:
    """Which nudges are probably still waiting in the broker.

    The sign that one was received is that the head of its line (the smallest id that is due) has changed. While the
    same head waits, a nudge is repeated only after a patience that doubles each time.
    """

    def __init__(self, send: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.send = send
        self.clock = clock
        # task -> (head, when to nudge next, the patience after that)
        self.waiting: dict[str, tuple[int, float, float]] = {}

    def heads(self, heads: dict[str, int]) -> list[str]:
        """Nudge for each task in `heads` (task -> smallest due id) that needs it; gives those nudged."""
        self.waiting = {task: entry for task, entry in self.waiting.items() if task in heads}
        sent = [task for task, head in heads.items() if self._is_time(task, head)]
        for task in sent:
            self.send(task)
        return sent

    def _is_time(self, task: str, head: int) -> bool:
        known, again_at, patience = self.waiting.get(task, (None, 0.0, FIRST_PATIENCE))
        if known != head:
            again_at, patience = 0.0, FIRST_PATIENCE
        if self.clock() < again_at:
            return False
        self.waiting[task] = (head, self.clock() + patience, min(LONGEST_PATIENCE, patience * 2))
        return True


def due() -> dict[str, int]:
    """Task -> the smallest id it should look at. Each is answered by a partial index, whatever the project's size."""
    kinds = Job.objects.due().order_by().values_list("kind", "queue").annotate(head=Min("id"))
    heads = {work.task(kind, queue): head for kind, queue, head in kinds}
    waiting = Judgment.objects.final().filter(aggregated=False).order_by("effective_at", "id")
    if head := waiting.values_list("id", flat=True).first():
        heads[AGGREGATE] = head
    elif version := LabelerVersion.objects.filter(recount_after__isnull=False).order_by("pk").first():
        heads[AGGREGATE] = -version.pk  # no judgment has this id, so a head that follows is another
    if delivery := Delivery.objects.due().order_by("next_at").values_list("id", flat=True).first():
        heads[DELIVERIES] = delivery
    return heads


def round_of(nudges: Nudges, seldom: bool = True, rarely: bool = True) -> None:
    """One round. Each duty is tried whatever became of the others; those that look at whole projects only `seldom`,
    those that look at everything `rarely`."""
    duties = [
        Job.objects.stop_abandoned,
        lambda: nudges.heads(due()),
        places.expire_leases,
        lost.return_money,
        ledger.settle,
    ]
    if seldom:
        duties += [
            batches.close_abandoned,
            batch_results.remove_taken,
            backtest.forget_uploads,
            check.request_due,
            loop.request_due,
            tokens.forget_answers,
        ]
    if rarely:
        duties += [webhooks.forget_ended, storing.sweep]
    for duty in duties:
        try:
            close_old_connections()
            duty()
        except DatabaseError as error:
            logger.warning("database away, trying again: %s", " ".join(str(error).split())[:200])
            break
        except Exception:  # one broken duty must not stop the others; the log tells
            logger.exception("a duty of the tick failed")
    close_old_connections()


def run(every: float = EVERY) -> None:
    nudges = Nudges(work.nudge)
    for number in itertools.count():
        round_of(nudges, seldom=number % SELDOM == 0, rarely=number % RARELY == 0)
        time.sleep(every)
