"""Several labelers as one. What they said is combined; nothing is asked again.

Methods:
- "weighted": log-odds = Σₘ wₘ · (calibrated log-odds of member m). A calibrated member that knows nothing says nearly
  0, so skill weighs by itself, and w takes care of members that repeat each other. w is fitted on what people said by
  logistic regression without intercept (exchange of A and B mirrors p), pulled by a ridge towards 1/M each, the mean of
  the members: with little gold it stays there. The ridge is chosen by cross-validation.
- "equal": the mean of the members' p as they say it. Needs no people, and one weak member spoils it.
- "by_domain": each domain's comparisons go to one member, whose calibrated p counts ("" names the member for the rest).

A member that said nothing of a comparison adds 0 there; where none did, p is NaN. Weights are fitted on log-odds from
calibrations that did not see the comparison (stacking, Wolpert 1992), or the member that overfits would get the say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from labelers import calibration
from labelers.calibration import FOLDS, Calibration, Judged, apart, fit_logistic
from labelers.measures import EPSILON, REPLICATES, Draws, Floats, gain, log_losses, right

Method = Literal["weighted", "equal", "by_domain"]
METHODS: tuple[Method, ...] = ("weighted", "equal", "by_domain")
# In comparisons of log-odds around 1: the first hardly holds the weights, the last leaves 1/M each.
RIDGES = (1.0, 10.0, 100.0, 1000.0)
# Gold comparisons of the learning curve, each drawn so many times.
CURVE, REPEATS = (10, 20, 40, 80, 160, 320, 640), 2

# Name of a member → what it said; all of the same comparisons in the same order.
Members = Mapping[str, Judged]


@dataclass(frozen=True)
class Ensemble:
    """What combines the members; `as_json` and `read` store it. `weights` are 1/M each unless they are fitted."""

    method: Method
    members: tuple[str, ...]
    weights: tuple[float, ...]
    calibrations: tuple[Calibration, ...]
    l2: float | None = None
    # Domain → member, for "by_domain".
    domains: dict[str, str] = field(default_factory=dict)

    def p_b(self, members: Members) -> Floats:
        """(n,) P(B is better). Raises KeyError when a member is missing altogether."""
        said = [members[name] for name in self.members]
        if self.method == "equal":
            return _mean(np.column_stack([each.p_b for each in said]))
        found = np.column_stack([each.log_odds(one) for each, one in zip(self.calibrations, said, strict=True)])
        if self.method == "weighted":
            return _combined(found, np.array(self.weights))
        chosen = [self.domains.get(domain, self.domains.get("", "")) for domain in said[0].domains.tolist()]
        p_b = np.full(len(said[0]), np.nan)
        for place, name in enumerate(self.members):
            mine = np.array([each == name for each in chosen], dtype=bool)
            p_b[mine] = expit(found[mine, place])
        return p_b

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "members": list(self.members),
            "weights": list(self.weights),
            "calibrations": [each.as_json() for each in self.calibrations],
            "l2": self.l2,
            "domains": self.domains,
        }


def read(stored: Mapping[str, Any]) -> Ensemble:
    """What `as_json` wrote."""
    return Ensemble(
        method=stored["method"],
        members=tuple(stored["members"]),
        weights=tuple(stored["weights"]),
        calibrations=tuple(calibration.read(each) for each in stored["calibrations"]),
        l2=stored["l2"],
        domains=dict(stored["domains"]),
    )


def fit(
    members: Members, method: Method = "weighted", *, domains: Mapping[str, str] | None = None, seed: int = 0
) -> Ensemble:
    """On comparisons that people judged. Raises ValueError for members that are no members, or that do not line up."""
    names, domains = tuple(members), dict(domains or {})
    _check(members, method, domains)
    even = (1 / len(names),) * len(names)
    if method == "equal":
        return Ensemble(method, names, even, ())
    calibrations = tuple(calibration.fit(each, seed) for each in members.values())
    if method == "by_domain":
        return Ensemble(method, names, even, calibrations, domains=domains)
    one = next(iter(members.values()))
    columns = log_odds(members, seed)
    weights, l2 = _weights(columns, one, seed)
    return Ensemble(method, names, tuple(float(each) for each in weights), calibrations, l2)


def cross_fitted(
    members: Members,
    method: Method = "weighted",
    *,
    domains: Mapping[str, str] | None = None,
    seed: int = 0,
    folds: int = FOLDS,
) -> Floats:
    """(n,) P(B is better), each by an ensemble that saw none of the prompt's comparisons; NaN under two prompts."""
    one = next(iter(members.values()))
    p_b = np.full(len(one), np.nan)
    for train, test in apart(one.prompts, folds, seed):
        p_b[test] = fit(_at(members, train), method, domains=domains, seed=seed).p_b(_at(members, test))
    return p_b


def measured(
    members: Members,
    method: Method = "weighted",
    *,
    domains: Mapping[str, str] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    curve: bool = True,
) -> dict[str, Any]:
    """The "ensemble" of a labeler's report (labelers.report), everything in it out of fold.

    `curve=False` leaves out the learning curve, which takes most of the time.
    """
    one = next(iter(members.values()))
    draws = Draws(one.prompts, seed, replicates)
    made = fit(members, method, domains=domains, seed=seed)
    p_b = cross_fitted(members, method, domains=domains, seed=seed)
    alone = {name: expit(column) for name, column in zip(members, log_odds(members, seed).T, strict=True)}
    hits = {name: _hits(each, one) for name, each in alone.items()}
    best = max(hits, key=lambda name: np.nanmean(hits[name]) if not np.isnan(hits[name]).all() else -1.0)
    own = _hits(p_b, one)
    return {
        "method": method,
        "l2": made.l2,
        "members": _rows(made, members, alone, hits, draws),
        "accuracy": _mean_of(own, draws),
        "equal": _mean_of(_hits(fit(members, "equal").p_b(members), one), draws),
        "best": asdict(_gain(own, hits[best], draws)),
        "curve": _curve(members, draws, seed) if curve and method == "weighted" else [],
    }


