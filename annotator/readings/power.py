"""How small a gain a seed set can show: the arithmetic of its size, told before money is spent.

Two choices of whose judgment to use are compared on the same n comparisons. They differ on a share d of them, so the
difference of their accuracies has a standard error of at most sqrt(d / n) (McNemar 1947, discordant pairs). A gain of
(z_0.975 + z_power) * sqrt(d / n) is found with that power by a two-sided test at 5%.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil, sqrt
from statistics import NormalDist

POWER = 0.8
LEVEL = 0.05
# Where labelers and people have not been compared yet: how often two choices give different labels.
DIFFERING = 0.2
SIZES = (100, 200, 300, 500, 1000, 2000, 5000)
_Z = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)


@dataclass(frozen=True)
class Size:
    """A size of the seed set, the smallest gain in accuracy it could detect, and what its people cost."""

    comparisons: int
    detectable: float
    cost: Decimal
    is_proposed: bool = False


def detectable(comparisons: int, differing: float = DIFFERING) -> float:
    """The smallest gain in accuracy, in [0, 1], that so many comparisons show with POWER."""
    return min(1.0, _Z * sqrt(differing / comparisons)) if comparisons > 0 else 1.0


def needed(gain: float, differing: float = DIFFERING) -> int:
    """How many comparisons show a `gain` in accuracy above 0 with POWER."""
    return ceil(differing * (_Z / gain) ** 2)


def sizes(there: int, proposed: int, price: Decimal, differing: float = DIFFERING) -> list[Size]:
    """Sizes to choose from among `there` comparisons, the proposed one marked."""
    chosen = sorted({size for size in (*SIZES, proposed) if 0 < size <= there})
    return [Size(size, detectable(size, differing), price * size, size == proposed) for size in chosen]


def propose(there: int, share: float, at_least: int) -> int:
    """The size the lead's policy asks for: a share of the comparisons, and at least so many where there are."""
    return min(there, max(at_least, round(share * there)))
