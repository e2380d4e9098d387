"""From a labeler's margins to probabilities: p = σ(b₁·margin + b₂·length difference [+ b₃·order]), fitted on people.

No intercept: exchanging A and B must mirror p, and with an intercept it would not. The margin is the log-odds of a
judge's p, or the difference of a scorer's two scores; the length difference is tanh(characters of B minus those of A,
standardised), as in length-controlled AlpacaEval (Dubois et al. 2024), so that b₂ takes what length alone explains and
p with b₂ = 0 is a label without it. For a labeler that was asked in one order only, the order is −1 where A was shown
first, 1 where B was: it takes what position alone explains, and still mirrors.

A labeler is fitted as a whole and in each *cell*, a domain in a language. A cell with fewer than `LEAST` comparisons
takes the whole's coefficients. A larger one is pulled towards them as if it held `pooling` further comparisons that
behave like the whole: its prior is normal around the whole's coefficients, with the whole's Fisher information scaled
to that many comparisons as its precision. `pooling` is chosen by cross-validation; none of the cells stand apart
(`pooling` None) when that is not worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.model_selection import GroupKFold

from labelers.measures import EPSILON, Floats, log_losses

FOLDS = 5
# A cell with fewer comparisons has no coefficients of its own.
LEAST = 30
POOLINGS = (30.0, 100.0, 300.0, None)
# Ridge on scaled columns: keeps separable verdicts finite, and weighs as little as one comparison does.
L2 = 1.0
# Margins beyond so many root mean squares are cut: one absurd score must not set the slope.
CUT = 4.0
NOTHING = 1e-9
STEPS = 50


@dataclass(frozen=True)
class Judged:
    """n comparisons that a labeler and people judged.

    `p_b` (n,): the labeler's P(B is better), NaN where it gave none. `scores` (n, 2): its scores of A and B, for a
    labeler that scores (NaN where it did not), else None. `orders` (n, 2): p_b as it was said with A shown first and
    with B shown first, both in the pair's own order, for a labeler that is asked in both, else None. `first` (n,): −1
    where A alone was shown first, 1 where B, 0 where both or unknown; None when all are. `people` (n,): share of votes
    for B, ties one half. `weight` (n,): what each counts when fitting (gold more than one vote). `lengths` (n, 2):
    characters of A and B. `prompts` (n,): numbers that equal prompts share. `domains`, `languages` (n,): "" where
    unknown.
    """

    p_b: Floats
    people: Floats
    lengths: Floats
    prompts: NDArray[np.int64]
    weight: Floats
    domains: NDArray[np.str_]
    languages: NDArray[np.str_]
    scores: Floats | None = None
    orders: Floats | None = None
    first: Floats | None = None

    def __len__(self) -> int:
        return len(self.p_b)

    def at(self, rows: NDArray[Any]) -> Judged:
        """Some of the comparisons, by positions or a mask."""
        some: dict[str, Any] = {name: column[rows] for name, column in vars(self).items() if column is not None}
        return replace(self, **some)

    def saying(self, p_b: Floats) -> Judged:
        """The same comparisons with another labeler's probabilities and nothing else of it."""
        return replace(self, p_b=p_b, scores=None, orders=None, first=None)

    @property
    def margin(self) -> Floats:
        """(n,) before scaling: negative for A, NaN where there is none."""
        if self.scores is not None:
            return np.asarray(self.scores[:, 1] - self.scores[:, 0])
        return np.asarray(logit(np.clip(self.p_b, EPSILON, 1 - EPSILON)))

    @property
    def longer(self) -> Floats:
        """(n,) characters of B minus those of A."""
        return np.asarray(self.lengths[:, 1] - self.lengths[:, 0], dtype=np.float64)


