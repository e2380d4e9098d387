"""A share of a few things, with how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

# Of the normal distribution: 95% lie within.
Z = 1.96


@dataclass(frozen=True)
class Share:
    """`times` out of `of`, with Wilson's 95% interval, which is honest about few and about none or all of them."""

    times: int
    of: int

    @property
    def mean(self) -> float | None:
        return self.times / self.of if self.of else None

    @property
    def low(self) -> float:
        return self._interval[0]

    @property
    def high(self) -> float:
        return self._interval[1]

    @property
    def _interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        share, spread = self.times / self.of, Z * Z / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = Z * sqrt(share * (1 - share) / self.of + spread / (4 * self.of)) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)