def log_odds(members: Members, seed: int = 0) -> Floats:
    """(n, M) calibrated log-odds of every member, cross-fitted by prompt; NaN where it said nothing."""
    found = [calibration.cross_fitted(each, seed) for each in members.values()]
    return np.asarray(logit(np.clip(np.column_stack(found), EPSILON / 10, 1 - EPSILON / 10)))


def _check(members: Members, method: Method, domains: Mapping[str, str]) -> None:
    if not members or method not in METHODS:
        raise ValueError(f"An ensemble needs members and one of the methods {', '.join(METHODS)}; not {method!r}.")
    if len({len(each) for each in members.values()}) > 1:
        raise ValueError("The members' verdicts do not line up: all are needed for the same comparisons.")
    if strangers := set(domains.values()) - set(members):
        raise ValueError(f"No member is called {', '.join(sorted(strangers))}.")
    if method == "by_domain" and not domains:
        raise ValueError("by_domain needs a member for each domain; '' names the one for the rest.")


def _at(members: Members, rows: NDArray[Any]) -> dict[str, Judged]:
    return {name: each.at(rows) for name, each in members.items()}


def _mean(p_b: Floats) -> Floats:
    """(n,) of (n, M) over those that said something."""
    known = ~np.isnan(p_b)
    return np.where(known.any(axis=1), np.nansum(p_b, axis=1) / np.maximum(1, known.sum(axis=1)), np.nan)


def _combined(columns: Floats, weights: Floats) -> Floats:
    p_b = expit(np.nan_to_num(columns) @ weights)
    return np.where(np.isnan(columns).all(axis=1), np.nan, p_b)


def _weights(columns: Floats, one: Judged, seed: int) -> tuple[Floats, float]:
    """(M,) fitted weights and their ridge, the one with the least held-out log loss; the strongest of equal ones."""
    there = np.asarray(~np.isnan(columns).all(axis=1))
    X, taught = np.nan_to_num(columns[there]), one.at(there)
    losses = dict.fromkeys(RIDGES, 0.0)
    for train, test in apart(taught.prompts, FOLDS, seed + 2):
        for l2 in RIDGES:
            p_b = expit(X[test] @ _fitted(X[train], taught.at(train), l2))
            losses[l2] += float(taught.weight[test] @ log_losses(p_b, taught.people[test]))
    l2 = min(RIDGES, key=lambda each: (losses[each], -each))
    return _fitted(X, taught, l2), l2


def _fitted(X: Floats, taught: Judged, l2: float) -> Floats:
    size = X.shape[1]
    return fit_logistic(X, taught.people, taught.weight, np.full(size, 1 / size), l2 * np.eye(size))


def _hits(p_b: Floats, one: Judged) -> Floats:
    """(n,) whether people's side is named; NaN where people tie or nothing was said."""
    return np.where((one.people == 0.5) | np.isnan(p_b), np.nan, right(p_b, one.people))


def _mean_of(hits: Floats, draws: Draws) -> dict[str, Any]:
    known = ~np.isnan(hits)
    return asdict(draws.where(known).mean(hits[known]))


def _gain(first: Floats, second: Floats, draws: Draws) -> Any:
    known = ~np.isnan(first) & ~np.isnan(second)
    return gain(draws.where(known), (first - second)[known])


def _rows(
    made: Ensemble, members: Members, alone: Mapping[str, Floats], hits: Mapping[str, Floats], draws: Draws
) -> list[dict[str, Any]]:
    """`share`: of the say, |w| times the size of the member's log-odds; null for by_domain."""
    size = {
        name: float(np.sqrt(np.nanmean(logit(p) ** 2))) if (~np.isnan(p)).any() else 0.0 for name, p in alone.items()
    }
    say = {name: abs(weight) * size[name] for name, weight in zip(made.members, made.weights, strict=True)}
    whole = sum(say.values())
    fitted = made.method == "weighted"
    return [
        {
            "label": name,
            "weight": weight if made.method != "by_domain" else None,
            "share": say[name] / whole if fitted and whole else None,
            "n": int((~np.isnan(members[name].p_b)).sum()),
            "alone": _mean_of(hits[name], draws),
            "domains": sorted(domain for domain, chosen in made.domains.items() if chosen == name),
        }
        for name, weight in zip(made.members, made.weights, strict=True)
    ]


def _curve(members: Members, draws: Draws, seed: int) -> list[dict[str, Any]]:
    """Accuracy with so many gold comparisons, drawn from other prompts than it is measured on, over several draws."""
    one = next(iter(members.values()))
    rng = np.random.default_rng(seed)
    least = min((len(train) for train, _test in apart(one.prompts, FOLDS, seed)), default=0)
    rows = []
    for n in (size for size in CURVE if size <= least):
        hits = np.zeros(len(one))
        for _repeat in range(REPEATS):
            for train, test in apart(one.prompts, FOLDS, seed):
                taught = _at(members, rng.permutation(train)[:n])
                hits[test] += _hits(fit(taught, seed=seed).p_b(_at(members, test)), one.at(test)) / REPEATS
        rows.append({"n": n, "accuracy": _mean_of(hits, draws)})
    return rows
