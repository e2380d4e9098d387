"""The published method on a project's own evidence: mixtures by Algorithm 1, scored as ours are, and its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from routing import hyper
from routing.evidence import Evidence
from routing.fidelity import correlation

KIND = "quadratic"


@dataclass(frozen=True)
class Published:
    """Mixtures `drawn` (m, n) by Algorithm 1, their `scores` (m,), the model `fitted` on them, and what to `tell`: its
    number of mixtures and, by kind, RMSE and rank correlation out of fold."""

    drawn: np.ndarray
    scores: np.ndarray
    fitted: hyper.Fitted
    told: dict[str, Any]


def published(evidence: Evidence, count: int, l2: float, seed: int = 0) -> Published | None:
    """People, or else the labeler that agrees best with them; None where no feature makes a tag."""
    if not evidence.members.shape[1]:
        return None
    to_people = hyper.sample(evidence.members, count, seed)
    drawn = np.where(to_people, 0, best_labeler(evidence)).astype(np.int16)
    # Where that labeler has not answered, people have.
    drawn = np.where(evidence.available[np.arange(drawn.shape[1]), drawn], drawn, 0)
    scores = evidence.scores(drawn, l2, seed)
    told: dict[str, Any] = {"mixtures": len(drawn)}
    for kind in hyper.DEGREES:
        predicted = _out_of_fold(evidence.members, drawn, scores, kind, seed)
        told[kind] = {
            "rmse": float(np.sqrt(np.square(predicted - scores).mean())),
            "spearman": correlation(predicted, scores).value,
        }
    return Published(drawn, scores, hyper.fit(evidence.members, drawn, scores, KIND), told)


def best_labeler(evidence: Evidence) -> int:
    """The column that agrees most often with people's majorities; the first labeler when none can be told apart."""
    side = np.sign(evidence.people - 0.5)
    agreement = np.sign(evidence.p_b - 0.5) * side[:, None]
    counted = ~np.isnan(agreement) & (side != 0)[:, None]
    right = np.where(counted, agreement, 0.0).sum(axis=0) / np.maximum(1, counted.sum(axis=0))
    return int(np.argmax(np.where(evidence.is_people, -np.inf, right)))


def _out_of_fold(members: np.ndarray, drawn: np.ndarray, scores: np.ndarray, kind: str, seed: int) -> np.ndarray:
    predicted = np.empty(len(scores))
    for train, test in KFold(5, shuffle=True, random_state=seed).split(drawn):
        fitted = hyper.fit(members, drawn[train], scores[train], kind)
        predicted[test] = fitted.predict(hyper.counts(drawn[test], members))
    return predicted
