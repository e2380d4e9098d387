"""Backtest: what every strategy would have cost and achieved on what a project, or an uploaded file, has recorded.

A seed is stored when it is done, so a run that was paused, cancelled or killed goes on with the seeds that are missing.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from celery import shared_task
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import stored
from annotator.models import Backtest, BacktestSeed, Job, Project, User
from annotator.pipeline import work
from annotator.readings import estimates

if TYPE_CHECKING:
    from routing.backtest import Parameters
    from routing.table import Table

# Folder of uploads in storage, one folder a project. A file stays until its backtest is finished, or for so long after
# a run of it has ended: until then it can go on.
UPLOADS = "backtests"
KEPT = timedelta(days=30)
# Fewer comparisons with both kinds of labels, or fewer prompts, leave a part of the split nearly empty.
ENOUGH, ENOUGH_PROMPTS = 150, 10
# Characters of an uploaded file that may be read: its rows are held in memory.
MOST_CHARACTERS = 500_000_000
# Rows after which the memory that the file will take is estimated anew.
LOOKED_AFTER = 200


@shared_task(name=work.TASKS[Job.Kind.BACKTEST])
def run_backtests() -> int:
    return work.work(Job.Kind.BACKTEST, _job)


def request(project: Project, parameters: Parameters, by: User | None, *, upload: str = "", filename: str = "") -> Job:
    """A new backtest and its job. It reads the judgments that there are now, or the uploaded file."""
    with transaction.atomic():
        # Two at once would take the same number.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        newest = Backtest.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
        last = project.judgments.order_by("-id").values_list("id", flat=True).first()
        asked = parameters.as_json() | ({"upload": upload, "filename": filename} if upload else {})
        made = Backtest.objects.create(
            project=project, number=newest + 1, parameters=asked, last_judgment=last or 0, created_by=by
        )
        return go_on(made, by)


def go_on(backtest: Backtest, by: User | None) -> Job:
    """Ask for the seeds that are missing; the job that does so already when there is one."""
    job = Job.objects.ask(backtest.project, Job.Kind.BACKTEST, key=str(backtest.pk), by=by, backtest=backtest.number)
    Backtest.objects.filter(pk=backtest.pk).update(job=job)
    transaction.on_commit(nudge)
    return job


def nudge() -> None:
    work.nudge(work.TASKS[Job.Kind.BACKTEST])


def _job(job: Job) -> work.Done:
    found = Backtest.objects.get(project=job.project, number=job.parameters["backtest"])
    run(found, job)
    words = _("Backtest %(number)s: %(seeds)s seeds") % {"number": found.number, "seeds": found.seeds.count()}
    return work.Done(words, {"backtest": found.number})


def run(backtest: Backtest, job: Job) -> None:
    """Compute the seeds that are missing, then the report.

    Raises StepRefused, with numbers, when there is too little to compare; JobPaused or JobCancelled.
    """
    # Not at the top: the page that asks for a backtest needs neither SciPy nor a language model.
    from routing import backtest as backtests

    parameters = backtests.Parameters.of(backtest.parameters)
    job.beat(backtest.seeds.count(), parameters.seeds, _("reading what is judged"))
    table, prices = _table(backtest)
    _begin_anew_if_changed(backtest, table, prices)
    parameters = replace(parameters, prices={**_fixed_prices(backtest), **parameters.prices})
    _check(table, parameters)
    for seed in _missing(backtest, parameters):
        outcome = _computed(backtest, table, parameters, seed, job)
        _store(backtest, seed, outcome, job)
    outcomes = list(backtest.seeds.order_by("seed").values_list("outcome", flat=True))
    _finish(backtest, backtests.report(parameters, outcomes).as_json(), job)


def _missing(backtest: Backtest, parameters: Parameters) -> list[int]:
    done = set(backtest.seeds.values_list("seed", flat=True))
    return [seed for seed in parameters.numbers if seed not in done]


def _computed(backtest: Backtest, table: Table, parameters: Parameters, seed: int, job: Job) -> dict[str, Any]:
    from routing import backtest as backtests
    from routing.table import BrokenSplit

    done = backtest.seeds.count()
    left = estimates.words_left(len(table), parameters.seeds - done, len(parameters.names) * len(parameters.budgets))
    words = _("seed %(seed)s of %(n)s comparisons; %(left)s") % {"seed": seed, "n": len(table), "left": left}

    def step() -> None:
        job.beat(done, parameters.seeds, words)

    try:
        return backtests.run_seed(table, parameters, seed, step)
    except BrokenSplit as broken:
        raise work.StepRefused(str(broken)) from broken


@transaction.atomic
def _store(backtest: Backtest, seed: int, outcome: dict[str, Any], job: Job) -> None:
    BacktestSeed.objects.create(backtest=backtest, seed=seed, outcome=outcome)
    job.still_mine()


def _finish(backtest: Backtest, report: dict[str, Any], job: Job) -> None:
    with transaction.atomic():
        Backtest.objects.filter(pk=backtest.pk).update(report=report, finished_at=now())
        job.still_mine()
    if upload := backtest.parameters.get("upload"):
        default_storage.delete(upload)


def forget_uploads() -> int:
    """Delete the files of backtests whose last run ended KEPT ago and that nobody let go on; gives how many.

    A run that is waiting, paused or at work keeps its file.
    """
    over = (Job.State.DONE, Job.State.FAILED, Job.State.CANCELLED)
    left = Backtest.objects.filter(finished_at=None, parameters__has_key="upload", job__state__in=over)
    names = left.filter(job__ended_at__lt=now() - KEPT).values_list("parameters__upload", flat=True)
    gone = [name for name in names if default_storage.exists(name)]
    for name in gone:
        default_storage.delete(name)
    return len(gone)


# What it reads


def _table(backtest: Backtest) -> tuple[Table, dict[str, Decimal]]:
    """The table and the project's prices, none for a file. Raises StepRefused."""
    if upload := backtest.parameters.get("upload"):
        return _of_file(upload), {}
    # Not at the top: it loads NumPy and SciPy, which who asks for a backtest does not need.
    from annotator.pipeline import recorded

    table = recorded.table_of(backtest.project, backtest.last_judgment)
    return table, recorded.prices_of(backtest.project, table)


