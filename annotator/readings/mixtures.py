"""Mixtures with their scores by fidelity, as a page and a CSV file show them."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from annotator.models import Mixture, MixtureScore, MixtureSet, Route


@dataclass(frozen=True)
class Measured:
    """The mean over seeds of one mixture's scores of one fidelity."""

    score: float
    seeds: int


@dataclass(frozen=True)
class Line:
    """One mixture. `shares`: of each source of its set; `cost`: of what the dearest source costs everywhere."""

    mixture: Mixture
    shares: list[float]
    people: float
    cost: float
    scores: dict[str, Measured] = field(default_factory=dict)

    @property
    def proxy(self) -> Measured | None:
        return self.scores.get(MixtureScore.PROXY)

    @property
    def dearer(self) -> bool:
        return len(self.scores) > ("proxy" in self.scores)

    def cells(self, fidelities: list[str]) -> list[Measured | None]:
        return [self.scores.get(name) for name in fidelities]


@dataclass(frozen=True)
class Fidelity:
    """A way of measuring, how many mixtures have it, and its rank correlation with the proxy (None: fewer than 5)."""

    name: str
    mixtures: int
    trainings: int
    correlation: float | None
    low: float
    high: float


def lines(mixture_set: MixtureSet) -> list[Line]:
    """Of every mixture of a set, by number."""
    scores: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = MixtureScore.objects.filter(mixture__mixture_set=mixture_set).order_by("fidelity", "seed")
    for pk, fidelity, score in rows.values_list("mixture", "fidelity", "score"):
        scores[pk][fidelity].append(score)
    found = []
    for mixture in mixture_set.mixtures.order_by("number"):
        mixture.mixture_set = mixture_set
        measured = {
            name: Measured(sum(values) / len(values), len(values)) for name, values in scores[mixture.pk].items()
        }
        found.append(_line(mixture, measured))
    return found


def _line(mixture: Mixture, scores: dict[str, Measured]) -> Line:
    sources = mixture.mixture_set.sources
    described = described_of(mixture)
    shares = described[: len(sources)]
    people = sum(share for name, share in zip(sources, shares, strict=True) if is_people(name))
    # The column is log(1 + 100 c) (`routing.mixtures.log_budget`).
    return Line(mixture, shares, people, math.expm1(described[len(sources)]) / 100, scores)


def is_people(source: str) -> bool:
    return source.split(":")[0] == Route.PEOPLE


def described_of(mixture: Mixture) -> list[float]:
    return array("d", bytes(mixture.described)).tolist()


def fidelities(found: list[Line]) -> list[Fidelity]:
    """Those beside the proxy that any line has, with the rank correlation over these lines."""
    # Not at the top: NumPy and SciPy, which other pages do not need.
    import numpy as np

    from routing.fidelity import ENOUGH, correlation

    made = []
    for name in sorted({name for line in found for name in line.scores} - {MixtureScore.PROXY}):
        pairs = [(line.proxy.score, line.scores[name]) for line in found if line.proxy and name in line.scores]
        ranks = correlation(np.array([low for low, _high in pairs]), np.array([high.score for _low, high in pairs]))
        known = ranks.value if ranks.pairs >= ENOUGH else None
        seeds = sum(high.seeds for _low, high in pairs)
        made.append(Fidelity(name, ranks.pairs, seeds, known, ranks.low, ranks.high))
    return made


# As CSV


def header(mixture_set: MixtureSet) -> list[str]:
    shares = [f"share {name}" for name in mixture_set.sources]
    return ["mixture", "people_share", "cost_share", *shares, *_bins(mixture_set), "proxy", "score", "seed", "name"]


def sheet(mixture_set: MixtureSet) -> Iterator[list[Any]]:
    """A row a mixture; `score`, `seed` and `name` are empty, to be filled in and brought back."""
    for line in lines(mixture_set):
        described = described_of(line.mixture)
        proxy = line.proxy.score if line.proxy else None
        lifts = described[len(line.shares) + 1 :]
        yield [line.mixture.key, line.people, line.cost, *line.shares, *lifts, proxy, None, None, None]


def _bins(mixture_set: MixtureSet) -> list[str]:
    """Of the columns that say where people went: "feature 1/3" is the lowest of three parts."""
    bins = mixture_set.bins
    return [
        f"{name} {number + 1}/{len(edges) + 1}"
        for name, edges in zip(bins.get("names", ()), bins.get("edges", ()), strict=True)
        for number in range(len(edges) + 1)
        if edges
    ]
