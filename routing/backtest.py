"""Backtests: what each strategy would have cost and achieved where people's and labelers' judgments are both recorded.

For every seed the comparisons are split into *fit* (routed, then trained on), *select* (the seed set: calibration,
penalty, performance model and the choice of the strategy are learnt here) and *test*. A strategy sees people's
judgments of *select* only; what it routes to people on *fit* is then looked up. Reported is the accuracy, on people's
majorities of *test*, of the Bradley-Terry proxy trained on the labels so bought: proxy accuracy at this training size.
Money is that of *fit*; people's judgments of *select* are history to all strategies alike (a random mixture and the
labelers alone would not need them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

import numpy as np
from scipy.stats import t as student

from routing import features, mixtures, performance, planning, reward_proxy, strategies, traits
from routing.embeddings import TextEmbedding
from routing.strategies import Allocation, Problem, Source
from routing.table import Split, Table, split

BUDGETS = (0.1, 0.25, 0.5, 0.75)
PEOPLE_PRICE = Decimal("1")
LABELER_PRICE = Decimal("0.01")
RANDOM_DRAWS = 5
MIXTURES = 120
NOISE_MIXTURES, NOISE_SEEDS = 16, 4
REPEATS = 3


class OverBudget(Exception):
    """An allocation cost more than its budget. A bug: no figure of this run may be reported."""


@dataclass(frozen=True)
class Row:
    """One strategy at one budget over all seeds; accuracies in [0, 1], 95% intervals, money as mean over seeds.

    `budget` is the share of the cost of asking people everything; None for strategies that have no budget. Differences
    are to random at the same budget and seed; None where there is no such random.
    """

    strategy: str
    budget: float | None
    mean: float
    low: float
    high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    label_accuracy: float
    money: float


@dataclass(frozen=True)
class Report:
    """`rows`, and what is needed to read them: the split, sizes, the performance models that were chosen, notes."""

    rows: tuple[Row, ...]
    split: str
    sizes: dict[str, float]
    seed_set_money: float
    models: dict[str, int]
    plans: dict[str, int]
    model_correlation: float
    noise_correlation: float
    notes: tuple[str, ...]


@dataclass
class _Outcome:
    """One allocation of one seed."""

    strategy: str
    budget: float | None
    allocation: Allocation
    accuracy: float = float("nan")
    label_accuracy: float = float("nan")


@dataclass
class _Run:
    """Everything of one seed."""

    made: Split
    outcomes: list[_Outcome]
    model: performance.Chosen
    noise: float
    plans: list[str] = field(default_factory=list)


def backtest(
    table: Table,
    *,
    seeds: int = 10,
    seed: int = 0,
    budgets: Sequence[float] = BUDGETS,
    prices: dict[str, Decimal] | None = None,
    by: str = "auto",
    kinds: tuple[str, ...] = tuple(performance.KINDS),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Run all strategies on `seeds` splits. `prices` by source name ("people" or a judge), per comparison.

    Raises OverBudget or table.BrokenSplit when exactness is broken, ValueError for prices that are no money.
    """
    sources = _sources(table, prices or {})
    runs = []
    for number in range(seeds):
        runs.append(_run(table, sources, budgets, seed + number, by, kinds))
        if progress:
            progress(number + 1, seeds)
    return _report(table, sources, runs)


def _sources(table: Table, prices: dict[str, Decimal]) -> tuple[Source, ...]:
    unknown = set(prices) - {"people", *table.judges}
    if unknown:
        raise ValueError(
            f"No source is called {', '.join(sorted(unknown))}; there are people, {', '.join(table.judges)}."
        )
    people = Source("people", prices.get("people", PEOPLE_PRICE), is_people=True)
    return (people, *(Source(judge, prices.get(judge, LABELER_PRICE)) for judge in table.judges))


