"""Pairs: a labeler scores the responses a prompt has, and its best meets its worst, or one drawn among the worse.

For preference data from a model's own responses (on-policy), where people or another labeler then judge what is worth
it. A job's parameters: {"labeler": id, "rule": one of RULES, "seed": int}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotator.models import Job, Labeler, LabelerVersion, Project, Prompt, Response, User
from annotator.pipeline import compare, disclosures, ingest, models, versions, work
from labelers import base
from labelers.pointwise import Case, Chosen, Pointwise, Scored, pair_of

RULES = {
    "best_worst": gettext_lazy("the best against the worst"),
    "best_random": gettext_lazy("the best against one drawn among the worse"),
}
# Prompts of one batch: models are read once for all responses of them.
BATCH = 1000
# Labelers that look at no model and still score a response by itself.
NULLS = ("null_longest", "null_shortest", "null_relevance")


@dataclass(frozen=True)
class Made:
    """A pair of a prompt's responses, by their ids, with what all of them scored."""

    prompt_id: int
    best_id: int
    other_id: int
    metadata: dict[str, Any]


@dataclass
class Tally:
    prompts: int = 0
    nothing: int = 0
    unscored: int = 0

    def words(self) -> str:
        several = ngettext("%(n)s prompt with several responses", "%(n)s prompts with several responses", self.prompts)
        parts = [several % {"n": self.prompts}]
        if self.nothing:
            parts.append(_("%(n)s of them without a better and a worse one") % {"n": self.nothing})
        if self.unscored:
            words = ngettext("%(n)s response could not be scored", "%(n)s responses could not be scored", self.unscored)
            parts.append(words % {"n": self.unscored})
        return "; ".join(parts)


@shared_task(name=work.TASKS[Job.Kind.PAIRS])
def run_pairs() -> int:
    return work.work(Job.Kind.PAIRS, pairs_job)


@shared_task(name=work.GPU_TASKS[Job.Kind.PAIRS])
def run_model_pairs() -> int:
    """The same for labelers that load models, in workers that may."""
    return work.work(Job.Kind.PAIRS, pairs_job, work.GPU)


def scorers(project: Project) -> QuerySet[Labeler]:
    """The project's labelers that score a response by itself, whatever it is compared with."""
    return project.labelers.filter(enabled=True, kind__in=(*models.FIELDS, *NULLS)).order_by("id")


def prompts_of(project: Project) -> QuerySet[Prompt]:
    """Prompts with two different responses or more."""
    texts = Count("responses__text_hash", distinct=True)
    return project.prompts.annotate(texts=texts).filter(texts__gte=2).order_by("pk")


def refuse(labeler: Labeler) -> None:
    """Raise StepRefused where it cannot score here, in words for the lead. Loads nothing."""
    if models.is_model(labeler.kind):
        models.refuse_without_models()
        disclosures.refuse_unless_allowed(versions.current_version(labeler))


def request(labeler: Labeler, rule: str, seed: int, *, by: User | None) -> Job:
    """One job a labeler, rule and seed; while it waits or runs asking again gives the same."""
    job = Job.objects.ask(
        labeler.project,
        Job.Kind.PAIRS,
        key=f"{labeler.pk}:{rule}:{seed}",
        by=by,
        queue=models.queue(labeler.kind),
        labeler=labeler.pk,
        rule=rule,
        seed=seed,
    )
    transaction.on_commit(lambda: work.nudge(work.task(Job.Kind.PAIRS, job.queue)))
    return job


def pairs_job(job: Job) -> work.Done:
    """Score, choose, and store the comparisons that are not there. Scores of models are kept, so a repeat is quick."""
    labeler = scorers(job.project).filter(pk=job.parameters["labeler"]).first()
    if labeler is None:
        raise work.StepRefused(_("The labeler was removed or switched off before its run began."))
    version, tally = versions.current_version(labeler), Tally()
    made = list(_made(job, version, tally))
    report = ingest.ingest_entries(job.project, lambda _beat: _entries(made, job.parameters["seed"]), job=job)
    return work.Done(f"{report}; {tally.words()}", {"comparisons": report.comparisons})


