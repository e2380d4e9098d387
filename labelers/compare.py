"""Two labelers or two versions on the same comparisons; and several against people's labels.

Probabilities are P(B is better), (n,), NaN where a labeler said nothing usable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelers.measures import REPLICATES, Difference, Draws, Floats, finite, gain, log_losses, right

# A label is suspect only where at least so many labelers have said something.
LEAST_SCORERS = 2


@dataclass(frozen=True)
class Paired:
    """A candidate against the incumbent; above 0 is better in both. `log_loss` in nats, with its sign turned.

    `prompts`: on how many prompts both judged what people took a side on.
    """

    accuracy: Difference
    log_loss: Difference
    prompts: int

    @property
    def worse(self) -> bool:
        """Surely worse at naming the side that people took."""
        return self.accuracy.worse


def paired(
    candidate: Floats,
    incumbent: Floats,
    people: Floats,
    prompts: NDArray[Any],
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Paired:
    """Differences on the comparisons that both judged and people too, with a bootstrap that draws whole prompts.

    `people` (n,) share of votes for B; accuracy leaves their ties out.
    """
    both = ~np.isnan(candidate) & ~np.isnan(incumbent)
    sided = both & (people != 0.5)
    groups = np.unique(np.asarray(prompts), return_inverse=True)[1]
    draws = Draws(groups, seed, replicates)
    decided = draws.where(sided)
    return Paired(
        gain(decided, right(candidate[sided], people[sided]) - right(incumbent[sided], people[sided])),
        gain(draws.where(both), log_losses(incumbent[both], people[both]) - log_losses(candidate[both], people[both])),
        decided.prompts,
    )


@dataclass(frozen=True)
class Agreement:
    """Kendall's τ-b of two labelers, and CREAM's consistency C = (τ + 1) / 2; None where neither names a side."""

    tau: float | None
    c: float | None
    n: int


def consistency(one: Floats, other: Floats) -> Agreement:
    """How alike two labelers order responses: τ-b over the comparisons that both judged.

    A comparison is a pair of responses that is ordered the same way or not, so with all pairs of a prompt judged this
    is Kendall's τ of their rankings, which CREAM (Wang et al. 2024) computes. τ = Σ sᵢsᵢ' / √(Σ sᵢ² Σ sᵢ'²), s the
    sides in −1, 0, 1.
    """
    both = ~np.isnan(one) & ~np.isnan(other)
    first, second = np.sign(one[both] - 0.5), np.sign(other[both] - 0.5)
    sides = np.sqrt(float(first @ first) * float(second @ second))
    tau = finite(float(first @ second) / sides) if sides else None
    return Agreement(tau, None if tau is None else (tau + 1) / 2, int(both.sum()))


def consistency_by_prompt(one: Floats, other: Floats, prompts: NDArray[Any]) -> Floats:
    """(n,) C of each comparison's prompt: CREAM's soft label for what the first labeler says there. NaN as `c` None."""
    groups = np.unique(np.asarray(prompts), return_inverse=True)[1]
    inside = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    found = [consistency(one[rows], other[rows]).c for rows in inside]
    return np.array([np.nan if each is None else each for each in found], dtype=np.float64)[groups]


@dataclass(frozen=True)
class Suspect:
    """A label of people that several labelers speak against. `place`: of the comparison in the arrays.

    `mean`, `spread`: of the labelers' log-odds for the side that people took. `against` of `of` name the other.
    """

    place: int
    mean: float
    spread: float
    against: int
    of: int
    reason: Literal["all_against", "most_against"]


def strength(log_odds: Floats, people: Floats) -> tuple[Floats, Floats]:
    """(n,) mean and (n,) standard deviation over labelers of the log-odds for the side that people took.

    "Preference strength" of Wang et al. 2024 (Secrets of RLHF II) with calibrated labelers in place of reward models
    trained on shuffled data. `log_odds` (n, M), NaN where one said nothing. NaN where people tie or nobody said
    anything.
    """
    signed = log_odds * np.where(people == 0.5, np.nan, np.sign(people - 0.5))[:, None]
    known = (~np.isnan(signed)).sum(axis=1)
    count = np.where(known > 0, known, np.nan)
    mean = np.nansum(signed, axis=1) / count
    spread = np.sqrt(np.nansum((signed - mean[:, None]) ** 2, axis=1) / count)
    return mean, spread


def suspects(log_odds: Floats, people: Floats) -> list[Suspect]:
    """Labels that people may have got wrong, the most suspect first.

    `log_odds` (n, M): calibrated and cross-fitted (`calibration.cross_fitted`), or a labeler would have learnt the very
    label that it is to doubt. A label is suspect when the mean lies more than one spread below 0: the labelers agree
    with each other, against the label. Never reason enough to change it: it is one to look at.
    """
    mean, spread = strength(log_odds, people)
    signed = log_odds * np.sign(people - 0.5)[:, None]
    known = (~np.isnan(signed)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        doubtful = np.flatnonzero((known >= LEAST_SCORERS) & (mean + spread < 0) & (people != 0.5))
        against = (signed < 0).sum(axis=1)
    worst_first = doubtful[np.argsort(mean[doubtful], kind="stable")]
    return [_suspect(place, mean, spread, against, known) for place in worst_first]


def _suspect(place: int, mean: Floats, spread: Floats, against: NDArray[Any], known: NDArray[Any]) -> Suspect:
    everyone = against[place] == known[place]
    return Suspect(
        int(place),
        float(mean[place]),
        float(spread[place]),
        int(against[place]),
        int(known[place]),
        "all_against" if everyone else "most_against",
    )
