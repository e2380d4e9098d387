"""What other plans would have achieved, from one plan's outcomes and the chances it was drawn with.

A logged plan sent comparison i to source aᵢ with chance μᵢ = P(aᵢ | i) and saw the outcome yᵢ, for example whether the
label agreed with people. A target policy sends it to the same source with chance πᵢ (1 or 0 for a fixed plan). Then
wᵢ = πᵢ / μᵢ reweighs what was seen into what the target would have seen.

    ips     V = mean(wᵢ yᵢ)                                        (Horvitz and Thompson 1952)
    snips   V = Σ wᵢ yᵢ / Σ wᵢ                                      (Hájek 1971; Swaminathan and Joachims 2015)
    dr      V = mean(mᵢ) + mean(wᵢ (yᵢ − m(i, aᵢ)))                  (Dudík, Langford and Li 2011)

ips is unbiased and its spread grows with the weights; snips is a little biased and steadier; dr is unbiased whatever
the model and gains what the model explains. Unbiased means: where the target can go, the logged plan could have gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class Estimate:
    """A mean outcome with its interval. `effective`: the comparisons that it rests on, (Σ w)² / Σ w² (Kish 1965)."""

    value: float
    low: float
    high: float
    effective: float
    method: str


@dataclass(frozen=True)
class Predicted:
    """A model of outcomes: `target` (n,) expected under the target policy, `taken` (n,) for the source that was taken.

    It must not have been fitted on the outcomes it predicts: cross-fit it, or the interval is too narrow.
    """

    target: np.ndarray
    taken: np.ndarray


def estimate(
    outcome: np.ndarray,
    propensity: np.ndarray,
    taken: np.ndarray,
    model: Predicted | None = None,
    groups: np.ndarray | None = None,
    *,
    method: str | None = None,
    coverage: float = 0.95,
) -> Estimate:
    """The mean outcome over all n comparisons had the target policy decided.

    `outcome` (n,), NaN where it is not known (only allowed where `taken` is 0); `propensity` (n,) in (0, 1], the logged
    chance of what was done; `taken` (n,) the chance that the target does what was done: bool for a fixed plan.
    `groups` (n,) comparisons that vary together, such as a prompt's; the interval is a t interval over them, with
    as many degrees of freedom as the weights leave. `method` "ips", "snips" or "dr"; default dr with a `model`, else
    snips.
    Raises ValueError for propensities outside (0, 1] or unknown outcomes that count.
    """
    method = method or ("dr" if model else "snips")
    if method not in METHODS or (method == "dr" and model is None):
        raise ValueError(f"A method is one of {', '.join(METHODS)}, and dr needs a model; not {method!r}.")
    chance = np.asarray(taken, dtype=np.float64)
    weight = _weights(np.asarray(propensity, dtype=np.float64), chance)
    seen = np.asarray(outcome, dtype=np.float64)
    if np.isnan(seen[weight > 0]).any():
        raise ValueError(
            "Outcomes are missing where the target policy does what was done: leave those out of all arrays."
        )
    if not len(weight) or not (weight > 0).any():
        return Estimate(float("nan"), float("nan"), float("nan"), 0.0, method)
    value, influence = METHODS[method](np.where(weight > 0, seen, 0.0), weight, model)
    effective = float(weight.sum() ** 2 / np.square(weight).sum())
    half = _half(influence, groups, effective, coverage)
    return Estimate(value, value - half, value + half, effective, method)


def _weights(propensity: np.ndarray, chance: np.ndarray) -> np.ndarray:
    if not ((propensity > 0) & (propensity <= 1 + 1e-9)).all():
        raise ValueError("Propensities must lie in (0, 1]: what has no chance cannot have happened.")
    return np.asarray(chance / propensity)


def _ips(outcome: np.ndarray, weight: np.ndarray, model: Predicted | None) -> tuple[float, np.ndarray]:
    terms = weight * outcome
    return float(terms.mean()), terms - terms.mean()


def _snips(outcome: np.ndarray, weight: np.ndarray, model: Predicted | None) -> tuple[float, np.ndarray]:
    value = float(np.dot(weight, outcome) / weight.sum())
    return value, weight * (outcome - value) / weight.mean()


def _doubly_robust(outcome: np.ndarray, weight: np.ndarray, model: Predicted | None) -> tuple[float, np.ndarray]:
    assert model is not None
    terms = model.target + np.where(weight > 0, weight * (outcome - model.taken), 0.0)
    return float(terms.mean()), terms - terms.mean()


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, Predicted | None], tuple[float, np.ndarray]]] = {
    "ips": _ips,
    "snips": _snips,
    "dr": _doubly_robust,
}


def _half(influence: np.ndarray, groups: np.ndarray | None, effective: float, coverage: float) -> float:
    """Half the interval: the spread of the mean of `influence` (n,), its sums by group being independent."""
    n = len(influence)
    places = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(places, weights=influence)
    count = len(sums)
    if count < 2:
        return float("inf")
    spread = np.sqrt(count / (count - 1) * np.square(sums).sum()) / n
    freedom = max(1.0, min(count, effective) - 1)
    return float(student.ppf(0.5 + coverage / 2, freedom) * spread)