def judged(
    p_b: Any,
    people: Any = None,
    *,
    lengths: Any,
    prompts: Any,
    weight: Any = None,
    domains: Any = None,
    languages: Any = None,
    scores: Any = None,
    orders: Any = None,
    first: Any = None,
) -> Judged:
    """`Judged` from any sequences; `prompts` may be anything that can be sorted. Raises ValueError for other shapes.

    Without `people` it can be given a probability, and nothing can be learnt or measured.
    """
    n = len(p_b)
    pairs = {"lengths": lengths, "scores": scores, "orders": orders}
    shaped = {name: None if column is None else _column(name, column, (n, 2)) for name, column in pairs.items()}
    assert shaped["lengths"] is not None
    votes = _column("people", np.full(n, 0.5) if people is None else people, (n,))
    if n and not (np.nanmin(votes) >= 0 and np.nanmax(votes) <= 1 and not np.isnan(votes).any()):
        raise ValueError("people holds shares of votes for B: numbers from 0 to 1, none missing.")
    return Judged(
        p_b=_column("p_b", p_b, (n,)),
        people=votes,
        lengths=shaped["lengths"],
        prompts=np.unique(np.asarray(prompts), return_inverse=True)[1].reshape(n),
        weight=np.ones(n) if weight is None else _column("weight", weight, (n,)),
        domains=np.full(n, "") if domains is None else np.asarray(domains, dtype=np.str_),
        languages=np.full(n, "") if languages is None else np.asarray(languages, dtype=np.str_),
        scores=shaped["scores"],
        orders=shaped["orders"],
        first=None if first is None else np.sign(np.nan_to_num(_column("first", first, (n,)))),
    )


def _column(name: str, values: Any, shape: tuple[int, ...]) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.shape != shape:
        raise ValueError(f"{name} has shape {column.shape}, and {shape} is needed: one row for each comparison.")
    return column


@dataclass(frozen=True)
class Cell:
    """Coefficients of scaled columns. `pooled`: they are the whole's."""

    n: int
    b_margin: float
    b_length: float
    b_first: float = 0.0
    pooled: bool = False


@dataclass(frozen=True)
class Calibration:
    """What turns a labeler's margins into probabilities; `as_json` and `read` store it."""

    margin: Literal["log_odds", "scores"]
    margin_scale: float
    length_scale: float
    pooling: float | None
    whole: Cell
    cells: dict[tuple[str, str], Cell]

    def log_odds(self, said: Judged, *, length: bool = True) -> Floats:
        """(n,) b₁·margin + b₂·length difference + b₃·order; NaN without a margin. `length=False`: without b₂."""
        columns = self._columns(said)
        b = np.array([self._coefficients(key) for key in _cells(said)]).reshape(len(said), 3)
        if not length:
            b[:, 1] = 0.0
        return np.asarray((columns * b).sum(axis=1))

    def p_b(self, said: Judged, *, length: bool = True) -> Floats:
        return np.asarray(expit(self.log_odds(said, length=length)))

    def _columns(self, said: Judged) -> Floats:
        return _scaled(said, self.margin_scale, self.length_scale)

    def _coefficients(self, key: tuple[str, str]) -> tuple[float, float, float]:
        cell = self.cells.get(key, self.whole)
        return cell.b_margin, cell.b_length, cell.b_first

    def as_json(self) -> dict[str, Any]:
        return {
            "margin": self.margin,
            "margin_scale": self.margin_scale,
            "length_scale": self.length_scale,
            "pooling": self.pooling,
            "whole": {name: value for name, value in vars(self.whole).items() if name != "pooled"},
            "cells": [
                {"domain": domain, "language": language, **vars(cell)}
                for (domain, language), cell in sorted(self.cells.items())
            ],
        }


def read(stored: dict[str, Any]) -> Calibration:
    """What `as_json` wrote."""
    cells = [dict(cell) for cell in stored["cells"]]
    return Calibration(
        **{name: stored[name] for name in ("margin", "margin_scale", "length_scale", "pooling")},
        whole=Cell(**stored["whole"]),
        cells={(cell.pop("domain"), cell.pop("language")): Cell(**cell) for cell in cells},
    )


def fit(taught: Judged, seed: int = 0) -> Calibration:
    """On all comparisons with a margin. Whoever measures it on the same comparisons needs `cross_fitted`."""
    usable = taught.at(~np.isnan(taught.margin))
    return _fit(usable, _pooling(usable, seed))


def cross_fitted(taught: Judged, seed: int = 0, folds: int = FOLDS, *, length: bool = True) -> Floats:
    """(n,) calibrated P(B is better), each by a calibration that saw none of the prompt's comparisons.

    NaN without a margin, and everywhere with fewer than two prompts.
    """
    p_b = np.full(len(taught), np.nan)
    for train, test in apart(taught.prompts, folds, seed):
        p_b[test] = fit(taught.at(train), seed).p_b(taught.at(test), length=length)
    return p_b


