"""Generate: models write responses to the project's prompts, called and paid as judges are (`calls`).

A generator is a `Labeler` of kind GENERATOR: prices, key, versions and the word about what leaves are as any labeler's.
Its versions have no rater, because it judges nothing. A job's parameters: {"labeler": id, "scope": one of SCOPES,
"prompts": [ids] for a trial, "number": samples of each model and temperature, "reserve": the most the run may cost}; or
{"rule", "seed"}, which makes comparisons of the responses (`compare`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.formats import rows
from annotator.models import (
    Comparison,
    Job,
    Labeler,
    LabelerCall,
    LabelerVersion,
    Project,
    Prompt,
    Reservation,
    Response,
    User,
)
from annotator.pipeline import call_books, calls, compare, keys, lost, operations, versions, work
from labelers.base import Answer, Prices, Usage
from labelers.generator import CUT, Generator

BATCH = 50
# Seconds between two beats of a run.
BEAT = 1.0
TRIAL = 3
# An estimate reads at most this many prompts and scales.
SAMPLE = 300
SCOPES = ("trial", "waiting", "everything")
_ANSWERED = (LabelerCall.Status.OK, LabelerCall.Status.UNPARSED)


@dataclass
class Tally:
    """What a run has done so far. `refused`, `again` and `cut` count among the answers to the prompts of the run."""

    prompts: int = 0
    new: int = 0
    again: int = 0
    cut: int = 0
    refused: list[str] = field(default_factory=list)
    failures: call_books.Failures = field(default_factory=call_books.Failures)
    lost: int = 0

    def stored(self) -> dict[str, Any]:
        """For the job's result, where a run's page finds failures by kind."""
        return {"run": {"failures": asdict(self.failures), "lost": self.lost}}

    def words(self) -> str:
        parts = [ngettext("%(n)s new response", "%(n)s new responses", self.new) % {"n": self.new}]
        if self.again:
            words = ngettext(
                "%(n)s said the same again and is kept once", "%(n)s said the same again and are kept once", self.again
            )
            parts.append(words % {"n": self.again})
        if self.cut:
            words = ngettext("%(n)s was cut off at the most tokens", "%(n)s were cut off at the most tokens", self.cut)
            parts.append(words % {"n": self.cut})
        if self.refused:
            words = ngettext(
                "%(n)s answer is no response: %(why)s", "%(n)s answers are no responses: %(why)s", len(self.refused)
            )
            parts.append(words % {"n": len(self.refused), "why": "; ".join(sorted(set(self.refused)))})
        return "; ".join([*parts, *self.failures.told(self.lost)])


@dataclass(frozen=True)
class Estimate:
    """What a run would do: prompts with something left to write, calls, and the most that these can cost."""

    prompts: int
    calls: int
    most: Decimal


@shared_task(name=work.TASKS[Job.Kind.GENERATE])
def run_generates() -> int:
    return work.work(Job.Kind.GENERATE, generate_job)


def add_generator(
    project: Project,
    name: str,
    price: Prices,
    chosen: Mapping[str, Any],
    key: keys.Key = keys.NO_KEY,
    *,
    by: User | None = None,
) -> Labeler:
    """A new generator of the project. Raises StepRefused for an endpoint, a key or a name that cannot be used."""
    return operations.add(project, Labeler.GENERATOR, name, price, chosen, key, Generator.CODE_VERSION, by)


def current_version(labeler: Labeler) -> LabelerVersion:
    """The version that writes now; code that changed since makes a new one with the same parameters."""
    return operations.version_with(labeler, labeler.version.parameters, Generator.CODE_VERSION)


def build(version: LabelerVersion, number: int = 1) -> Generator:
    """The generator itself. Raises StepRefused when its endpoint or key may not be used, in words for the lead."""
    return Generator(
        **versions.told(version),
        **versions.connection(version),
        number=number,
        prices=versions.prices(version.labeler),
    )


def waiting(project: Project) -> QuerySet[Prompt]:
    """Prompts that stand in no comparison yet."""
    return project.prompts.filter(~Exists(Comparison.objects.filter(prompt=OuterRef("pk"))))


def prompts_of(project: Project, scope: str, ids: Sequence[int] = ()) -> QuerySet[Prompt]:
    if scope == "trial":
        return project.prompts.filter(pk__in=ids)
    return waiting(project) if scope == "waiting" else project.prompts.all()


def trial_prompts(labeler: Labeler, number: int = TRIAL) -> list[int]:
    """A few prompts to which it has written nothing, such as wait for responses first."""
    version = current_version(labeler)
    own = LabelerCall.objects.filter(labeler_version=version, prompt=OuterRef("pk"), status__in=_ANSWERED)
    chosen: list[int] = []
    for group in (waiting(labeler.project), labeler.project.prompts.all()):
        left = group.filter(~Exists(own)).exclude(pk__in=chosen).order_by("pk")
        chosen += left.values_list("pk", flat=True)[: number - len(chosen)]
    return chosen


def estimate(labeler: Labeler, prompts: QuerySet[Prompt], number: int) -> Estimate:
    """What writing `number` responses of each kind to `prompts` would take, retries aside.

    Exact up to 300 prompts, scaled up from the first 300 beyond. Raises StepRefused as `build` does.
    """
    version = current_version(labeler)
    generator = build(version, number)
    whole = prompts.count()
    sample = list(_texts(prompts)[:SAMPLE])
    answered = _answered(version, sample)
    left = {each.pk: [step for step in generator.steps(each) if (each.pk, step) not in answered] for each in sample}
    price = sum((generator.highest_price(each, step) for each in sample for step in left[each.pk]), Decimal(0))
    times = Decimal(whole) / max(len(sample), 1)
    return Estimate(
        prompts=int(sum(1 for steps in left.values() if steps) * times),
        calls=int(sum(len(steps) for steps in left.values()) * times),
        most=Decimal(0) if labeler.is_free else (price * times).quantize(Decimal("0.000001")),
    )


def _answered(version: LabelerVersion, prompts: Sequence[Prompt]) -> set[tuple[int | None, str]]:
    own = LabelerCall.objects.filter(labeler_version=version, prompt__in=prompts, status__in=_ANSWERED)
    return set(own.values_list("prompt_id", "step"))


def request_run(
    labeler: Labeler, scope: str, number: int, *, prompts: Sequence[int] = (), reserve: Decimal | None, by: User | None
) -> Job:
    """One job a generator: while one waits or runs, asking again gives it."""
    job = Job.objects.ask(
        labeler.project,
        Job.Kind.GENERATE,
        key=str(labeler.pk),
        by=by,
        labeler=labeler.pk,
        scope=scope,
        number=number,
        prompts=list(prompts),
        reserve=None if reserve is None else str(reserve),
    )
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.GENERATE]))
    return job


def generate_job(job: Job) -> work.Done:
    """Run one GENERATE job; gives its closing message."""
    if "rule" in job.parameters:
        report = compare.compare(job.project, job.parameters["rule"], job.parameters.get("seed", 0), job=job)
        made = ngettext("%(n)s comparison made", "%(n)s comparisons made", report.comparisons)
        return work.Done(made % {"n": report.comparisons}, {"comparisons": report.comparisons})
    labeler = job.project.labelers.select_related("project").filter(pk=job.parameters["labeler"]).first()
    if labeler is None or not labeler.enabled:
        raise work.StepRefused(_("The generator was removed or switched off before its run began."))
    tally = Tally()
    with operations.paid(job, labeler, tally.words, tally.stored) as reservation:
        _run(labeler, job, reservation, tally)
    return work.Done(tally.words(), tally.stored())


def _run(labeler: Labeler, job: Job, reservation: Reservation | None, tally: Tally) -> None:
    version = current_version(labeler)
    generator = build(version, job.parameters["number"])
    tally.lost = lost.count_lost(labeler)
    scope = prompts_of(job.project, job.parameters["scope"], job.parameters.get("prompts", ()))
    ids = list(scope.order_by("pk").values_list("pk", flat=True))
    last = 0.0

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT:
            last = time.monotonic()
            job.beat(tally.prompts, len(ids), tally.words(), tally.stored())

    asker = calls.Asker(generator, version, reservation, beat, tally.failures)
    batches = (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
    prompts = (prompt for batch in batches for prompt in _texts(Prompt.objects.filter(pk__in=batch)))
    _write(asker, version, generator, prompts, tally)


def _write(
    asker: calls.Asker, version: LabelerVersion, generator: Generator, prompts: Iterable[Prompt], tally: Tally
) -> None:
    """Ask for what is missing in one stream. What was answered becomes responses even when the run stops: it is paid.

    A worker that dies between the two leaves answers without responses, which the next run finds here as well.
    """
    begun: dict[int, Prompt] = {}

    def read() -> Iterator[Prompt]:
        for prompt in prompts:
            begun[prompt.pk] = prompt
            yield prompt

    def take(answered: Sequence[tuple[Any, dict[str, Answer]]]) -> None:
        done = [begun.pop(prompt.pk) for prompt, _answers in answered]
        tally.prompts += len(done)
        store(version, generator, done, tally)

    try:
        asker.ask(read(), take)
    finally:
        store(version, generator, list(begun.values()), tally)


def store(version: LabelerVersion, generator: Generator, prompts: Sequence[Prompt], tally: Tally) -> None:
    """Make responses of the stored answers to `prompts`, each text of a model once; repeating it changes nothing.

    A response is known by its model and text, as an imported one without an id is.
    """
    made: dict[tuple[int, str], Response] = {}
    own = LabelerCall.objects.filter(labeler_version=version, prompt__in=prompts, status__in=_ANSWERED)
    for call in own.order_by("id"):
        answer = Answer(**call.answer, usage=Usage(call.input_tokens, call.output_tokens))
        if reason := generator.refusal(answer):
            tally.refused.append(reason)
            continue
        response = _response(call, generator, answer)
        key = (response.prompt_id, response.external_id)
        tally.again += key in made
        tally.cut += answer.finish_reason == CUT
        made.setdefault(key, response).metadata["generated"]["steps"].append(call.step)
    _insert(made, tally)


def _response(call: LabelerCall, generator: Generator, answer: Answer) -> Response:
    assert call.prompt_id and call.ended_at
    written = generator.response(call.step, answer)
    row = rows.response_row({"text": written.text, "model": written.model}, "response", "response")
    version = call.labeler_version
    provenance = {
        **written.provenance,
        "generator": version.labeler.name,
        "version": version.digest,
        "written_at": call.ended_at.isoformat(timespec="seconds"),
        "steps": [],
    }
    return Response(
        prompt_id=call.prompt_id,
        external_id=row.external_id,
        text=row.text,
        model=row.model,
        text_hash=row.text_hash,
        metadata={"generated": provenance},
    )


def _insert(made: Mapping[tuple[int, str], Response], tally: Tally) -> None:
    """Insert what is not there. One that is there and ours learns which steps said it again."""
    there = {
        (response.prompt_id, response.external_id): response
        for response in Response.objects.filter(
            prompt__in={prompt for prompt, _name in made}, external_id__in={name for _prompt, name in made}
        ).defer("text", "html")
    }
    tally.new += len(Response.objects.bulk_create(
        [response for key, response in made.items() if key not in there], ignore_conflicts=True
    ))  # fmt: skip
    for key in made.keys() & there.keys():
        new, old = made[key].metadata["generated"], there[key].metadata.get("generated", {})
        if old.get("version") == new["version"] and len(old.get("steps", ())) < len(new["steps"]):
            Response.objects.filter(pk=there[key].pk).update(metadata={**there[key].metadata, "generated": new})


def _texts(prompts: QuerySet[Prompt]) -> QuerySet[Prompt]:
    return prompts.defer("html").order_by("pk")


def sample_request(version: LabelerVersion, prompt: Prompt) -> str:
    """The messages of one call, as they would leave: for a lead to read before saying that they may."""
    return json.dumps(Generator(**versions.told(version)).messages(prompt), ensure_ascii=False, indent=2)
