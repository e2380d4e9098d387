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
comparisons, prompts, mixtures, judgments, sources, bins, l2, seconds
sampling_error   standard error of an accuracy measured on these comparisons, that of the combination included
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
from celery import shared_task
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotator.models import Job, Labeler, PerformanceModel, Project, Route
from annotator.pipeline import signals, versions, work
from routing import artifact, features, mixtures, performance, reward_proxy, strategies, traits

KIND = "performance-model"
MIXTURES = 200
# Mixtures scored at once: the job beats after each block.
BLOCK = 25
# The noise ceiling: this many mixtures, each with as many seeds.
CEILING = (24, 4)
# Fewer judged comparisons or prompts than this cannot tell one mixture from another.
ENOUGH_JUDGED, ENOUGH_PROMPTS = 100, 8


@dataclass
class Evidence:
    """The comparisons that people judged, as routing trains on them: n rows, s sources of which column 0 is people."""

    names: list[str]
    prices: np.ndarray
    design: np.ndarray
    traits: np.ndarray
    members: np.ndarray
    bins: mixtures.Bins
    p_b: np.ndarray
    votes: np.ndarray
    groups: np.ndarray

    @property
    def people(self) -> np.ndarray:
        return np.asarray(self.p_b[:, 0])


@shared_task(name=work.TASKS[Job.Kind.RETRAIN])
def run_retrains() -> int:
    return work.work(Job.Kind.RETRAIN, _job)


def _job(job: Job) -> str:
    model = retrain(job.project, seed=int(job.parameters.get("seed", 0)), job=job)
    return _("Performance model %(version)s: %(kind)s") % {"version": model.version, "kind": model.kind}


def retrain(project: Project, *, seed: int = 0, job: Job | None = None) -> PerformanceModel:
    """A new version of the performance model from everything judged so far.

    Raises StepRefused, saying what is missing, when too little is judged or no labeler answered it.
    """
    known = signals.load(project)
    evidence = gather(project, known)
    l2 = reward_proxy.choose_l2(evidence.design, evidence.people, evidence.groups, seed=seed)
    drawn = traits.sample(evidence.traits, len(evidence.names), MIXTURES, available=~np.isnan(evidence.p_b), seed=seed)
    scores = _scores(evidence, drawn, l2, seed, job)
    described = mixtures.describe(drawn, evidence.members, evidence.prices, _is_people(evidence.names))
    chosen = performance.choose(described, scores, budget_column=len(evidence.names), seed=seed)
    # Once an outer fold is enough: every repeat trains five more models of every kind.
    nested = performance.nested_score(performance.Chosen(len(evidence.names), repeats=1, seed=seed), described, scores)
    metrics = performance.as_dict(chosen) | {
        "nested": vars(nested),
        "noise_ceiling": performance.noise_ceiling(_repeated(evidence, drawn, l2, seed)),
        "comparisons": len(evidence.votes),
        "prompts": len(np.unique(evidence.groups)),
        "mixtures": len(drawn),
        "sources": evidence.names,
        "bins": {"names": evidence.bins.names, "edges": evidence.bins.edges},
        "l2": l2,
        "sampling_error": _sampling_error(evidence, scores),
    }
    return _store(project, known, chosen, metrics, seed, job)


def gather(project: Project, known: signals.Signals) -> Evidence:
    """The judged comparisons of `known`. Raises StepRefused when they are too few or no labeler answered them."""
    judged = known.judged
    prompts = len(np.unique(known.groups[judged]))
    if judged.sum() < ENOUGH_JUDGED or prompts < ENOUGH_PROMPTS:
        raise work.StepRefused(
            _(
                "People have judged %(judged)s comparisons of %(prompts)s prompts. A performance model needs at least "
                "%(enough)s of %(several)s prompts: make a plan by “random mixture” first."
            )
            % {
                "judged": int(judged.sum()),
                "prompts": prompts,
                "enough": ENOUGH_JUDGED,
                "several": ENOUGH_PROMPTS,
            }
        )
    columns = signals.usable(known)
    if not columns:
        raise work.StepRefused(
            _("No AI labeler has answered what people judged. On the labelers page, run one on people's comparisons.")
        )
    labelers = [known.labelers[column] for column in columns]
    problem = problem_of(project, known, labelers, signals.fewer_votes(project, known))
    bins = mixtures.Bins.fit(problem.described, traits.names_of(problem.names))
    signed = known.features[:, features.signed(known.names)]
    return Evidence(
        names=[source.name for source in problem.sources],
        prices=problem.units[judged] / float(strategies.UNIT),
        design=reward_proxy.design(
            known.prompt[judged], known.a[judged], known.b[judged], signed[judged], reward_proxy.scales(signed)
        ),
        traits=problem.described[judged],
        members=bins.members(problem.described[judged]),
        bins=bins,
        p_b=problem.p_b[judged],
        votes=known.votes[judged],
        groups=known.groups[judged],
    )