def _of_file(name: str) -> Table:
    from routing import table

    if not default_storage.exists(name):
        raise work.StepRefused(_("The uploaded file is gone from storage. Ask for the backtest again, with the file."))
    there = estimates.memory_left()

    def watch(lines: int, characters: int) -> None:
        if lines % LOOKED_AFTER == 0 or characters > MOST_CHARACTERS // 2:
            _refuse_beyond_memory(estimates.memory_of_file(lines, characters), there, lines)

    with stored.local(name) as path:
        try:
            return table.load(table.read_rows(path, MOST_CHARACTERS, watch))
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise work.StepRefused(_("The file cannot be used: %(why)s") % {"why": error}) from error


def _check(table: Table, parameters: Parameters) -> None:
    """Raises StepRefused when a split would leave next to nothing, or memory does not reach for what is there."""
    from routing import backtest as backtests

    prompts = len(set(table.prompts.tolist()))
    if len(table) < ENOUGH or (prompts < ENOUGH_PROMPTS and parameters.by == "prompt"):
        raise work.StepRefused(
            _(
                "%(n)s comparisons of %(prompts)s prompts have judgments of people and of a labeler. A backtest splits "
                "them into three parts and needs at least %(enough)s of %(several)s prompts."
            )
            % {"n": len(table), "prompts": prompts, "enough": ENOUGH, "several": ENOUGH_PROMPTS}
        )
    try:
        backtests.sources_of(table, parameters)
    except ValueError as error:
        raise work.StepRefused(str(error)) from error
    _refuse_beyond_memory(estimates.memory(len(table)), estimates.memory_left(), len(table))


def _refuse_beyond_memory(needed: int, there: int | None, rows: int) -> None:
    if there is not None and needed > there:
        raise work.StepRefused(
            _("%(n)s comparisons need about %(needed).1f GB of memory, and this worker has %(there).1f GB left.")
            % {"n": rows, "needed": needed / 1e9, "there": there / 1e9}
        )


def _begin_anew_if_changed(backtest: Backtest, table: Table, prices: dict[str, Decimal]) -> None:
    """Seeds that read something else cannot be reported on together with these.

    That happens when a judgment is corrected or taken back, or features are computed anew, between two attempts. The
    project's prices are fixed by the first attempt.
    """
    digest = hashlib.sha256("\n".join(table.judges).encode())
    for values in (table.people, table.votes, table.p_b, table.values, table.prompts):
        digest.update(values.tobytes())
    found, known = digest.hexdigest(), backtest.parameters.get("digest")
    if found == known:
        return
    if known:
        backtest.seeds.all().delete()
    fixed = {name: str(price) for name, price in prices.items()}
    backtest.parameters |= {"digest": found, "project_prices": fixed}
    backtest.save(update_fields=["parameters"])


def _fixed_prices(backtest: Backtest) -> dict[str, Decimal]:
    return {name: Decimal(price) for name, price in backtest.parameters.get("project_prices", {}).items()}
