"""Two fidelities of a mixture's score: many cheap ones (proxies) and a few dear ones (trained reward models).

y_high = a + b·y_low + δ(x) + ε, the autoregressive co-kriging of Kennedy and O'Hagan (2000), Biometrika 87(1), with a
linear process δ in the mixture's description. All of it is one Gaussian model: with z the standardised low score and
W the standardised description (c columns),

    y_high − b₀·y_low = a + e,   cov(e) = σ² [ ρ z zᵀ + τ W Wᵀ / c + I ],   a with a flat prior,

σ² integrated out (prior 1/σ²), and (b₀, ρ, τ) averaged over a grid by their posterior weight: the slope b leans to 0
(the two have nothing in common, the prediction is the mean of the high scores) or to 1 (the same up to an offset),
whichever the pairs bear out, and leaves both as pairs come in. That is the shrinkage.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, rankdata, t

# Fewer pairs than this say nothing of how the two go together.
ENOUGH = 5
# What the slope leans to: nothing in common, or the same up to an offset.
ANCHORS = (0.0, 1.0)
# Variance of the slope's part and of the description's part, in units of the noise.
SLOPES = (0.0, 1.0, 8.0, 64.0, 512.0)
RESIDUALS = (0.0, 0.5, 4.0)
# The description has to earn its place: so much of the prior says that the low score alone matters.
PLAIN = 0.7


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of `pairs` pairs with its 95% interval."""

    value: float
    low: float
    high: float
    pairs: int


def correlation(low: np.ndarray, high: np.ndarray) -> Correlation:
    """Of two (k,) scores of the same mixtures. The interval by Fisher's z with Bonett and Wright's error (2000).

    With fewer than 5 pairs, or a side that never changes, nothing is known: 0 within [-1, 1].
    """
    pairs = len(low)
    if pairs < ENOUGH or np.ptp(low) == 0 or np.ptp(high) == 0:
        return Correlation(0.0, -1.0, 1.0, pairs)
    value = float(np.corrcoef(rankdata(low), rankdata(high))[0, 1])
    z = np.arctanh(np.clip(value, -0.9999, 0.9999))
    half = norm.ppf(0.975) * np.sqrt((1 + value**2 / 2) / (pairs - 3))
    return Correlation(value, float(np.tanh(z - half)), float(np.tanh(z + half)), pairs)


def spread(points: np.ndarray, count: int, taken: Sequence[int] = ()) -> list[int]:
    """`count` rows of `points` (m, c) that lie far from each other and from those `taken`: which to measure dearer.

    Columns are ranked first. The first is in the middle; each next one is the farthest from all before (Gonzalez 1985).
    """
    ranks = np.column_stack([rankdata(column) / len(column) for column in points.T])
    chosen = list(taken)
    found: list[int] = []
    while len(found) < min(count, len(points) - len(taken)):
        if chosen:
            gaps = np.min([np.square(ranks - ranks[each]).sum(axis=1) for each in chosen], axis=0)
            gaps[chosen] = -1.0
            place = int(np.argmax(gaps))
        else:
            place = int(np.argmin(np.square(ranks - 0.5).sum(axis=1)))
        chosen.append(place)
        found.append(place)
    return found