def problem_of(
    project: Project, known: signals.Signals, labelers: list[Labeler], votes: Sequence[int] = ()
) -> strategies.Problem:
    """The project's comparisons as routing sees them: people first, then `labelers`, then people with fewer `votes`.

    A recorded labeler or an ensemble can be used where it has answered, another one everywhere. Raises StepRefused
    when a judge cannot be used as configured.
    """
    columns = [known.labelers.index(labeler) for labeler in labelers]
    prices = [signals.prices(labeler, known.ids) for labeler in labelers]
    people_price = project.price_per_judgment * project.votes
    answered = ~np.isnan(known.p_b[:, columns])
    # An ensemble costs nothing where its members have judged, and cannot judge anywhere else.
    stored = (versions.RECORDED, versions.ENSEMBLE)
    can_judge = np.array([labeler.kind not in stored for labeler in labelers], dtype=bool)
    everywhere = np.ones(len(known.ids), dtype=bool)
    problem = strategies.Problem(
        features=features.symmetric(known.features, known.names),
        names=known.names,
        sources=(
            strategies.Source(Route.PEOPLE, people_price, is_people=True, votes=project.votes),
            *(strategies.Source(each.name, _mean(price)) for each, price in zip(labelers, prices, strict=True)),
            *signals.people_sources(project, votes),
        ),
        p_b=np.column_stack(
            [known.people, known.p_b[:, columns], *(signals.first_votes(project, known.ids, each) for each in votes)]
        ),
        groups=known.groups,
        votes=known.votes,
        prices=_price_matrix(project, prices, votes) if any(len(set(price)) > 1 for price in prices) else None,
        available=np.column_stack([everywhere, answered | can_judge, *[everywhere] * len(votes)]),
    )
    return replace(problem, traits=traits.traits(problem))


def _mean(prices: list[Decimal]) -> Decimal:
    """The price shown for a labeler whose price differs between comparisons."""
    return (sum(prices, Decimal(0)) / max(1, len(prices))).quantize(Decimal("1e-8"), ROUND_UP)


def _price_matrix(project: Project, labelers: list[list[Decimal]], votes: Sequence[int]) -> np.ndarray:
    """(n, s) Decimals, people first."""
    people = [project.price_per_judgment * each for each in (project.votes, *votes)]
    whole = [np.full(len(labelers[0]), price, dtype=object) for price in people]
    return np.column_stack([whole[0], *(np.array(row) for row in labelers), *whole[1:]])


@dataclass(frozen=True)
class Learnt:
    """A stored performance model: what cross-validation chose, its bins, and the published one (None: not fitted)."""

    chosen: performance.Chosen
    bins: mixtures.Bins
    paper: Any = None


def load(model: PerformanceModel) -> Learnt:
    """What was learnt. Raises routing.artifact.ArtifactMismatch when the file is not the stored one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        with default_storage.open(model.artifact) as stored:
            path.write_bytes(stored.read())
        stored = artifact.load(path, kind=KIND, sha256=model.artifact_sha256)
    # Versions before 0.4 stored the chosen model alone.
    fitted = stored if isinstance(stored, dict) else {"chosen": stored}
    bins = model.metrics["bins"]
    return Learnt(bins=mixtures.Bins(tuple(bins["names"]), tuple(tuple(edges) for edges in bins["edges"])), **fitted)


def _is_people(names: list[str]) -> list[bool]:
    return [signals.is_people(name) for name in names]


def _scores(evidence: Evidence, drawn: np.ndarray, l2: float, seed: int, job: Job | None) -> np.ndarray:
    """(m,) accuracy of each mixture's proxy reward model on prompts it has not seen."""
    targets = mixtures.labels_of(drawn, evidence.p_b)
    blocks = []
    for start in range(0, len(drawn), BLOCK):
        if job:
            job.beat(start, len(drawn), _("training proxy reward models"))
        blocks.append(
            reward_proxy.cross_fitted_accuracy(
                evidence.design,
                targets[start : start + BLOCK],
                evidence.people,
                evidence.votes,
                evidence.groups,
                l2=l2,
                seed=seed,
                repeats=2,
            )
        )
    return np.concatenate(blocks)


def _repeated(evidence: Evidence, drawn: np.ndarray, l2: float, seed: int) -> np.ndarray:
    """(mixtures, seeds) scores of the same mixtures with new draws: what no performance model can explain."""
    count, seeds = CEILING
    targets = mixtures.labels_of(drawn[: min(count, len(drawn))], evidence.p_b)
    return np.column_stack(
        [
            reward_proxy.cross_fitted_accuracy(
                evidence.design,
                targets,
                evidence.people,
                evidence.votes,
                evidence.groups,
                l2=l2,
                seed=seed + 1 + number,
                resample=True,
            )
            for number in range(seeds)
        ]
    )


def _sampling_error(evidence: Evidence, scores: np.ndarray) -> float:
    """Standard error of an accuracy measured on these comparisons: the part of the interval all mixtures share.

    Two right and two wrong are added (Agresti and Coull 1998), so that no accuracy counts as known exactly.
    """
    weight = evidence.votes[(evidence.people != 0.5)].astype(float)
    effective = weight.sum() ** 2 / np.square(weight).sum()
    mean = (float(np.mean(scores)) * effective + 2) / (effective + 4)
    return float(np.sqrt(mean * (1 - mean) / (effective + 4)))


def _store(
    project: Project,
    known: signals.Signals,
    chosen: performance.Chosen,
    metrics: dict[str, Any],
    seed: int,
    job: Job | None = None,
) -> PerformanceModel:
    """The file before the row that names it: a crash leaves at most an unused file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        sha256 = artifact.save(path, chosen, kind=KIND, digest=known.feature_set.digest)
        content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == sha256
    address = default_storage.save(f"projects/{project.pk}/performance-model-{sha256[:12]}", ContentFile(content))
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        newest = project.performance_models.aggregate(newest=Max("version"))["newest"] or 0
        model = PerformanceModel.objects.create(
            project=project,
            version=newest + 1,
            kind=chosen.kind_,
            metrics=metrics,
            feature_set=known.feature_set,
            artifact=address,
            artifact_sha256=sha256,
            seed=seed,
        )
        if job:
            job.still_mine()
    return model