def _made(job: Job, version: LabelerVersion, tally: Tally) -> Iterator[Made]:
    """Everything is chosen before anything is stored: no model computes while rows are on their way in."""
    ids = list(prompts_of(job.project).values_list("pk", flat=True))
    done = 0

    def beat(share: float = 0.0) -> None:
        job.beat(min(done + int(share * BATCH), len(ids)), len(ids), tally.words())

    scorer = scorer_of(version, beat)
    try:
        for start in range(0, len(ids), BATCH):
            done = start
            yield from _chosen(ids[start : start + BATCH], scorer, version, job.parameters, tally)
            beat()
    finally:
        scorer.free()


def _chosen(
    ids: Sequence[int], scorer: Pointwise, version: LabelerVersion, asked: dict[str, Any], tally: Tally
) -> Iterator[Made]:
    prompts = list(_texts(ids))
    answers = [sorted(prompt.responses.all(), key=lambda response: response.pk) for prompt in prompts]
    cases = [
        Case(prompt, tuple(response.text for response in responses))
        for prompt, responses in zip(prompts, answers, strict=True)
    ]
    for prompt, responses, case, scored in zip(prompts, answers, cases, scorer.score(cases), strict=True):
        tally.prompts += 1
        tally.unscored += sum(each.value is None for each in scored)
        chosen = pair_of(case, scored, asked["rule"], asked["seed"], tie=scorer.tie)
        if chosen is None:
            tally.nothing += 1
        else:
            metadata = _metadata(version, asked, responses, scored, chosen)
            yield Made(prompt.pk, responses[chosen.chosen].pk, responses[chosen.rejected].pk, metadata)


def _texts(ids: Sequence[int]) -> QuerySet[Prompt]:
    return Prompt.objects.filter(pk__in=ids).defer("html").prefetch_related("responses").order_by("pk")


def _metadata(
    version: LabelerVersion, asked: dict[str, Any], responses: Sequence[Response], scored: Sequence[Scored], of: Chosen
) -> dict[str, Any]:
    """Where a pair comes from: enough to make it again, and to see what else there was to choose from."""
    named = zip(responses, scored, strict=True)
    return {
        "pair_rule": asked["rule"],
        "pair_seed": asked["seed"],
        "pair_labeler": version.labeler.name,
        "pair_version": version.digest,
        "pair_best": responses[of.chosen].external_id,
        "pair_margin": of.margin,
        "pair_scores": {response.external_id: each.value for response, each in named},
    }


def _entries(made: Sequence[Made], seed: int) -> Iterator[ingest.Entry]:
    """As an import would bring them; pairs that stand in a comparison already are left out."""
    for start in range(0, len(made), BATCH):
        part = {each.prompt_id: each for each in made[start : start + BATCH]}
        prompts = list(_texts(list(part)))
        there = compare.already(prompts)
        for prompt in prompts:
            each = part[prompt.pk]
            if frozenset((each.best_id, each.other_id)) not in there:
                by_id = {response.pk: response for response in prompt.responses.all()}
                pair = _sides(by_id[each.best_id], by_id[each.other_id], seed)
                yield compare.entry(prompt, [pair], each.metadata)


def _sides(best: Response, other: Response, seed: int) -> tuple[Response, Response]:
    """Which is A is drawn, or the best would be A everywhere."""
    drawn = hashlib.sha256(f"{seed}:{best.prompt_id}:{best.pk}:{other.pk}".encode()).digest()
    return (best, other) if drawn[0] & 1 else (other, best)


# Scoring


def scorer_of(version: LabelerVersion, beat: Any = lambda _share=0.0: None) -> Pointwise:
    """The labeler as one that scores responses. Raises StepRefused for one that only compares."""
    if models.is_model(version.labeler.kind):
        return models.build(version, beat)
    built = versions.build(version)
    return built if isinstance(built, Pointwise) else Alone(built)


class Alone(Pointwise):
    """A labeler whose verdict carries a score of each response: each is put beside itself, and its score read."""

    tie = 0.0

    def __init__(self, labeler: base.Labeler) -> None:
        self.labeler = labeler

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        asked = [_Twice(case.prompt, _Text(text), _Text(text)) for case in cases for text in case.responses]
        found = iter(self.labeler.judge(asked))
        return [[_scored(next(found)) for _text in case.responses] for case in cases]


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Twice:
    prompt: base.Prompt
    response_a: _Text
    response_b: _Text


def _scored(verdict: base.Verdict) -> Scored:
    if verdict.scores is None:
        return Scored(None, problem=str(verdict.provenance.get("error", "")) or _("it gives no score"))
    return Scored(verdict.scores[0])
