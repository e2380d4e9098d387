"""Why a plan sends a comparison where it does, in words a lead can check."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from routing import features, mixtures, traits
from routing.strategies import Allocation, Problem, to_money

# A group of comparisons is worth naming when people get this much more of it than of everything.
LIFT = 0.1
GROUPS = 6
FEWEST = 10
SIGNED = {name for name, item in features.FEATURES.items() if item.signed}
# Probabilities between these say that a labeler could not decide.
UNSURE = (0.4, 0.6)
# Strategies that look at no comparison: nothing about one is their reason.
UNRANKED = ("all_people", "all_ai", "random")


class Reasons:
    """Words for every route of an allocation, and the groups of comparisons that people get more of than others."""

    def __init__(self, problem: Problem, allocation: Allocation, bins: mixtures.Bins) -> None:
        self.problem, self.allocation = problem, allocation
        self.people = np.isin(allocation.source, problem.people_sources)
        self.members = bins.members(problem.described)
        self.groups = {} if allocation.strategy in UNRANKED else self._groups(bins)
        sides = np.sign(problem.p_b[:, problem.labelers] - 0.5) if problem.labelers else np.zeros((len(problem), 1))
        known = ~np.isnan(sides)
        self.disagree = np.asarray(known.all(axis=1)) & np.asarray(np.ptp(np.nan_to_num(sides), axis=1) > 0)
        said = problem.p_b[:, problem.labelers] if problem.labelers else np.full((len(problem), 1), np.nan)
        self.unsure = np.asarray(((said > UNSURE[0]) & (said < UNSURE[1])).any(axis=1))

    def _groups(self, bins: mixtures.Bins) -> dict[int, str]:
        """Column of `members` → words, largest lift of people's share first; one group a feature."""
        size = np.maximum(1, self.members.sum(axis=0))
        sent = (self.members & self.people[:, None]).sum(axis=0)
        lift = sent / size - self.people.mean()
        found: dict[int, str] = {}
        named: set[str] = set()
        for column in np.argsort(-lift):
            name = bins.labels[column][0]
            # What labelers said is told for every route; a signed feature has lost its side here.
            if name in traits.LABELER_TRAITS or name in SIGNED:
                continue
            if lift[column] < LIFT or len(found) == GROUPS:
                break
            if name not in named and sent[column] >= FEWEST:
                found[int(column)] = self._words(name, self.members[:, column])
                named.add(name)
        return found

    def _words(self, name: str, members: np.ndarray) -> str:
        values = self.problem.described[:, traits.names_of(self.problem.names).index(name)]
        known = values[~np.isnan(values)]
        thirds = (float(np.quantile(known, 1 / 3)), float(np.quantile(known, 2 / 3)))
        return traits.describe(name, float(np.nanmedian(values[members])), thirds)

    def summary(self) -> list[dict[str, Any]]:
        """[{"text", "count"}] of what goes to people and why, for the plan's page."""
        rows = [
            {"text": words, "count": int((self.members[:, column] & self.people).sum())}
            for column, words in self.groups.items()
        ]
        if self.disagree.any():
            rows.insert(0, {"text": _("the labelers disagree"), "count": int((self.disagree & self.people).sum())})
        return rows

    def values(self, row: int) -> dict[str, dict[str, Any]]:
        """What each source that can be used was worth for one comparison (see `Route.values`)."""
        usable = np.flatnonzero(self.problem.usable[row]).tolist()
        return {self.problem.sources[column].name: self._value(row, column) for column in usable}

    def _value(self, row: int, column: int) -> dict[str, Any]:
        worth, error = self.allocation.value, self.allocation.value_error
        if worth is not None:
            right = float(worth[row, column])
        elif column == self.allocation.source[row] and not self.people[row]:
            right = 1 - float(self.allocation.gain[row])  # this strategy ranks by the chance that its labeler is wrong
        else:
            right = math.nan
        return {
            "right": _known(right),
            "error": None if error is None else _known(float(error[row, column])),
            "price": str(to_money(int(self.problem.units[row, column]))),
        }

    def of(self, row: int) -> str:
        """The reason of one route."""
        source = self.problem.sources[self.allocation.source[row]].name
        if self.allocation.is_control[row]:
            return _("Drawn at random to check the plan: whatever the ranking says, chance chose %(source)s.") % {
                "source": source
            }
        if self.allocation.strategy in ("all_people", "all_ai"):
            return _("This plan sends everything it can to %(source)s.") % {"source": source}
        if self.allocation.strategy == "random":
            return (
                _("Drawn at random.")
                if self.people[row]
                else _("Not drawn for people; %(source)s judges it.") % {"source": source}
            )
        return self._ranked(row, source)

    def _ranked(self, row: int, source: str) -> str:
        parts = [_("the labelers disagree")] if self.disagree[row] else []
        parts += [_("a labeler is unsure")] if self.unsure[row] else []
        parts += [words for column, words in self.groups.items() if self.members[row, column]][:2]
        chance = self._chance(row)
        words = "; ".join([chance, *parts] if chance else parts)
        if self.people[row]:
            return words or _("ranked high for people")
        return _("%(source)s is good enough: %(words)s") % {
            "source": source,
            "words": words or _("ranked low for people"),
        }

    def _chance(self, row: int) -> str:
        """What the strategy knew of this comparison, in words; empty when it could not be learnt."""
        gain, worth = float(self.allocation.gain[row]), self.allocation.value
        if worth is None:
            known = _("%(chance)s chance that the labeler is wrong") % {"chance": f"{gain:.0%}"}
            return "" if math.isnan(gain) else known
        if self.people[row]:
            known = _("people are right %(gain)s points more often than AI here") % {"gain": f"{100 * gain:.0f}"}
            return known if gain >= 0.005 else ""
        right = float(worth[row, self.allocation.source[row]])
        known = _("%(chance)s chance that it is right") % {"chance": f"{right:.0%}"}
        return "" if math.isnan(right) else known


def _known(number: float) -> float | None:
    return None if math.isnan(number) else round(number, 4)
