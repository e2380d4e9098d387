"""How good probabilities are against what people said: accuracy, AUC, Brier, log loss, ECE, each with an interval.

Which response is called A is arbitrary, so every measure is the same when A and B change places. Intervals are 95%
percentile bootstrap intervals that draw whole prompts (comparisons of one prompt share its difficulty and its
responses); the same seed draws the same prompts, so differences of two labelers are paired.

People are given as shares of votes for B, ties one half. Where they tie there is no side to name: accuracy and AUC
leave such comparisons out, Brier and log loss keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, xlogy

Floats = NDArray[np.float64]
# Sums over the comparisons of a draw, (replicates, k) → the measure of each draw, (replicates,).
Combine = Callable[[Floats], Floats]
# How often each comparison was drawn, (replicates, n) → the measure of each draw, (replicates,).
Measure = Callable[[Floats], Floats]

REPLICATES = 1000
# Numbers in one working matrix (replicates × comparisons).
BLOCK = 2_000_000
# Log loss would be infinite for one wrong verdict that was given without doubt.
EPSILON = 1e-3
# Bins of sureness hold at least so many comparisons, and there are at most so many bins.
LEAST_IN_BIN, MOST_BINS = 20, 10
Z95 = 1.959964


@dataclass(frozen=True)
class Value:
    """A measure with its 95% interval, and the number of comparisons it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Of two labelers on the same comparisons; above 0 means that the first is better."""

    difference: float | None
    low: float | None
    high: float | None
    worse: bool
    better: bool
    n: int


@dataclass(frozen=True)
class Measures:
    accuracy: Value
    auc: Value
    brier: Value
    log_loss: Value
    ece: Value
    ece_plain: float | None
    ece_noise: float | None


@dataclass(frozen=True)
class Bin:
    """Comparisons about which a labeler was equally sure: how sure it `said`, the share of people `found` with it."""

    n: int
    said: float
    found: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """Prompts drawn with replacement. `groups` (n,): equal for comparisons of one prompt; numbered anew, from 0."""

    groups: NDArray[np.int64]
    seed: int = 0
    replicates: int = REPLICATES
    prompts: int = field(init=False)

    def __post_init__(self) -> None:
        # Of some of the comparisons only, numbers may be missing between: sums over prompts need one row for each.
        there, numbers = np.unique(self.groups, return_inverse=True)
        object.__setattr__(self, "groups", numbers.reshape(-1))
        object.__setattr__(self, "prompts", len(there))

    def where(self, kept: NDArray[np.bool_]) -> Draws:
        """Of some of the comparisons only: their prompts are drawn."""
        return Draws(self.groups[kept], self.seed, self.replicates)

    def value(self, columns: Floats, combine: Combine) -> Value:
        """Of a measure that is a function of sums: `columns` (n, k) are summed over each draw, (replicates, k)."""
        return self._value(
            lambda: float(combine(columns.sum(axis=0)[None])[0]), lambda: self.replicate(columns, combine)
        )

    def mean(self, of: Floats) -> Value:
        return self.value(np.column_stack([of, np.ones(len(of))]), ratio)

    def ranked(self, measure: Measure) -> Value:
        """Of a measure that needs every comparison's weight."""
        return self._value(
            lambda: float(measure(np.ones((1, len(self.groups))))[0]),
            lambda: np.concatenate([measure(drawn[:, self.groups]) for drawn in self._drawn(len(self.groups))]),
        )

    def replicate(self, columns: Floats, combine: Combine) -> Floats:
        """(replicates,) the measure on every draw."""
        of_prompts = np.column_stack([np.bincount(self.groups, column, self.prompts) for column in columns.T])
        return np.concatenate([combine(drawn @ of_prompts) for drawn in self._drawn(self.prompts)])

    def _value(self, estimate: Callable[[], float], replicates: Callable[[], Floats]) -> Value:
        n = len(self.groups)
        value = finite(estimate()) if n else None
        if value is None or self.prompts < 2:
            return Value(value, None, None, n)
        low, high = np.nanpercentile(replicates(), (2.5, 97.5))
        return Value(value, finite(low), finite(high), n)

    def _drawn(self, width: int) -> Iterator[Floats]:
        """(some, prompts) how often each prompt was drawn, in blocks that stay small when `width` columns are made."""
        rng = np.random.default_rng(self.seed)
        size = max(1, BLOCK // max(width, self.prompts))
        for start in range(0, self.replicates, size):
            rows = min(size, self.replicates - start)
            drawn = rng.integers(self.prompts, size=(rows, self.prompts)) + np.arange(rows)[:, None] * self.prompts
            yield np.bincount(drawn.ravel(), minlength=rows * self.prompts).reshape(rows, -1).astype(np.float64)


def ratio(sums: Floats) -> Floats:
    """Of two sums; NaN where the second is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def gain(draws: Draws, of: Floats) -> Difference:
    """Mean of a difference (n,) that is above 0 where the first of two labelers did better."""
    mean = draws.mean(of)
    worse, better = mean.high is not None and mean.high < 0, mean.low is not None and mean.low > 0
    return Difference(mean.value, mean.low, mean.high, worse, better, mean.n)


def measures(p_b: Floats, people: Floats, draws: Draws) -> Measures:
    """Of probabilities (n,), NaN where the labeler said nothing usable, against the votes for B (n,)."""
    said = ~np.isnan(p_b)
    sided = said & (people != 0.5)
    among, decided = draws.where(said), draws.where(sided)
    p, t = p_b[said], people[said]
    ece, plain, noise = calibration_error(p, t, among)
    return Measures(
        accuracy=decided.mean(right(p_b[sided], people[sided])),
        auc=decided.ranked(auc(p_b[sided], people[sided])),
        brier=among.mean((p - t) ** 2),
        log_loss=among.mean(log_losses(p, t)),
        ece=ece,
        ece_plain=plain,
        ece_noise=noise,
    )


def right(p_b: Floats, people: Floats) -> Floats:
    """(n,) 1 where the sides are the same, 0 where not, one half where the labeler names none."""
    return (np.sign(p_b - 0.5) * np.sign(people - 0.5) + 1) / 2


def log_losses(p_b: Floats, people: Floats) -> Floats:
    """(n,) −[t log p + (1 − t) log(1 − p)] in nats; p is kept `EPSILON` away from 0 and 1."""
    p = np.clip(p_b, EPSILON, 1 - EPSILON)
    return np.asarray(-(xlogy(people, p) + xlogy(1 - people, 1 - p)))


def auc(p_b: Floats, people: Floats) -> Measure:
    """Chance that a comparison that people gave to B has a higher p than one they gave to A, equal p counting half.

    With every comparison also taken mirrored (1 − p, A for B), so that the order of A and B does not matter: then it is
    the chance that q + q' > 1 for two comparisons drawn with replacement, q being p of the side that people took.
    """
    q = np.sort(np.round(np.where(people > 0.5, p_b, 1 - p_b), 12))
    order = np.argsort(np.round(np.where(people > 0.5, p_b, 1 - p_b), 12), kind="stable")
    other = np.round(1 - q, 12)
    below, upto = np.searchsorted(q, other, "left"), np.searchsorted(q, other, "right")

    def measure(weights: Floats) -> Floats:
        ordered = weights[:, order]
        before = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(ordered, axis=1)], axis=1)
        total = before[:, -1:]
        above, equal = total - before[:, upto], before[:, upto] - before[:, below]
        return np.asarray((ordered * (above + equal / 2)).sum(axis=1) / total[:, 0] ** 2)

    return measure


def correlation(draws: Draws, margin: Floats, longer: Floats) -> Value:
    """Σ m·l / √(Σ m² Σ l²): Pearson's without centring, which the order of A and B would move."""

    def combine(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2]))

    return draws.value(np.column_stack([margin * longer, margin**2, longer**2]), combine)


