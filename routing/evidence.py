"""What is judged, as mixtures are measured on it: how good a proxy reward model on each mixture's labels is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from routing import mixtures, reward_proxy

# Mixtures scored at once: whoever waits hears of it after each block.
BLOCK = 25
# Folds by prompt: a mixture's reward model never sees the prompts that it is scored on.
FOLDS = 5


@dataclass
class Evidence:
    """n comparisons that people judged, s sources, of which column 0 is people with all their votes.

    `names` (s,), `is_people` (s,), `prices` (n, s) money a comparison, `design` (n, d) from `reward_proxy.design`,
    `traits` (n, k), `members` (n, q) from `bins`, `p_b` (n, s) NaN where a source has not answered, `votes` (n,),
    `groups` (n,) prompts, `comparisons` (n,) the ids they are kept under.
    """

    names: list[str]
    is_people: list[bool]
    prices: np.ndarray
    design: np.ndarray
    traits: np.ndarray
    members: np.ndarray
    bins: mixtures.Bins
    p_b: np.ndarray
    votes: np.ndarray
    groups: np.ndarray
    comparisons: np.ndarray

    @property
    def people(self) -> np.ndarray:
        return np.asarray(self.p_b[:, 0])

    @property
    def available(self) -> np.ndarray:
        return ~np.isnan(self.p_b)

    def described(self, drawn: np.ndarray) -> np.ndarray:
        """(m, c) what a performance model reads of mixtures (m, n)."""
        return mixtures.describe(drawn, self.members, self.prices, self.is_people)

    def penalty(self, seed: int = 0) -> float:
        return reward_proxy.choose_l2(self.design, self.people, self.groups, seed=seed, count=FOLDS)

    def scores(
        self, drawn: np.ndarray, l2: float, seed: int = 0, beat: Callable[[int, int], None] = lambda _done, _of: None
    ) -> np.ndarray:
        """(m,) accuracy of each mixture's proxy reward model on people's majorities of prompts it has not seen."""
        targets = mixtures.labels_of(drawn, self.p_b)
        blocks = [np.empty(0)]
        for start in range(0, len(drawn), BLOCK):
            beat(start, len(drawn))
            blocks.append(self._cross_fitted(targets[start : start + BLOCK], l2, seed, repeats=2))
        return np.concatenate(blocks)

    def repeated(self, drawn: np.ndarray, l2: float, seed: int, seeds: int) -> np.ndarray:
        """(m, seeds) scores of the same mixtures with new draws: what no performance model can explain."""
        targets = mixtures.labels_of(drawn, self.p_b)
        drawn_anew = (self._cross_fitted(targets, l2, seed + 1 + number, resample=True) for number in range(seeds))
        return np.column_stack(list(drawn_anew))

    def _cross_fitted(
        self, targets: np.ndarray, l2: float, seed: int, repeats: int = 1, resample: bool = False
    ) -> np.ndarray:
        return reward_proxy.cross_fitted_accuracy(
            self.design,
            targets,
            self.people,
            self.votes,
            self.groups,
            l2=l2,
            seed=seed,
            repeats=repeats,
            count=FOLDS,
            resample=resample,
        )

    def held_out(self, seed: int) -> np.ndarray:
        """(n,) bool: the comparisons that a dearer reward model of this seed is scored on and does not see.

        Seeds take turns through five parts of the prompts, so that the mean over seeds is cross-fitted, and all
        mixtures of one seed are scored on the same comparisons. A prompt stays in its part as later ones come in.
        """
        turns = {
            block: np.random.default_rng(int(block)).permutation(FOLDS) for block in np.unique(self.groups // FOLDS)
        }
        part = np.array([turns[group // FOLDS][group % FOLDS] for group in self.groups.tolist()])
        return np.asarray(part == seed % FOLDS)

    def sampling_error(self, scores: np.ndarray) -> float:
        """Standard error of an accuracy measured on these comparisons: the part of the interval all mixtures share.

        Two right and two wrong are added (Agresti and Coull 1998), so that no accuracy counts as known exactly.
        """
        weight = self.votes[self.people != 0.5].astype(float)
        effective = weight.sum() ** 2 / np.square(weight).sum()
        mean = (float(np.mean(scores)) * effective + 2) / (effective + 4)
        return float(np.sqrt(mean * (1 - mean) / (effective + 4)))
