"""Measure: train reward models on a few mixtures, score them on people held out, keep the scores (the dearer fidelity).

A job's parameters: {"mixtures": [ids], "seeds": n, "recipe": {…} (`routing.reward_trainer.Recipe`)}. Each mixture and
seed is stored when it is done, so a job that was paused, cancelled or lost its worker goes on from there. The trainer
reads what an export of the mixture would hold.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Job, Mixture, MixtureScore, MixtureSet, Project, User
from annotator.pipeline import grounds, mixture_sets, models, signals, work
from routing import reward_trainer
from routing.fidelity import spread
from routing.reward_trainer import Recipe

# Seconds between two beats.
BEAT = 1.0
# What an hour of somebody else's GPU is worth asking twice for.
MOST = 200


@shared_task(name=work.TASKS[Job.Kind.MEASURE])
def run_measures() -> int:
    return work.work(Job.Kind.MEASURE, _job)


@shared_task(name=work.GPU_TASKS[Job.Kind.MEASURE])
def run_model_measures() -> int:
    """The same in workers that may load models."""
    return work.work(Job.Kind.MEASURE, _job, work.GPU)


def request(project: Project, recipe: Recipe, mixtures: int, seeds: int, by: User | None = None) -> Job:
    """Ask for `mixtures` × `seeds` trainings. Raises StepRefused for a model that may not be loaded, or no mixtures."""
    models.checked({"name": recipe.model, "revision": recipe.revision})
    if not 1 <= mixtures * seeds <= MOST:
        raise work.StepRefused(_("Ask for between 1 and %(most)s trainings at once.") % {"most": MOST})
    chosen = choose(project, mixtures)
    asked = {"mixtures": [each.pk for each in chosen], "seeds": seeds, "recipe": asdict(recipe)}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    queue = work.GPU if settings.MODELS else ""  # without models any worker takes it, to say why it cannot run
    job = Job.objects.ask(project, Job.Kind.MEASURE, key=key, by=by, queue=queue, **asked)
    nudge(job)
    return job


def nudge(job: Job) -> None:
    transaction.on_commit(lambda: work.nudge(work.task(job.kind, job.queue)))


def choose(project: Project, count: int) -> list[Mixture]:
    """Mixtures of the newest set that differ most in budget and proxy score, beginning with those measured already.

    Measured ones come first so that asking for more adds to them. Raises StepRefused without a set.
    """
    newest = newest_set(project)
    if newest is None:
        raise work.StepRefused(_("There are no mixtures yet: train a performance model first."))
    rows = list(newest.mixtures.filter(scores__fidelity=MixtureScore.PROXY).order_by("number").distinct())
    proxy = dict(
        MixtureScore.objects.filter(mixture__in=rows, fidelity=MixtureScore.PROXY).values_list("mixture", "score")
    )
    budget = len(newest.sources)
    points = np.array([[proxy[row.pk], mixture_sets.described_of(row)[budget]] for row in rows])
    known = set(
        MixtureScore.objects.filter(mixture__in=rows, fidelity=MixtureScore.TRAINED).values_list("mixture", flat=True)
    )
    taken = [place for place, row in enumerate(rows) if row.pk in known][:count]
    return [rows[place] for place in [*taken, *spread(points, count - len(taken), taken)]]


def newest_set(project: Project) -> MixtureSet | None:
    return project.mixture_sets.filter(sampler=mixture_sets.SPACE_FILLING).order_by("-number").first()


def seconds_each(project: Project) -> float | None:
    """What a training took lately, None before the first."""
    rows = MixtureScore.objects.filter(mixture__mixture_set__project=project, fidelity=MixtureScore.TRAINED)
    newest = rows.order_by("-pk").values_list("detail__seconds", flat=True)[:20]
    taken = [float(each) for each in newest if each is not None]
    return median(taken) if taken else None


def _job(job: Job) -> work.Done:
    models.refuse_without_models()
    asked = job.parameters
    recipe = Recipe(**asked["recipe"])
    models.checked({"name": recipe.model, "revision": recipe.revision})
    done = measure(job.project, asked["mixtures"], asked["seeds"], recipe, job)
    words = ngettext("%(n)s reward model trained", "%(n)s reward models trained", done) % {"n": done}
    return work.Done(f"{words}. {_('Train the performance model again to learn from them.')}")


def measure(project: Project, mixtures: list[int], seeds: int, recipe: Recipe, job: Job | None = None) -> int:
    """Train what is missing of `mixtures` (ids) × seeds 0…; gives the number trained.

    Raises StepRefused when the model cannot be trained or a mixture cannot be said any more; JobPaused, JobCancelled.
    """
    evidence = grounds.gather(project, signals.load(project))
    try:
        identity = reward_trainer.exact(recipe)
    except reward_trainer.UnfitRecipe as error:
        raise work.StepRefused(str(error)) from error
    left = _left(mixtures, seeds, {"model": identity, "recipe": asdict(recipe)})
    for number, (mixture, seed) in enumerate(left):
        words = _("mixture %(mixture)s, seed %(seed)s") % {"mixture": mixture.key, "seed": seed}
        beat = _Beat(job, number, len(left), words)
        outcome = _train(project, evidence, mixture, seed, recipe, beat)
        _store(mixture, seed, outcome, job)
    return len(left)


def _left(mixtures: list[int], seeds: int, recipe: Mapping[str, Any]) -> list[tuple[Mixture, int]]:
    """What is not yet trained with this very recipe; all mixtures of one seed before the next seed."""
    rows = Mixture.objects.filter(pk__in=mixtures).select_related("mixture_set").in_bulk()
    trained = MixtureScore.objects.filter(mixture__in=mixtures, fidelity=MixtureScore.TRAINED)
    done = {(row.mixture_id, row.seed) for row in trained if mixture_sets.recipe_of(row) == recipe}
    pairs = [(rows[pk], seed) for seed in range(seeds) for pk in mixtures if pk in rows]
    return [(mixture, seed) for mixture, seed in pairs if (mixture.pk, seed) not in done]


class _Beat:
    """Signs of life within one training, at most one a second."""

    def __init__(self, job: Job | None, done: int, total: int, words: str) -> None:
        self.job, self.done, self.total, self.words = job, done, total, words
        self.last = 0.0
        self(0.0)

    def __call__(self, share: float) -> None:
        if self.job and time.monotonic() - self.last >= BEAT:
            self.last = time.monotonic()
            self.job.beat(self.done, self.total, f"{self.words} · {share:.0%}")


def _train(
    project: Project, evidence: grounds.Evidence, mixture: Mixture, seed: int, recipe: Recipe, beat: _Beat
) -> reward_trainer.Outcome:
    assignment = mixture_sets.on(evidence, mixture)
    if assignment is None:
        raise work.StepRefused(
            _("Mixture %(mixture)s uses a labeler that is not there any more. Train the performance model anew first.")
            % {"mixture": mixture.key}
        )
    unseen = evidence.held_out(seed)
    rows = list(mixture_sets.training_rows(project, evidence, assignment, but=unseen))
    held = mixture_sets.held_out(project, evidence, unseen)
    try:
        return reward_trainer.train(rows, held, recipe, seed=seed, beat=beat)
    except ValueError as error:
        raise work.StepRefused(
            _("Mixture %(mixture)s cannot be trained on: %(reason)s") % {"mixture": mixture.key, "reason": error}
        ) from error


def _store(mixture: Mixture, seed: int, outcome: reward_trainer.Outcome, job: Job | None) -> None:
    with transaction.atomic():
        MixtureScore.objects.update_or_create(
            mixture=mixture,
            fidelity=MixtureScore.TRAINED,
            seed=seed,
            # The time as well: the recipe that was trained last is the one that counts.
            defaults={"score": outcome.accuracy, "detail": outcome.detail, "created_at": now()},
        )
        if job:
            job.still_mine()
