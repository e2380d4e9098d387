"""A Gaussian process over mixtures: smooth, at home where trees have seen nothing.

    y = m + f(t(x)) + noise,   cov f = a²·Matérn₅⸝₂(‖(u − v)/ℓ‖) + b²·u·v/c

with one length ℓⱼ for each of c columns (automatic relevance), a linear part that goes on where the data end, and
noise. t leaves a column alone or takes the square or fourth root of one that is never negative: the step from none to a
little of a source matters more than the one from a little to more. The evidence of the data settles which.

All are maximum a posteriori: log ℓⱼ ~ N(√2 + ½ log c, 3), the dimension-scaled prior of Hvarfner et al. (2024, "Vanilla
Bayesian Optimization Performs Great in High Dimensions"), which damps what 100 columns can fit in 200 mixtures. It does
not stop it: on pure noise with as many columns as mixtures the process follows the noise (measured), and it is the
cross-validated choice that turns it down.
Written out because scikit-learn's regressor has no priors and builds an (n, n, c) gradient, many times slower.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
from scipy.linalg import cho_solve, lapack
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

# Columns that are never negative are raised to one of these.
POWERS = (1.0, 0.5, 0.25)
# Hyperparameters are searched on this many mixtures, then followed for a few steps on all.
COARSE = 200
JITTER = 1e-8
# Prior means of log a, log noise, log b (of standardised y), all with variance 4.
OTHERS = np.array([0.0, -3.0, -1.0])


class GaussianProcess(RegressorMixin, BaseEstimator):
    """See the module. `search` and `polish`: L-BFGS steps on at most 200 mixtures for each power, and on all of them.

    After `fit`: `power_`, `lengths_` (c,) of the standardised columns, `noise_` (standard deviation, unit of y).
    """

    def __init__(self, search: int = 40, polish: int = 8, seed: int = 0) -> None:
        self.search = search
        self.polish = polish
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        self.rooted_ = (X >= 0).all(axis=0) & (X.std(axis=0) > 0)
        self.centre_, self.unit_ = float(y.mean()), float(y.std()) or 1.0
        # Two threads on matrices this small wait for each other, on a busy machine for most of the time.
        with _threads().limit(limits=1, user_api="blas"):
            self._learn(X, (y - self.centre_) / self.unit_)
        return self

    def _learn(self, X: np.ndarray, target: np.ndarray) -> None:
        rows = np.random.default_rng(self.seed).permutation(len(X))[:COARSE]
        self.power_, theta = self._searched(X[rows], target[rows])
        columns = self._scaled(X)
        if len(rows) < len(X):
            theta, _ = _climb(theta, columns, target, self.polish)
        self._condition(columns, target, theta)

    def _searched(self, X: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        best = (1.0, _start(X.shape[1]), np.inf)
        for power in POWERS if self.rooted_.any() else POWERS[:1]:
            self.power_ = power
            theta, loss = _climb(_start(X.shape[1]), self._scaled(X, learn=True), target, self.search)
            if loss < best[2]:
                best = (power, theta, loss)
        self.power_ = best[0]
        self._scaled(X, learn=True)
        return best[:2]

    def _scaled(self, X: np.ndarray, learn: bool = False) -> np.ndarray:
        """t(x), standardised by the mixtures that the search saw."""
        rooted = np.where(self.rooted_, np.maximum(X, 0) ** self.power_, X)
        if learn:
            spread = rooted.std(axis=0)
            self.middle_, self.spread_ = rooted.mean(axis=0), np.where(spread > 0, spread, 1.0)
        return np.asarray((rooted - self.middle_) / self.spread_)

    def _condition(self, columns: np.ndarray, target: np.ndarray, theta: np.ndarray) -> None:
        size = columns.shape[1]
        self.theta_, self.columns_ = theta, columns
        self.lengths_, self.noise_ = np.exp(theta[:size]), float(np.exp(theta[size + 1]) * self.unit_)
        smooth, line, _ = _covariances(theta, columns, columns)
        noisy = smooth + line + (np.exp(2 * theta[size + 1]) + JITTER) * np.eye(len(columns))
        self.weights_ = cho_solve((np.linalg.cholesky(noisy), True), target)

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        smooth, line, _ = _covariances(self.theta_, self._scaled(X), self.columns_)
        return np.asarray(self.centre_ + self.unit_ * ((smooth + line) @ self.weights_))


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _start(columns: int) -> np.ndarray:
    """θ = log ℓ (c), log a, log noise, log b."""
    return np.append(np.full(columns, 0.5 + 0.5 * np.log(columns)), [0.0, -2.0, -1.0])


def _climb(theta: np.ndarray, X: np.ndarray, y: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """θ of the highest posterior found in `steps` steps, and its negative logarithm."""
    bounds = [(-4.0, 12.0)] * X.shape[1] + [(-4.0, 4.0), (-6.0, 1.0), (-6.0, 3.0)]
    options = {"maxiter": steps, "maxfun": 2 * steps}
    found = minimize(_loss, theta, (X, y), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x, float(found.fun)


def _covariances(theta: np.ndarray, U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(smooth, linear, slope), each (u, v): `slope` = −2 ∂smooth/∂(squared distance)."""
    size = U.shape[1]
    a, b = U / np.exp(theta[:size]), V / np.exp(theta[:size])
    squared = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squared, 0))
    decay = np.exp(2 * theta[size] - r)
    return decay * (1 + r + r * r / 3), np.exp(2 * theta[size + 2]) * (U @ V.T) / size, decay * (5 / 3) * (1 + r)


def _loss(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """−log posterior of θ and its gradient, in O(n³ + n²c): with W = K⁻¹ − ααᵀ, ∂/∂θ = ½ Σ W∘∂K/∂θ.

    For a length, ∂K/∂log ℓⱼ = slope ∘ (zᵢⱼ − zₖⱼ)², z = x/ℓ, whose sum needs products of (n, n) and (n, c) only.
    """
    size = X.shape[1]
    noise = np.exp(2 * theta[size + 1])
    smooth, line, slope = _covariances(theta, X, X)
    factor, failed = lapack.dpotrf(smooth + line + (noise + JITTER) * np.eye(len(X)), lower=1)
    if failed:
        return 1e25, np.zeros_like(theta)
    half, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(half) + np.tril(half, -1).T
    alpha = inverse @ y
    W = inverse - np.outer(alpha, alpha)
    z, M = X / np.exp(theta[:size]), W * slope
    lengths = (M.sum(axis=1)[:, None] * z * z).sum(axis=0) - (z * (M @ z)).sum(axis=0)
    rest = np.array([(W * smooth).sum(), noise * np.trace(W), (W * line).sum()])
    off = np.append(theta[:size] - np.sqrt(2) - 0.5 * np.log(size), theta[size:] - OTHERS)
    variance = np.append(np.full(size, 3.0), np.full(3, 4.0))
    loss = 0.5 * y @ alpha + np.log(np.diag(factor)).sum() + 0.5 * (off * off / variance).sum()
    return float(loss), np.append(lengths, rest) + off / variance