@dataclass
class Stack:
    """The high score predicted from the low one. `fit` first.

    After it: `used` (False: too few pairs, predictions are the low scores themselves), `correlation`, `slope` and
    `slope_error` (posterior mean and standard deviation of b), `deviation` (standard deviation that the combination
    leaves open at an average mixture), `text` (what was done and why).
    """

    slopes: tuple[float, ...] = SLOPES
    residuals: tuple[float, ...] = RESIDUALS
    used: bool = False
    correlation: Correlation = field(default_factory=lambda: Correlation(0.0, -1.0, 1.0, 0))
    slope: float = 1.0
    slope_error: float = 0.0
    deviation: float = 0.0
    text: str = ""
    _fitted: dict[str, Any] = field(default_factory=dict, repr=False)

    def fit(self, low: np.ndarray, high: np.ndarray, which: np.ndarray, X: np.ndarray | None = None) -> Self:
        """`low` (m,) scores of all mixtures; `high` (k,) dear scores; `which` (k,) the mixture of each, repeated where
        it has several seeds; `X` (m, c) descriptions, None to leave them out. Raises ValueError for scores that are
        not finite or mixtures that are not there.
        """
        low, high, which = np.asarray(low, float), np.asarray(high, float), np.asarray(which, int)
        if len(high) != len(which) or (len(which) and not 0 <= which.min() <= which.max() < len(low)):
            raise ValueError("Every high score needs the index of its mixture among the low scores.")
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("Scores must be finite numbers.")
        distinct = np.unique(which)
        means = np.array([high[which == each].mean() for each in distinct])
        self.correlation = correlation(low[distinct], means)
        self.used = len(distinct) >= ENOUGH and float(np.ptp(low)) > 0
        self.text = _words(self)
        if self.used:
            self._learn(low, high, which, X)
        return self

    def _learn(self, low: np.ndarray, high: np.ndarray, which: np.ndarray, X: np.ndarray | None) -> None:
        self._fitted = {"low_mean": low.mean(), "low_scale": low.std(), "X_mean": None}
        if X is not None and X.shape[1]:
            spread = X.std(axis=0)
            self._fitted |= {"X_mean": X.mean(axis=0), "X_scale": np.where(spread > 1e-12, spread, np.inf)}
        z, W = self._standard(low[which], None if X is None else X[which])
        scale = self._fitted["low_scale"]
        rests = self.residuals if W.shape[1] else (0.0,)
        parts = [
            _Gaussian(z, W, high, anchor * scale, slope, rest)
            for anchor, slope, rest in itertools.product(ANCHORS, self.slopes, rests)
        ]
        weight = np.array([part.evidence + _prior(part.rest, len(rests)) for part in parts])
        self._fitted |= {"parts": parts, "weight": np.exp(weight - logsumexp(weight)), "pairs": len(high)}
        slopes = np.array([part.slope for part in parts])
        mean = self._fitted["weight"] @ slopes[:, 0]
        spread = self._fitted["weight"] @ (slopes[:, 1] + np.square(slopes[:, 0] - mean))
        self.slope, self.slope_error = float(mean / scale), float(np.sqrt(spread) / scale)
        centre = np.zeros(1), np.zeros((1, W.shape[1]))
        self.deviation = float(np.sqrt(self._moments(*centre, noise=False)[1][0]))

    def _standard(self, low: np.ndarray, X: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        known = self._fitted
        z = (low - known["low_mean"]) / known["low_scale"]
        if X is None or known["X_mean"] is None:
            return z, np.empty((len(z), 0))
        return z, (X - known["X_mean"]) / known["X_scale"]

    def predict(self, low: np.ndarray, X: np.ndarray | None = None) -> np.ndarray:
        """(m,) expected high scores; the low scores themselves where the stack is not `used`."""
        low = np.asarray(low, float)
        return self._moments(*self._standard(low, X))[0] if self.used else low

    def predict_interval(
        self, low: np.ndarray, X: np.ndarray | None = None, coverage: float = 0.9
    ) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (m,): where one more high score of each mixture would lie, its own noise included.

        NaN where the stack is not `used`: nothing is known of the high scores.
        """
        if not self.used:
            nothing = np.full(len(low), np.nan)
            return nothing, nothing
        mean, variance = self._moments(*self._standard(np.asarray(low, float), X))
        half = t.ppf(0.5 + coverage / 2, self._fitted["pairs"] - 1) * np.sqrt(variance)
        return mean - half, mean + half

    def _moments(self, z: np.ndarray, W: np.ndarray, noise: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (m,) of the average over the grid."""
        each = [part.predict(z, W, noise) for part in self._fitted["parts"]]
        weight = self._fitted["weight"]
        means, variances = np.array([one[0] for one in each]), np.array([one[1] for one in each])
        mean = weight @ means
        return mean, weight @ (variances + np.square(means - mean))


class _Gaussian:
    """One point of the grid: generalised least squares of a, kriging of the rest (Rasmussen and Williams 2006, 2.7)."""

    def __init__(self, z: np.ndarray, W: np.ndarray, y: np.ndarray, anchor: float, slope: float, rest: float) -> None:
        self.z, self.W, self.anchor, self.variance, self.rest = z, W, anchor, slope, rest
        self.inverse = np.linalg.inv(self._covariance(z, W) + np.eye(len(y)))
        sums, y = self.inverse.sum(axis=1), y - anchor * z
        self.weight = float(sums.sum())
        self.a = float(sums @ y) / self.weight
        self.solved = self.inverse @ (y - self.a)
        degrees = len(y) - 1
        # No finer than a score can be told: equal scores are no proof of perfect agreement.
        self.noise = max(float((y - self.a) @ self.solved) / degrees, 1e-12)
        determinant = -np.linalg.slogdet(self.inverse)[1]
        self.evidence = -0.5 * (determinant + np.log(self.weight) + degrees * np.log(self.noise))
        left = slope - slope**2 * float(z @ self.inverse @ z)
        self.slope = anchor + slope * float(z @ self.solved), self.noise * max(0.0, left)

    def _covariance(self, z: np.ndarray, W: np.ndarray) -> np.ndarray:
        return np.asarray(self.variance * np.outer(z, self.z) + self.rest * (W @ self.W.T) / max(1, W.shape[1]))

    def predict(self, z: np.ndarray, W: np.ndarray, noise: bool) -> tuple[np.ndarray, np.ndarray]:
        cross = self._covariance(z, W)
        own = self.variance * z**2 + self.rest * np.square(W).sum(axis=1) / max(1, W.shape[1])
        solved = cross @ self.inverse
        left = own - (solved * cross).sum(axis=1) + np.square(1 - solved.sum(axis=1)) / self.weight
        mean = self.a + self.anchor * z + cross @ self.solved
        return mean, self.noise * (np.maximum(left, 0) + noise)


def _prior(rest: float, rests: int) -> float:
    return float(np.log(PLAIN if rest == 0 else (1 - PLAIN) / (rests - 1)))


def _words(stack: Stack) -> str:
    found = stack.correlation
    if not stack.used:
        return (
            f"Only {found.pairs} mixtures have a score of the higher fidelity; {ENOUGH} are needed to combine the two. "
            "Proxy scores alone are used."
        )
    return (
        f"Proxy scores were corrected by {found.pairs} mixtures with a score of the higher fidelity: rank correlation "
        f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]."
    )