def sureness(p_b: Floats, people: Floats) -> tuple[Floats, Floats]:
    """(n,) how sure it is of the side it names, in [0.5, 1], and the share of people on that side."""
    found = np.where(p_b > 0.5, people, np.where(p_b < 0.5, 1 - people, 0.5))
    return np.maximum(p_b, 1 - p_b), found


def bin_numbers(sure: Floats) -> NDArray[np.int64]:
    """(n,) bin of each comparison: as many comparisons in each as can be where many are equally sure."""
    count = int(np.clip(len(sure) // LEAST_IN_BIN, 1, MOST_BINS))
    edges = np.unique(np.quantile(sure, np.arange(1, count) / count)) if len(sure) else np.empty(0)
    return np.unique(np.searchsorted(edges, sure, "left"), return_inverse=True)[1]


def calibration_error(p_b: Floats, people: Floats, draws: Draws) -> tuple[Value, float | None, float | None]:
    """Expected calibration error of the sureness: debiased with its interval, as it is, and what noise alone gives.

    As it is: Σₖ nₖ/n |saidₖ − foundₖ| over bins of equal size. It is never 0 on finite data. Debiased (Kumar, Liang, Ma
    2019, "Verified uncertainty calibration", for the mean distance): from each |gap| is taken E|N(gap, s²)| − |gap|,
    s the standard error of the bin with prompts as clusters; where nothing is wrong that takes about a third of it.
    Noise: Σₖ nₖ/n · s·√(2/π), its mean where all gaps are 0.
    The interval is that of the plain error's bootstrap, moved to the debiased value: drawing adds noise of its own.
    """
    n = len(p_b)
    if not n:
        return Value(None, None, None, 0), None, None
    said, found = sureness(p_b, people)
    bins = bin_numbers(said)
    gaps = (found - said)[:, None] * (bins[:, None] == np.arange(bins.max() + 1))

    def plain(sums: Floats) -> Floats:
        return np.asarray(np.abs(sums[:, 1:]).sum(axis=1) / sums[:, 0])

    whole = float(np.abs(gaps.sum(axis=0)).sum() / n)
    size = np.bincount(bins)
    gap, error = gaps.sum(axis=0) / size, _errors(gaps, bins, size, draws.groups)
    value = max(0.0, float(size @ (2 * np.abs(gap) - _folded(gap, error)) / n))
    noise = float(size @ error / n * np.sqrt(2 / np.pi))
    if draws.prompts < 2:
        return Value(value, None, None, n), whole, noise
    drawn = draws.replicate(np.column_stack([np.ones(n), gaps]), plain)
    low, high = np.maximum(0.0, np.percentile(drawn, (2.5, 97.5)) - drawn.mean() + value)
    return Value(value, float(low), float(high), n), whole, noise


def _errors(gaps: Floats, bins: NDArray[np.int64], size: NDArray[np.int64], groups: NDArray[np.int64]) -> Floats:
    """(bins,) standard error of each bin's mean gap, prompts as clusters; of a bin with one prompt that of a coin."""
    centred = gaps - (bins[:, None] == np.arange(len(size))) * (gaps.sum(axis=0) / size)
    sums = np.zeros((groups.max() + 1, len(size)))
    np.add.at(sums, groups, centred)
    there = np.zeros_like(sums, dtype=bool)
    there[groups, bins] = True
    prompts = there.sum(axis=0)
    correction = prompts / np.maximum(1, prompts - 1)
    error = np.sqrt(correction * (sums**2).sum(axis=0)) / size
    return np.where(prompts > 1, error, 0.5 / np.sqrt(size))


def _folded(mean: Floats, error: Floats) -> Floats:
    """E|N(mean, error²)|: the mean of the folded normal distribution."""
    error = np.maximum(error, 1e-12)
    z = mean / error
    return np.asarray(error * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + mean * (1 - 2 * ndtr(-z)))


def reliability(p_b: Floats, people: Floats, groups: NDArray[np.int64]) -> list[Bin]:
    """Bins of a reliability diagram; Wilson intervals with the number of prompts in a bin for its number of trials."""
    known = ~np.isnan(p_b)
    if not known.any():
        return []
    said, found = sureness(p_b[known], people[known])
    bins, prompts = bin_numbers(said), groups[known]
    rows = []
    for number in range(bins.max() + 1):
        inside = bins == number
        share = float(found[inside].mean())
        low, high = wilson(share, len(np.unique(prompts[inside])))
        rows.append(Bin(int(inside.sum()), float(said[inside].mean()), share, low, high))
    return rows


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927); unlike the plain one it never leaves [0, 1]."""
    square = Z95 * Z95
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    # The share lies in its interval, also where rounding says otherwise.
    return max(0.0, min(float(middle - half), share)), min(1.0, max(float(middle + half), share))


def finite(number: float) -> float | None:
    """For JSON, which has no NaN."""
    return float(number) if np.isfinite(number) else None
