"""Mixtures as they are kept: stored once drawn, read back years later, and measured again by dearer means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Max

from annotator import protocols
from annotator.formats.source import Judged, Label, Options, Prompt, Response, Source
from annotator.formats.trainers.trl import TrlReward
from annotator.models import Comparison, FeatureSet, Mixture, MixtureScore, MixtureSet, Project
from routing import mixtures
from routing.evidence import Evidence
from routing.reward_trainer import Held

SPACE_FILLING, PUBLISHED = "space-filling", "hyper"
# Conversations in memory at once.
PAGE = 500
# A soft label says how far the better side is ahead, whoever gave it.
OPTIONS = Options(margin="soft")


@dataclass(frozen=True)
class Drawn:
    """Mixtures `drawn` (m, n) of the evidence's comparisons by one sampler, and their proxy `scores` (m,)."""

    evidence: Evidence
    sampler: str
    drawn: np.ndarray
    scores: np.ndarray


def keep(project: Project, feature_set: FeatureSet, made: Drawn, *, seed: int, detail: dict[str, Any]) -> MixtureSet:
    """Store mixtures with their scores, in the caller's transaction. The caller holds the project's row: numbers
    follow each other."""
    newest, evidence = project.mixture_sets.aggregate(newest=Max("number"))["newest"] or 0, made.evidence
    stored = MixtureSet.objects.create(
        project=project,
        number=newest + 1,
        sources=evidence.names,
        comparisons=evidence.comparisons.astype(np.int64).tobytes(),
        sampler=made.sampler,
        seed=seed,
        feature_set=feature_set,
        bins={"names": evidence.bins.names, "edges": evidence.bins.edges},
    )
    rows = Mixture.objects.bulk_create(_rows(stored, made))
    MixtureScore.objects.bulk_create(
        MixtureScore(mixture=mixture, fidelity=MixtureScore.PROXY, seed=seed, score=float(score), detail=detail)
        for mixture, score in zip(rows, made.scores, strict=True)
    )
    return stored


def _rows(stored: MixtureSet, made: Drawn) -> list[Mixture]:
    described = made.evidence.described(made.drawn)
    return [
        Mixture(
            mixture_set=stored,
            number=number + 1,
            assignment=assignment.astype(np.int8).tobytes(),
            described=row.astype(np.float64).tobytes(),
        )
        for number, (assignment, row) in enumerate(zip(made.drawn, described, strict=True))
    ]


def comparisons_of(mixture_set: MixtureSet) -> np.ndarray:
    """(n,) ids, ascending."""
    return np.frombuffer(mixture_set.comparisons, dtype=np.int64)


def assignment_of(mixture: Mixture) -> np.ndarray:
    """(n,) a source's index of its set, −1 where left out."""
    return np.frombuffer(mixture.assignment, dtype=np.int8).astype(np.int16)


def described_of(mixture: Mixture) -> np.ndarray:
    return np.frombuffer(mixture.described, dtype=np.float64)


def on(evidence: Evidence, mixture: Mixture) -> np.ndarray | None:
    """(n,) the mixture on today's comparisons and sources, −1 for comparisons that it did not know.

    None when it uses a source that is not there any more, or nothing of it is left.
    """
    sources = mixture.mixture_set.sources
    places = np.array([evidence.names.index(name) if name in evidence.names else -1 for name in sources])
    then, ids = assignment_of(mixture), comparisons_of(mixture.mixture_set)
    used = then >= 0
    if (places[then[used]] < 0).any():
        return None
    found = np.searchsorted(evidence.comparisons, ids)
    there = used & (found < len(evidence.comparisons))
    there[there] = evidence.comparisons[found[there]] == ids[there]
    now = np.full(len(evidence.comparisons), -1, dtype=np.int16)
    now[found[there]] = places[then[there]]
    return now if there.any() else None


@dataclass
class Dearer:
    """Mixtures of earlier sets that were measured by more than proxies, on today's comparisons: `drawn` (k, n).

    `scores`: fidelity → [(row of `drawn`, score)], a seed each.
    """

    drawn: np.ndarray
    scores: dict[str, list[tuple[int, float]]]