def _run(
    table: Table, sources: tuple[Source, ...], budgets: Sequence[float], seed: int, by: str, kinds: tuple[str, ...]
) -> _Run:
    made = split(table, seed, by)
    X = _design(table, made, seed)
    p_b = np.column_stack([table.people, table.p_b])
    select = made.select
    l2 = reward_proxy.choose_l2(X[select], table.people[select], _groups(table, select), seed=seed)
    past = _problem(table, sources, select, p_b)
    hidden = p_b[made.fit].copy()
    hidden[:, 0] = np.nan
    problem = _problem(table, sources, made.fit, hidden, history=past)
    bins = mixtures.Bins.fit(np.vstack([problem.described, past.described]), traits.NAMES)
    model, noise = _performance_model(table, past, bins, X, select, l2, seed, kinds)
    run = _Run(made, [], model, noise)
    run.outcomes = _outcomes(problem, budgets, model, bins, seed, run.plans)
    _measure(table, run, X, p_b[made.fit], l2)
    return run


def _design(table: Table, made: Split, seed: int) -> np.ndarray:
    """(n, d); embedding and scales are fitted on fit and select only."""
    pool = np.concatenate([made.fit, made.select])
    embedding = TextEmbedding(seed=seed).fit([text for row in pool for text in table.texts[row]])
    prompt, a, b = (embedding.transform([texts[side] for texts in table.texts]) for side in range(3))
    signed = table.values[:, features.SIGNED]
    return reward_proxy.design(prompt, a, b, signed, reward_proxy.scales(signed[pool]))


def _problem(
    table: Table, sources: tuple[Source, ...], part: np.ndarray, p_b: np.ndarray, history: Problem | None = None
) -> Problem:
    p_b = p_b if len(p_b) == len(part) else p_b[part]
    available = ~np.isnan(p_b)
    available[:, 0] = True
    values = features.symmetric(table.values[part])
    problem = Problem(
        values, features.NAMES, sources, p_b, table.prompts[part], table.votes[part], available, history=history
    )
    return replace(problem, traits=traits.traits(problem))


def _groups(table: Table, part: np.ndarray) -> np.ndarray:
    """Prompts; with too few of them to cross-fit, single comparisons."""
    prompts = table.prompts[part]
    return prompts if len(np.unique(prompts)) >= 5 else np.arange(len(part))


def _performance_model(
    table: Table,
    past: Problem,
    bins: mixtures.Bins,
    X: np.ndarray,
    select: np.ndarray,
    l2: float,
    seed: int,
    kinds: tuple[str, ...],
) -> tuple[performance.Chosen, float]:
    """Mixtures of the seed set, measured by cross-fitted proxies, and the correlation that noise leaves possible."""
    drawn = traits.sample(past.described, len(past.sources), MIXTURES, available=past.usable, seed=seed)
    targets = mixtures.labels_of(drawn, past.p_b)
    known = (table.people[select], table.votes[select], _groups(table, select))
    scores = reward_proxy.cross_fitted_accuracy(X[select], targets, *known, l2=l2, seed=seed, repeats=REPEATS)
    few = targets[-NOISE_MIXTURES:]
    again = [
        reward_proxy.cross_fitted_accuracy(
            X[select], few, *known, l2=l2, seed=seed + 7919 * number, repeats=REPEATS, resample=True
        )
        for number in range(1, NOISE_SEEDS + 1)
    ]
    described = planning.describe(past, bins, drawn)
    model = performance.choose(described, scores, budget_column=len(past.sources), seed=seed, kinds=kinds)
    return model, performance.noise_ceiling(np.column_stack(again))["correlation"]


def _outcomes(
    problem: Problem,
    budgets: Sequence[float],
    model: performance.Chosen,
    bins: mixtures.Bins,
    seed: int,
    plans: list[str],
) -> list[_Outcome]:
    everything = strategies.to_money(int(problem.units[:, 0].sum()))
    found = [_Outcome("all_people", None, strategies.all_people(problem, everything, seed=seed))]
    for labeler in problem.labelers:
        name = f"all_ai {problem.sources[labeler].name}"
        most = strategies.to_money(int(problem.units.max(axis=1).sum()))
        found.append(_Outcome(name, None, strategies.all_ai(problem, most, seed=seed, source=labeler)))
    for share in budgets:
        budget = (everything * Decimal(str(share))).quantize(Decimal("1e-8"), ROUND_DOWN)
        found += [
            _Outcome("random", share, strategies.random_share(problem, budget, seed=seed * RANDOM_DRAWS + draw))
            for draw in range(RANDOM_DRAWS)
        ]
        found.append(_Outcome("disagreement", share, strategies.disagreement(problem, budget, seed=seed)))
        chosen = planning.choose_plan(problem, budget, model, bins, seed=seed)
        found.append(_Outcome("auto", share, chosen.best.allocation))
        plans.append(chosen.best.allocation.strategy)
        _within(found, share, budget)
    return found