def apart(groups: NDArray[np.int64], folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions to fit on and to measure on, whole groups on one side; none with fewer than two groups."""
    count = min(folds, len(np.unique(groups)))
    if count > 1:
        yield from GroupKFold(count, shuffle=True, random_state=seed).split(groups, groups=groups)


def _cells(said: Judged) -> list[tuple[str, str]]:
    return list(zip(said.domains.tolist(), said.languages.tolist(), strict=True))


def _scaled(said: Judged, margin_scale: float, length_scale: float) -> Floats:
    """(n, 3) margin, length difference and order; all change their sign when A and B change places."""
    margin = np.clip(said.margin / margin_scale, -CUT, CUT)
    first = np.zeros(len(said)) if said.first is None else said.first
    return np.column_stack([margin, np.tanh(said.longer / length_scale), first])


def _scale(column: Floats) -> float:
    """Root mean square: a standard deviation around 0, which mirroring does not change."""
    size = float(np.sqrt(np.mean(column**2))) if len(column) else 0.0
    # Smaller differences are rounding, and dividing by them would make something of it.
    return size if size > NOTHING else 1.0


def _fit(usable: Judged, pooling: float | None) -> Calibration:
    margin_scale, length_scale = _scale(usable.margin), _scale(usable.longer)
    columns = _scaled(usable, margin_scale, length_scale)
    nothing = np.zeros(3)
    whole = fit_logistic(columns, usable.people, usable.weight, nothing, L2 * np.eye(3))
    information = _information(columns, usable.weight, whole) / max(usable.weight.sum(), 1e-12)
    keys = np.array([f"{domain}\0{language}" for domain, language in _cells(usable)], dtype=np.str_)
    cells: dict[tuple[str, str], Cell] = {}
    for key in np.unique(keys):
        inside = keys == key
        n, alone = int(inside.sum()), whole
        pooled = pooling is None or n < LEAST
        if not pooled:
            prior = pooling * information + 1e-6 * np.eye(3)
            alone = fit_logistic(columns[inside], usable.people[inside], usable.weight[inside], whole, prior)
        domain, _, language = str(key).partition("\0")
        cells[domain, language] = _cell(n, alone, pooled)
    kind: Literal["log_odds", "scores"] = "log_odds" if usable.scores is None else "scores"
    return Calibration(kind, margin_scale, length_scale, pooling, _cell(len(usable), whole), cells)


def _cell(n: int, beta: Floats, pooled: bool = False) -> Cell:
    return Cell(n, float(beta[0]), float(beta[1]), float(beta[2]), pooled)


def _pooling(usable: Judged, seed: int) -> float | None:
    """Of `POOLINGS` the one with the least held-out log loss; None (all as one) where the cells are too few."""
    sizes = np.unique([f"{domain}\0{language}" for domain, language in _cells(usable)], return_counts=True)[1]
    if len(sizes) < 2 or not (sizes >= LEAST).any():
        return None
    losses = dict.fromkeys(POOLINGS, 0.0)
    for train, test in apart(usable.prompts, FOLDS, seed + 1):
        taught, held = usable.at(train), usable.at(test)
        for pooling in POOLINGS:
            p_b = _fit(taught, pooling).p_b(held)
            losses[pooling] += float(held.weight @ log_losses(p_b, held.people))
    return min(POOLINGS, key=lambda pooling: (losses[pooling], pooling is not None))


def fit_logistic(columns: Floats, people: Floats, weight: Floats, around: Floats, precision: Floats) -> Floats:
    """(k,) β that minimises Σᵢ wᵢ[log(1 + exp(xᵢ·β)) − tᵢ xᵢ·β] + (β − β₀)ᵀ P (β − β₀) / 2, by Newton's method.

    `columns` (n, k), `people` (n,) soft labels, `around` β₀ (k,), `precision` P (k, k), positive definite.
    scikit-learn's LogisticRegression has neither soft labels nor a prior around something else than 0.
    """
    beta = around.astype(np.float64)

    def loss(b: Floats) -> float:
        z = columns @ b
        pull = b - around
        return float(weight @ (np.logaddexp(0, z) - people * z) + pull @ precision @ pull / 2)

    at = loss(beta)
    for _ in range(STEPS):
        slope = columns.T @ (weight * (expit(columns @ beta) - people)) + precision @ (beta - around)
        step = np.linalg.solve(_information(columns, weight, beta) + precision, slope)
        while (new := loss(beta - step)) > at + 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
        beta, before, at = beta - step, at, new
        if before - at < 1e-9:
            break
    return beta


def _information(columns: Floats, weight: Floats, beta: Floats) -> Floats:
    p = expit(columns @ beta)
    return np.asarray((columns * (weight * p * (1 - p))[:, None]).T @ columns)
