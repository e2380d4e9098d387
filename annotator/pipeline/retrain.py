"""Retrain: learn from what is judged how good a reward model on a mixture would be (the performance model).

Proxy reward models are trained for many mixtures of the comparisons that people judged, each scored on people's
majority of prompts it has not seen; the performance model maps a mixture's description to that score. What was drawn
and how it scored is kept (`mixture_sets`). Where reward models were trained on enough of the mixtures, here or
elsewhere, the two fidelities are combined (`routing.fidelity`) and the model learns the combined score.

`PerformanceModel.metrics`, all of it JSON; scores are accuracies in [0, 1]:

kind, skill, beats_budget, coverage_90, scores   `routing.performance.as_dict`; coverage_90 is the held-out share of
                 mixtures inside their 90% interval
nested           {"rmse", "rmse_error", "spearman", "spearman_low", "spearman_high"} of choosing, on unseen mixtures
noise_ceiling    {"deviation", "reliability", "correlation"} (`routing.performance.noise_ceiling`)
observed         [[predicted, observed, low, high], …], a row a mixture: the prediction and its 90% interval by models
                 that were chosen and fitted without that mixture, and the score it was measured at
coverage_observed   share of `observed` inside [low, high]
effects          [{"name", "bin", "bins", "effect", "low", "high"}, …], largest first: accuracy points (0.01) by which
                 predicted performance rises when a tenth of all of people's judgments is moved from elsewhere to the
                 comparisons in this bin of the feature (`routing.effects`), with a 90% bootstrap interval. `name`: a
                 key of `routing.traits.NAMES`; `bin` of `bins` counts from 0 = lowest. Empty without skill
fidelities       {"target": "proxy" or the fidelity that was combined with it, "text": why, in words,
                  "proxy": {"mixtures"}, and for each other fidelity that any mixture has a score of, by its name,
                  {"mixtures", "spearman", "low", "high" (of the rank correlation with the proxy, 95%), "slope",
                   "slope_error", "deviation" (of what the combination leaves open; these three null without one)}}
paper            {"kind": {"rmse", "spearman"}, …} of the published models on mixtures drawn as published, with
                 {"mixtures"}; absent where they could not be fitted
mixture_set      number of the stored mixtures
comparisons, prompts   that were learnt from: people judged them by chance; `judged` counts what rankings sent them, too
mixtures, judgments, sources, bins, l2, seconds
sampling_error   standard error of an accuracy measured on these comparisons, that of the combination included
paired           `routing.paired.Paired.as_dict`: what these comparisons leave open of the difference of two plans
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from celery import shared_task
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotator.models import Job, Judgment, MixtureScore, PerformanceModel, Project
from annotator.pipeline import mixture_sets, signals, work

# Also under this module's name for whoever reads what it learnt.
from annotator.pipeline.grounds import gather, problem_of
from routing import artifact, effects, fidelity, mixtures, performance, traits
from routing.evidence import Evidence
from routing.paired import paired
from routing.published import Published, published
from routing.unseen import unseen

__all__ = ["Learnt", "gather", "judgments_of_people", "load", "problem_of", "retrain"]

KIND = "performance-model"
# Of our own sampler, and of the published one for the published models.
MIXTURES, PUBLISHED = 200, 200
# Effects that are kept: the largest.
EFFECTS = 40
# The noise ceiling: this many mixtures, each with as many seeds.
CEILING = (24, 4)
# Mixtures whose differences tell how well a difference is known.
PAIRED = 30


@shared_task(name=work.TASKS[Job.Kind.RETRAIN])
def run_retrains() -> int:
    return work.work(Job.Kind.RETRAIN, _job)


def _job(job: Job) -> str:
    model = retrain(job.project, seed=int(job.parameters.get("seed", 0)), job=job)
    return _("Performance model %(version)s: %(kind)s") % {"version": model.version, "kind": model.kind}


@dataclass
class _Learning:
    """What one training works on: m mixtures of ours, then those of earlier sets that were measured dearer."""

    evidence: Evidence
    l2: float
    seed: int
    drawn: np.ndarray
    scores: np.ndarray
    described: np.ndarray
    dearer: mixture_sets.Dearer


def retrain(project: Project, *, seed: int = 0, job: Job | None = None) -> PerformanceModel:
    """A new version of the performance model from everything judged so far.

    Raises StepRefused, saying what is missing, when too little is judged or no labeler answered it.
    """
    started = time.monotonic()
    known = signals.load(project)
    learning = _measure(project, gather(project, known), seed, _beat(job, _("training proxy reward models")))
    target, stack, told = _target(learning)
    chosen, metrics = _choose(learning, target, _beat(job, _("choosing the performance model")))
    _beat(job, _("fitting the published model"))(0, 1)
    paper = published(learning.evidence, PUBLISHED, learning.l2, seed)
    metrics |= _counted(learning) | {"fidelities": told, "judgments": judgments_of_people(project)}
    metrics |= {"judged": int(known.judged.sum()), "sampling_error": _sampling_error(learning, stack)}
    if paper:
        metrics["paper"] = paper.told
    metrics["seconds"] = round(time.monotonic() - started, 1)
    fitted = {"chosen": chosen, "paper": paper.fitted if paper else None}
    return _store(project, known, fitted, metrics, seed, job, _kept(learning, paper))


def _choose(
    learning: _Learning, target: np.ndarray, beat: Callable[[int, int], None]
) -> tuple[performance.Chosen, dict[str, Any]]:
    """The performance model, and what is told of how well it predicts."""
    evidence, seed = learning.evidence, learning.seed
    beat(0, 2)
    chosen = performance.choose(learning.described, target, budget_column=len(evidence.names), seed=seed)
    beat(1, 2)
    # Once an outer fold is enough: every repeat trains five more models of every kind.
    fresh = performance.Chosen(len(evidence.names), repeats=1, seed=seed)
    honest = unseen(fresh, learning.described, target)
    again = evidence.repeated(learning.drawn[: CEILING[0]], learning.l2, seed, CEILING[1])
    return chosen, performance.as_dict(chosen) | {
        "nested": vars(honest.score),
        "observed": honest.rows(),
        "coverage_observed": honest.coverage,
        "noise_ceiling": performance.noise_ceiling(again),
        "effects": _effects(learning, target) if chosen.skill_ else [],
    }


def _counted(learning: _Learning) -> dict[str, Any]:
    """What was learnt from, and what the sample leaves open between two plans."""
    evidence = learning.evidence
    return {
        "comparisons": len(evidence.votes),
        "prompts": len(np.unique(evidence.groups)),
        "mixtures": len(learning.drawn),
        "sources": evidence.names,
        "bins": {"names": evidence.bins.names, "edges": evidence.bins.edges},
        "l2": learning.l2,
        "paired": paired(evidence, learning.drawn[:PAIRED], learning.l2, learning.seed).as_dict(),
    }


def _sampling_error(learning: _Learning, stack: fidelity.Stack | None) -> float:
    sampled = learning.evidence.sampling_error(learning.scores)
    return float(np.hypot(sampled, stack.deviation if stack is not None else 0.0))


def judgments_of_people(project: Project) -> int:
    """How many there are to learn from."""
    return Judgment.objects.effective().levels_of_people().filter(project=project).count()


def _beat(job: Job | None, words: str) -> Callable[[int, int], None]:
    return lambda done, total: job.beat(done, total, words) if job else None


def _measure(project: Project, evidence: Evidence, seed: int, beat: Callable[[int, int], None]) -> _Learning:
    """Draw mixtures, take those beside them that were measured dearer, and score all of them by proxies."""
    l2 = evidence.penalty(seed)
    ours = traits.sample(evidence.traits, len(evidence.names), MIXTURES, available=evidence.available, seed=seed)
    dearer = mixture_sets.dearer(project, evidence)
    drawn = np.vstack([ours, dearer.drawn])
    return _Learning(
        evidence, l2, seed, drawn, evidence.scores(drawn, l2, seed, beat), evidence.described(drawn), dearer
    )


# Two fidelities


def _target(learning: _Learning) -> tuple[np.ndarray, fidelity.Stack | None, dict[str, Any]]:
    """(m,) what the model learns to predict, the stack that made it (None: proxies alone), and what to tell of it."""
    told: dict[str, Any] = {"proxy": {"mixtures": len(learning.drawn)}}
    stacks = {name: _stack(learning, pairs) for name, pairs in learning.dearer.scores.items()}
    for name, stack in stacks.items():
        found = stack.correlation
        told[name] = {
            "mixtures": found.pairs,
            "spearman": found.value,
            "low": found.low,
            "high": found.high,
            "slope": stack.slope if stack.used else None,
            "slope_error": stack.slope_error if stack.used else None,
            "deviation": stack.deviation if stack.used else None,
        }
    best = _best(learning, stacks)
    if best is None:
        words = next((stack.text for stack in stacks.values()), _("Mixtures were measured by proxies alone."))
        return learning.scores, None, told | {"target": MixtureScore.PROXY, "text": words}
    target = stacks[best].predict(learning.scores, learning.described)
    return target, stacks[best], told | {"target": best, "text": stacks[best].text}


def _stack(learning: _Learning, pairs: list[tuple[int, float]]) -> fidelity.Stack:
    which = np.array([place for place, _score in pairs]) + len(learning.drawn) - len(learning.dearer.drawn)
    scores = np.array([score for _place, score in pairs])
    return fidelity.Stack().fit(learning.scores, scores, which, learning.described)


def _best(learning: _Learning, stacks: dict[str, fidelity.Stack]) -> str | None:
    """The fidelity with most mixtures; of equal ones one from outside. Plans speak of accuracies, so it must be one."""
    able = [
        name
        for name, stack in stacks.items()
        if stack.used and all(0 <= score <= 1 for _place, score in learning.dearer.scores[name])
    ]
    return max(able, key=lambda name: (stacks[name].correlation.pairs, name != MixtureScore.TRAINED), default=None)


# What the pages tell


def _effects(learning: _Learning, target: np.ndarray) -> list[dict[str, Any]]:
    people = np.isin(learning.drawn, np.flatnonzero(learning.evidence.is_people)).mean(axis=1)
    found = effects.effects(
        learning.described,
        target,
        learning.evidence.members,
        learning.evidence.bins.labels,
        people,
        seed=learning.seed,
    )
    return [vars(each) for each in found[:EFFECTS]]


@dataclass(frozen=True)
class Learnt:
    """A stored performance model: what cross-validation chose, its bins, and the published one (None: not fitted)."""

    chosen: performance.Chosen
    bins: mixtures.Bins
    paper: Any = None


class Unreadable(work.StepRefused):
    """A stored performance model that this version of Switchyard cannot use; its words say what to do."""


def load(model: PerformanceModel) -> Learnt:
    """What was learnt. Raises Unreadable when the file is not the stored one, or of an earlier version."""
    try:
        fitted = _fitted(model)
    # What unpickling raises when a class has moved or changed since.
    except (artifact.ArtifactMismatch, AttributeError, ImportError, TypeError, KeyError) as error:
        raise _unreadable(model) from error
    if not isinstance(fitted, dict) or not hasattr(fitted.get("chosen"), "intervals_"):
        raise _unreadable(model)
    bins = model.metrics["bins"]
    return Learnt(bins=mixtures.Bins(tuple(bins["names"]), tuple(tuple(edges) for edges in bins["edges"])), **fitted)


def _fitted(model: PerformanceModel) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        with default_storage.open(model.artifact) as stored:
            path.write_bytes(stored.read())
        return artifact.load(path, kind=KIND, sha256=model.artifact_sha256)


def _unreadable(model: PerformanceModel) -> Unreadable:
    words = _("Performance model %(version)s was stored by another version of Switchyard: train it anew.")
    return Unreadable(words % {"version": model.version})


def _kept(learning: _Learning, paper: Published | None) -> list[mixture_sets.Drawn]:
    """Mixtures that were drawn and scored here."""
    ours, evidence = len(learning.drawn) - len(learning.dearer.drawn), learning.evidence
    drawn, scores = learning.drawn[:ours], learning.scores[:ours]
    kept = [mixture_sets.Drawn(evidence, mixture_sets.SPACE_FILLING, drawn, scores)]
    if paper:
        kept.append(mixture_sets.Drawn(evidence, mixture_sets.PUBLISHED, paper.drawn, paper.scores))
    return kept


def _store(
    project: Project,
    known: signals.Signals,
    fitted: dict[str, Any],
    metrics: dict[str, Any],
    seed: int,
    job: Job | None = None,
    kept: Sequence[mixture_sets.Drawn] = (),
) -> PerformanceModel:
    """The file before the rows that name it: a crash leaves at most an unused file."""
    address, sha256 = _file(project, known.feature_set.digest, fitted)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        newest = project.performance_models.aggregate(newest=Max("version"))["newest"] or 0
        detail = {"performance_model": newest + 1, "l2": metrics.get("l2"), "comparisons": metrics.get("comparisons")}
        sets = [mixture_sets.keep(project, known.feature_set, each, seed=seed, detail=detail).number for each in kept]
        model = PerformanceModel.objects.create(
            project=project,
            version=newest + 1,
            kind=fitted["chosen"].kind_,
            metrics=metrics | {"mixture_set": sets[0] if sets else None},
            feature_set=known.feature_set,
            artifact=address,
            artifact_sha256=sha256,
            judgments=metrics.get("judgments", 0),
            seed=seed,
        )
        if job:
            job.still_mine()
    return model


def _file(project: Project, digest: str, fitted: dict[str, Any]) -> tuple[str, str]:
    """Address and SHA-256 of what was fitted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        sha256 = artifact.save(path, fitted, kind=KIND, digest=digest)
        content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == sha256
    return default_storage.save(f"projects/{project.pk}/performance-model-{sha256[:12]}", ContentFile(content)), sha256
