"""Mixtures: whose judgment is used for each comparison. Drawing candidates, and describing them to a performance model.

Two samplers: `sample`, ours, and `sample_hyper`, the published one. A mixture is an integer array (n,) of source
indexes, −1 where a comparison is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, qmc

from routing import hyper
from routing.features import percentile_ranks

# How strongly a mixture follows its feature direction; 0 = a random subset, which anchors the curve of the budget.
PULLS = (0.0, 0.5, 1.0, 2.0, 4.0)
# Features a direction is made of.
SPARSE = 3


def sample(
    features: np.ndarray,
    sources: int,
    count: int,
    *,
    people: int | None = 0,
    available: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """(count, n) candidate mixtures over `sources` sources that fill the space of budgets and of feature directions.

    `features` (n, k) symmetric features (`features.symmetric`; NaN = middle), `people` the index of the source that is
    people, `available` (n, s) where a source can be used. The first mixtures are each source alone. The rest take
    people's share from a scrambled Sobol sequence (even over [0, 1]), split what is left between the other sources by a
    flat Dirichlet draw, and choose which comparisons each gets by a random direction of up to 3 ranked features plus
    noise, so that columns are not copies of the budget. Comparisons whose source is not available take the first that
    is.
    """
    rng = np.random.default_rng(seed)
    ranked = _normal_scores(features)
    sobol = qmc.Sobol(2, rng=rng).random_base2(max(0, count - 1).bit_length())
    drawn = np.empty((count, len(features)), dtype=np.int16)
    for number in range(count):
        if number < sources:
            drawn[number] = number
            continue
        shares = _shares(sources, people, sobol[number, 0], rng)
        pull = PULLS[int(sobol[number, 1] * len(PULLS))]
        drawn[number] = _assign(ranked, shares, people, pull, rng)
    return drawn if available is None else _where_available(drawn, available)


def sample_hyper(
    members: np.ndarray,
    other: int,
    count: int,
    *,
    people: int = 0,
    available: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """(count, n) mixtures of people and one other source by the paper's Algorithm 1 (`routing.hyper`).

    `members` (n, q) from `Bins.members`, `other` the index of the source of what people are not given. The paper also
    trains on all-people and all-LM: they come first, as each source alone does in `sample`.
    """
    routed = hyper.sample(members, max(0, count - 2), seed)
    alone = np.array([[True], [False]]).repeat(len(members), axis=1)
    drawn = np.where(np.vstack([alone, routed])[:count], people, other).astype(np.int16)
    return drawn if available is None else _where_available(drawn, available)


def _normal_scores(features: np.ndarray) -> np.ndarray:
    ranks = np.column_stack([percentile_ranks(column) for column in features.T]) if features.shape[1] else features
    return np.asarray(norm.ppf(np.clip(np.nan_to_num(ranks, nan=0.5), 0.01, 0.99)))


def _shares(sources: int, people: int | None, people_share: float, rng: np.random.Generator) -> np.ndarray:
    if people is None or sources == 1:
        return rng.dirichlet(np.ones(sources))
    others = rng.dirichlet(np.ones(sources - 1)) * (1 - people_share)
    return np.insert(others, people, people_share)


def _assign(
    ranked: np.ndarray, shares: np.ndarray, people: int | None, pull: float, rng: np.random.Generator
) -> np.ndarray:
    """People take one end of the direction; the others divide the rest along a direction of their own."""
    n = len(ranked)
    first = 0 if people is None else people
    mixture = np.full(n, -1, dtype=np.int16)
    order = np.argsort(-_direction(ranked, pull, rng), kind="stable")
    taken = round(shares[first] * n)
    mixture[order[:taken]] = first
    rest = order[taken:]
    rest = rest[np.argsort(-_direction(ranked[rest], pull, rng), kind="stable")]
    others = [source for source in range(len(shares)) if source != first]
    left = shares[others].sum()
    ends = np.cumsum(shares[others] / left * len(rest)).round().astype(int) if left > 0 else np.zeros(len(others), int)
    for source, start, end in zip(others, np.insert(ends, 0, 0)[:-1], ends, strict=True):
        mixture[rest[start:end]] = source
    mixture[mixture < 0] = others[-1] if others else first
    return mixture


def _direction(ranked: np.ndarray, pull: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(len(ranked))
    k = ranked.shape[1]
    if not k:
        return noise
    chosen = rng.choice(k, size=min(k, int(rng.integers(1, SPARSE + 1))), replace=False)
    weights = rng.standard_normal(len(chosen))
    return np.asarray(pull * ranked[:, chosen] @ (weights / np.linalg.norm(weights)) + noise)


def _where_available(drawn: np.ndarray, available: np.ndarray) -> np.ndarray:
    fallback = np.where(available.any(axis=1), available.argmax(axis=1), -1)
    usable = available[np.arange(available.shape[0]), drawn]
    return np.where(usable, drawn, fallback).astype(np.int16)


@dataclass(frozen=True)
class Bins:
    """Bins of every feature over the whole project. `edges[j]` are inner edges: bin = number of edges ≤ value."""

    names: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, features: np.ndarray, names: Sequence[str], count: int = 3) -> Bins:
        """Quantile bins that do not overlap; a feature with few values gets fewer, a constant one none."""
        return cls(tuple(names), tuple(_edges(column[~np.isnan(column)], count) for column in features.T))

    def members(self, features: np.ndarray) -> np.ndarray:
        """(n, q) bool, which bins each comparison is in; one bin a feature, none where the feature is NaN."""
        columns = [
            (np.searchsorted(edges, column, "right") == number) & ~np.isnan(column)
            for column, edges in zip(features.T, self.edges, strict=True)
            for number in range(len(edges) + 1)
            if edges
        ]
        return np.column_stack(columns) if columns else np.empty((len(features), 0), dtype=bool)

    @property
    def labels(self) -> list[tuple[str, int, int]]:
        """(feature, bin, bins) of each column of `members`."""
        return [
            (name, number, len(edges) + 1)
            for name, edges in zip(self.names, self.edges, strict=True)
            for number in range(len(edges) + 1)
            if edges
        ]


def _edges(values: np.ndarray, count: int) -> tuple[float, ...]:
    if not len(values) or values.min() == values.max():
        return ()
    quantiles = np.quantile(values, np.arange(1, count) / count)
    edges = np.unique(quantiles[quantiles > values.min()])
    return tuple(edges.tolist()) or (float(values[values > values.min()].min()),)


def describe(
    mixtures: np.ndarray, members: np.ndarray, prices: np.ndarray, people: np.ndarray | Sequence[bool]
) -> np.ndarray:
    """(m, s + 1 + q) what a performance model reads of m mixtures.

    `members` (n, q) from `Bins.members`, `prices` (n, s) or (s,) money a comparison, `people` (s,) which sources are
    people. Columns: share of each source; log budget; for each bin, people's share of it minus people's share of all
    (so that the column says where people went and is no copy of how many; 0 for an empty bin). Shares, not counts: a
    model fitted on the seed set reads mixtures of the whole project.
    """
    m, n = mixtures.shape
    prices = np.broadcast_to(np.asarray(prices, dtype=np.float64), (n, np.shape(prices)[-1]))
    shares = np.column_stack([(mixtures == source).mean(axis=1) for source in range(prices.shape[1])])
    to_people = (np.asarray(people, dtype=bool)[mixtures] & (mixtures >= 0)).astype(np.float64)
    size = members.sum(axis=0)
    within = np.divide(to_people @ members, size, out=np.zeros((m, members.shape[1])), where=size > 0)
    overall = to_people.mean(axis=1, keepdims=True)
    lift = np.where(size > 0, within - overall, 0.0)
    return np.hstack([shares, log_budget(mixtures, prices)[:, None], lift])


def log_budget(mixtures: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """(m,) log(1 + 100 c), c = cost over the cost of the dearest source for everything: no unit, 0 when free."""
    paid = np.where(mixtures >= 0, prices[np.arange(len(prices)), mixtures], 0.0).sum(axis=1)
    dearest = prices.max(axis=1).sum()
    return np.log1p(100 * paid / dearest) if dearest > 0 else np.zeros(len(mixtures))


def labels_of(mixtures: np.ndarray, p_b: np.ndarray) -> np.ndarray:
    """(m, n) the label each mixture trains on: the chosen source's `p_b` (n, s); NaN where left out or unknown."""
    chosen = p_b[np.arange(len(p_b)), np.maximum(mixtures, 0)]
    return np.where(mixtures >= 0, chosen, np.nan)