def _within(found: list[_Outcome], share: float, budget: Decimal) -> None:
    for outcome in found:
        if outcome.budget == share and outcome.allocation.cost > budget:
            raise OverBudget(f"{outcome.strategy} costs {outcome.allocation.cost} with a budget of {budget}.")


def _measure(table: Table, run: _Run, X: np.ndarray, p_b: np.ndarray, l2: float) -> None:
    """One batched fit for all allocations of the seed; accuracy on test, and of the labels on fit."""
    fit, test = run.made.fit, run.made.test
    targets = mixtures.labels_of(np.stack([outcome.allocation.source for outcome in run.outcomes]), p_b)
    fitted = reward_proxy.fit_mixtures(X[fit], targets, None, l2)
    measured = reward_proxy.accuracy(fitted, X[test], table.people[test], table.votes[test])
    counts = table.people[fit] != 0.5
    side = np.sign(table.people[fit][counts] - 0.5)
    agreement = (np.sign(targets[:, counts] - 0.5) * side + 1) / 2
    for outcome, value, labels in zip(run.outcomes, measured, agreement, strict=True):
        known = ~np.isnan(labels)
        outcome.accuracy = float(value)
        outcome.label_accuracy = float(np.average(labels[known], weights=table.votes[fit][counts][known]))


# Over all seeds


def _report(table: Table, sources: tuple[Source, ...], runs: list[_Run]) -> Report:
    keys = list(dict.fromkeys((outcome.strategy, outcome.budget) for outcome in runs[0].outcomes))
    ratio = float(np.mean([len(run.made.test) / (len(run.made.fit) + len(run.made.select)) for run in runs]))
    kinds = [run.model.kind_ for run in runs]
    plans = [plan for run in runs for plan in run.plans]
    sizes = {part: float(np.mean([len(getattr(run.made, part)) for run in runs])) for part in ("fit", "select", "test")}
    return Report(
        rows=tuple(_row(runs, *key, ratio) for key in keys),
        split=runs[0].made.by,
        sizes={**sizes, "dropped": float(np.mean([run.made.dropped for run in runs])), "all": float(len(table))},
        seed_set_money=sizes["select"] * float(sources[0].price),
        models={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        plans={plan: plans.count(plan) for plan in dict.fromkeys(plans)},
        model_correlation=float(np.mean([run.model.scores_[run.model.kind_].spearman for run in runs])),
        noise_correlation=float(np.mean([run.noise for run in runs])),
        notes=table.notes,
    )


def _row(runs: list[_Run], strategy: str, budget: float | None, ratio: float) -> Row:
    def mean(run: _Run, name: str, value: Callable[[_Outcome], float]) -> float:
        return float(np.mean([value(o) for o in run.outcomes if (o.strategy, o.budget) == (name, budget)]))

    values = np.array([mean(run, strategy, lambda o: o.accuracy) for run in runs])
    paired: tuple[float | None, float | None, float | None] = (None, None, None)
    if budget is not None and strategy != "random":
        against = np.array([mean(run, "random", lambda o: o.accuracy) for run in runs])
        paired = interval(values - against, ratio)
    labels = float(np.mean([mean(run, strategy, lambda o: o.label_accuracy) for run in runs]))
    money = float(np.mean([mean(run, strategy, lambda o: float(o.allocation.cost)) for run in runs]))
    centre, low, high = interval(values, ratio)
    return Row(strategy, budget, centre, low, high, *paired, labels, money)


def interval(values: np.ndarray, ratio: float, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) over repeated splits of the same data; NaN bounds with one seed.

    Splits share data, so the plain error of the mean is too small: the variance is multiplied by 1/K + ratio, where
    `ratio` is test size over training size (Nadeau and Bengio 2003, corrected resampled t).
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return mean, float("nan"), float("nan")
    half = student.ppf(0.5 + level / 2, count - 1) * np.sqrt(np.var(values, ddof=1) * (1 / count + ratio))
    return mean, mean - float(half), mean + float(half)