def dearer(project: Project, evidence: Evidence) -> Dearer:
    """What is known beside proxies, of every mixture that can still be said on today's evidence."""
    rows = MixtureScore.objects.filter(mixture__mixture_set__project=project).exclude(fidelity=MixtureScore.PROXY)
    rows = rows.select_related("mixture__mixture_set").order_by("mixture_id", "fidelity", "seed")
    latest = newest_recipe(project)
    drawn: list[np.ndarray] = []
    places: dict[int, int | None] = {}
    scores: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        if row.fidelity == MixtureScore.TRAINED and recipe_of(row) != latest:
            continue  # another model's accuracies are another scale
        if row.mixture_id not in places:
            now = on(evidence, row.mixture)
            places[row.mixture_id] = None if now is None else len(drawn)
            drawn += [] if now is None else [now]
        place = places[row.mixture_id]
        if place is not None:
            scores[row.fidelity].append((place, row.score))
    return Dearer(np.array(drawn, dtype=np.int16).reshape(len(drawn), len(evidence.comparisons)), dict(scores))


def recipe_of(score: MixtureScore) -> dict[str, Any]:
    """What a trained score was trained with, the seed left out."""
    return {"model": score.detail.get("model"), "recipe": score.detail.get("recipe")}


def newest_recipe(project: Project) -> dict[str, Any] | None:
    trained = MixtureScore.objects.filter(mixture__mixture_set__project=project, fidelity=MixtureScore.TRAINED)
    newest = trained.order_by("-created_at", "-pk").first()
    return recipe_of(newest) if newest else None


# As data to train on


def judged(project: Project, ids: np.ndarray, p_b: np.ndarray, names: list[str]) -> Iterator[Judged]:
    """Comparisons `ids` (n,) with the label `p_b` (n,) of the source `names` (n,), as exports take them."""
    for start in range(0, len(ids), PAGE):
        part = slice(start, start + PAGE)
        known = Comparison.objects.filter(project=project).select_related("prompt", "response_a", "response_b")
        rows = known.in_bulk([int(each) for each in ids[part]])
        for pk, probability, name in zip(ids[part].tolist(), p_b[part].tolist(), names[part], strict=True):
            if pk in rows:
                yield _judged(rows[pk], probability, name)


def _judged(row: Comparison, p_b: float, source: str) -> Judged:
    return Judged(
        key=row.external_id,
        prompt=Prompt(row.prompt.external_id, row.prompt.turns, row.prompt.context),
        response_a=Response(row.response_a.external_id, row.response_a.text, row.response_a.model),
        response_b=Response(row.response_b.external_id, row.response_b.text, row.response_b.model),
        label=Label(source, p_b, None, None, None, 1, 0),
        votes=(),
    )


class _Labels(Source):
    """A mixture's labels as what an export is written from."""

    def __init__(self, project: Project, ids: np.ndarray, p_b: np.ndarray, names: list[str]) -> None:
        self.arguments = (project, ids, p_b, names)

    def judged(self) -> Iterator[Judged]:
        return judged(*self.arguments)


def training_rows(
    project: Project, evidence: Evidence, assignment: np.ndarray, but: np.ndarray | None = None
) -> Iterator[dict[str, Any]]:
    """The mixture (n,) in TRL's preference format, as the export `trl_reward` writes it; ties are left out.

    `but` (n,) bool: comparisons that are not trained on.
    """
    labels = mixtures.labels_of(assignment[None], evidence.p_b)[0]
    used = ~np.isnan(labels) & (~but if but is not None else True)
    writer = TrlReward(protocols.read(project.protocol.definition), OPTIONS)
    names = [evidence.names[source] for source in assignment[used]]
    for row in writer.rows(_Labels(project, evidence.comparisons[used], labels[used], names)):
        yield row.values


def held_out(project: Project, evidence: Evidence, chosen: np.ndarray) -> list[Held]:
    """People's majorities on the comparisons `chosen` (n,), to score on."""
    ids, p_b = evidence.comparisons[chosen], evidence.people[chosen]
    votes = dict(zip(ids.tolist(), evidence.votes[chosen].tolist(), strict=True))
    rows = Comparison.objects.filter(project=project).select_related("prompt", "response_a", "response_b")
    found = rows.in_bulk(list(votes))
    return [
        Held(_conversation(found[pk], "a"), _conversation(found[pk], "b"), probability, votes[pk])
        for pk, probability in zip(ids.tolist(), p_b.tolist(), strict=True)
        if pk in found and probability != 0.5
    ]


def _conversation(row: Comparison, side: str) -> list[dict[str, str]]:
    prompt = Prompt(row.prompt.external_id, row.prompt.turns, row.prompt.context)
    return [*prompt.messages, {"role": "assistant", "content": getattr(row, f"response_{side}").text}]
