"""Backtests: what each strategy would have cost and achieved where people's and labelers' judgments are both recorded.

For every seed the comparisons are split into *fit* (routed, then trained on), *select* (the seed set: calibration,
penalty, performance model and the choice of the strategy are learnt here) and *test*. A strategy sees people's
judgments of *select* only; what it routes to people on *fit* is then looked up. Reported is the accuracy, on people's
majorities of *test*, of the Bradley-Terry proxy trained on the labels so bought: proxy accuracy at this training size.
Money is that of *fit*; people's judgments of *select* are history to all strategies alike (a random mixture and the
labelers alone would not need them).

A seed's outcome is plain JSON, so that seeds can be computed apart, stored one by one and reported on together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from functools import cached_property, partial
from itertools import chain
from math import isfinite
from multiprocessing import get_context
from typing import Any

import numpy as np

from routing import features, hyper, mixtures, performance, planning, reward_proxy, strategies, traits
from routing.backtest_parameters import BUDGETS, VARIANTS, Parameters
from routing.backtest_report import Report, Row, interval, report
from routing.embeddings import TextEmbedding
from routing.strategies import Allocation, BudgetTooSmall, Problem, Source
from routing.table import Split, Table, split

__all__ = ["BUDGETS", "OverBudget", "Parameters", "Report", "Row", "backtest", "interval", "report", "run_seed"]

PEOPLE_PRICE = Decimal("1")
LABELER_PRICE = Decimal("0.01")
RANDOM_DRAWS = 5
MIXTURES = 120
NOISE_MIXTURES, NOISE_SEEDS = 16, 4
REPEATS = 3

Step = Callable[[], None]


class OverBudget(Exception):
    """An allocation is not what it says, or cost more than its budget. A bug: no figure of this run may be reported."""


def backtest(
    table: Table,
    parameters: Parameters | None = None,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """All strategies on all seeds. With `processes` over 1 each computes seeds of its own, from a copy of the table.

    Raises OverBudget or table.BrokenSplit when exactness is broken, ValueError for the price of a source not there.
    """
    parameters = parameters or Parameters()
    outcomes = []
    for outcome in _outcomes_of(table, parameters, processes):
        outcomes.append(outcome)
        if progress:
            progress(len(outcomes), parameters.seeds)
    return report(parameters, outcomes)


def _outcomes_of(table: Table, parameters: Parameters, processes: int) -> Iterator[dict[str, Any]]:
    if processes < 2:
        yield from (run_seed(table, parameters, seed) for seed in parameters.numbers)
        return
    # Spawned, not forked: a fork copies BLAS's threads in whatever state they are.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(partial(run_seed, table, parameters), parameters.numbers)


def run_seed(table: Table, parameters: Parameters, seed: int, step: Step | None = None) -> dict[str, Any]:
    """One split and everything that was tried on it, as JSON (no NaN: null). The same arguments give the same outcome.

    `step` is called between its parts, seconds apart: it may raise to stop.
    """
    step = step or _nothing
    sources = sources_of(table, parameters)
    run = _Seed(table, sources, parameters, seed, split(table, seed, parameters.by))
    step()
    learnt = run.learn(step)
    tried = _tried(run, learnt, step)
    _measure(run, tried)
    return _outcome(run, learnt, tried)


def _nothing() -> None:
    return None


def sources_of(table: Table, parameters: Parameters) -> tuple[Source, ...]:
    """People with all votes, people with fewer where asked for, labelers. Raises ValueError for a price of nobody.

    Fewer votes cost their part of what all cost, unless they have a price of their own.
    """
    usual = int(np.median(table.votes))
    fewer = [votes for votes in parameters.votes if votes < usual] if table.ballots else []
    unknown = set(parameters.prices) - {"people", *(f"people:{votes}" for votes in fewer), *table.judges}
    if unknown:
        raise ValueError(
            f"No source is called {', '.join(sorted(unknown))}; there are people, {', '.join(table.judges)}."
        )
    price = parameters.prices.get("people", PEOPLE_PRICE)
    people = [Source("people", price, is_people=True, votes=usual)]
    for votes in fewer:
        part = (price * votes / usual).quantize(Decimal("1e-8"), ROUND_DOWN)
        people.append(Source(f"people:{votes}", parameters.prices.get(f"people:{votes}", part), True, votes))
    return (*people, *(Source(judge, parameters.prices.get(judge, LABELER_PRICE)) for judge in table.judges))


@dataclass(frozen=True)
class _Learnt:
    """Learnt on *select*: the performance model and its bins, the paper's model, what noise leaves possible."""

    model: performance.Chosen
    bins: mixtures.Bins
    noise: dict[str, float]
    # The published model and its tags of *fit*; None unless one of the paper's strategies runs.
    paper: hyper.Fitted | None = None
    tags: np.ndarray | None = None


@dataclass
class _Try:
    """One mixture of *fit*. `is_reported` is False for what `auto` only looked at: it counts for the best found."""

    strategy: str
    budget: float | None
    allocation: Allocation
    is_reported: bool = True
    accuracy: float = float("nan")
    label_accuracy: float = float("nan")


@dataclass
class _Seed:
    """One split, as problems and designs. Arrays over all n comparisons of the table unless they say `fit`."""

    table: Table
    sources: tuple[Source, ...]
    parameters: Parameters
    seed: int
    made: Split

    @cached_property
    def p_b(self) -> np.ndarray:
        """(n, s) what each source said; people with fewer votes are votes drawn from the recorded ones."""
        rng = np.random.default_rng([self.seed, 1])
        fewer = [_drawn_votes(self.table, source.votes, rng) for source in self.sources[1:] if source.is_people]
        return np.column_stack([self.table.people, *fewer, self.table.p_b])

    @cached_property
    def design(self) -> np.ndarray:
        """(n, d); embedding and scales are fitted on fit and select only. Each text is embedded once."""
        pool = np.concatenate([self.made.fit, self.made.select])
        texts = self.table.texts
        embedding = TextEmbedding(seed=self.seed).fit([text for row in pool for text in texts[row]])
        place = {text: number for number, text in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
        vectors = embedding.transform(list(place))
        prompt, a, b = (vectors[[place[text[side]] for text in texts]] for side in range(3))
        signed = self.table.values[:, features.signed(self.table.names)]
        return reward_proxy.design(prompt, a, b, signed, reward_proxy.scales(signed[pool]))

    @cached_property
    def l2(self) -> float:
        select = self.made.select
        return reward_proxy.choose_l2(
            self.design[select], self.table.people[select], self.groups(select), seed=self.seed
        )

    @cached_property
    def past(self) -> Problem:
        """*select*, with people's judgments."""
        return self._problem(self.made.select, self.p_b[self.made.select])

    @cached_property
    def problem(self) -> Problem:
        """*fit*, without them."""
        hidden = self.p_b[self.made.fit].copy()
        hidden[:, [source.is_people for source in self.sources]] = np.nan
        return self._problem(self.made.fit, hidden, self.past)

    def _problem(self, part: np.ndarray, p_b: np.ndarray, history: Problem | None = None) -> Problem:
        # Whether people can be asked is no secret, what they say is.
        available = ~np.isnan(self.p_b[part])
        problem = Problem(
            features.symmetric(self.table.values[part], self.table.names),
            self.table.names,
            self.sources,
            p_b,
            self.table.prompts[part],
            self.table.votes[part],
            available,
            history=history,
        )
        return replace(problem, traits=traits.traits(problem))

    def groups(self, part: np.ndarray) -> np.ndarray:
        """Prompts; with too few of them to cross-fit, single comparisons."""
        prompts = self.table.prompts[part]
        return prompts if len(np.unique(prompts)) >= 5 else np.arange(len(part))

    def scored(self, targets: np.ndarray, seed: int, *, resample: bool = False) -> np.ndarray:
        """(m,) cross-fitted accuracy on *select* of proxies trained on `targets` (m, select)."""
        select = self.made.select
        return reward_proxy.cross_fitted_accuracy(
            self.design[select],
            targets,
            self.table.people[select],
            self.table.votes[select],
            self.groups(select),
            l2=self.l2,
            seed=seed,
            repeats=REPEATS,
            resample=resample,
        )

    def learn(self, step: Step) -> _Learnt:
        """Mixtures of *select*, measured by cross-fitted proxies, and the performance model of those scores."""
        past, count = self.past, len(self.sources)
        bins = mixtures.Bins.fit(np.vstack([self.problem.described, past.described]), traits.names_of(past.names))
        step()
        drawn = traits.sample(past.described, count, MIXTURES, available=past.usable, seed=self.seed)
        targets = mixtures.labels_of(drawn, past.p_b)
        scores = self.scored(targets, self.seed)
        step()
        again = [
            self.scored(targets[-NOISE_MIXTURES:], self.seed + 7919 * number, resample=True)
            for number in range(1, NOISE_SEEDS + 1)
        ]
        step()
        described = planning.describe(past, bins, drawn)
        kinds = self.parameters.kinds or tuple(performance.KINDS)
        model = performance.choose(described, scores, budget_column=count, seed=self.seed, kinds=kinds)
        noise = performance.noise_ceiling(np.column_stack(again))
        if not any(name.startswith("hyper") for name in self.parameters.names):
            return _Learnt(model, bins, noise)
        step()
        return _Learnt(model, bins, noise, *self._paper())

    def _paper(self) -> tuple[hyper.Fitted | None, np.ndarray | None]:
        """The published model: Algorithm 1 on *select*, between people and the labeler that agrees best with them,
        scored by the same proxies; tags are of the features alone. (None, None) when no feature makes a tag."""
        past, problem = self.past, self.problem
        bins = mixtures.Bins.fit(np.vstack([problem.features, past.features]), past.names)
        tags = bins.members(past.features)
        if not tags.shape[1]:
            return None, None
        drawn = hyper.sample(tags, MIXTURES, self.seed)
        # Column 0 is people with all their votes, who have judged all of *select*: where that labeler has not answered,
        # their label stands in, so that all mixtures train on the same comparisons.
        best = traits.best_labeler(past)
        to_people = drawn | ~past.usable[:, best]
        targets = mixtures.labels_of(np.where(to_people, 0, best), past.p_b)
        return hyper.fit(tags, to_people, self.scored(targets, self.seed)), bins.members(problem.features)


def _drawn_votes(table: Table, votes: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) mean of `votes` of the recorded votes drawn without replacement, NaN where there are not so many."""
    return np.array(
        [
            float(np.mean(rng.choice(ballots, votes, replace=False))) if len(ballots) >= votes else float("nan")
            for ballots in table.ballots
        ]
    )


# What is tried


def _tried(run: _Seed, learnt: _Learnt, step: Step) -> list[_Try]:
    problem, seed = run.problem, run.seed
    people = strategies.all_people(problem, _money(problem, 1), seed=seed)
    tried = [_Try("all_people", None, people), *_labelers(problem, seed)]
    for share in run.parameters.budgets:
        budget = _money(problem, share)
        for name in run.parameters.names:
            step()
            found = list(_allocations(name, problem, budget, learnt, seed))
            for allocation, _is_reported in found:
                _check(problem, allocation, budget)
            tried += [_Try(name, share, allocation, is_reported) for allocation, is_reported in found]
    return tried


def _money(problem: Problem, share: float) -> Decimal:
    """`share` of what people cost for everything, in whole units."""
    everything = strategies.to_money(int(problem.units[:, 0].sum()))
    return (everything * Decimal(str(share))).quantize(Decimal("1e-8"), ROUND_DOWN)


def _labelers(problem: Problem, seed: int) -> Iterator[_Try]:
    """Each labeler alone, and the one that agrees best with people on the seed set, whatever they cost."""
    most = strategies.to_money(int(problem.units.max(axis=1).sum()))
    for labeler in problem.labelers:
        name = f"all_ai {problem.sources[labeler].name}"
        yield _Try(name, None, strategies.all_ai(problem, most, seed=seed, source=labeler))
    yield _Try("all_ai", None, strategies.all_ai(problem, most, seed=seed))


def _allocations(
    name: str, problem: Problem, budget: Decimal, learnt: _Learnt, seed: int
) -> Iterator[tuple[Allocation, bool]]:
    """(allocation, whether it is the strategy's own); none when the budget cannot even pay the cheapest source, or the
    paper's model counts tags and there are none."""
    with suppress(BudgetTooSmall):
        if name == "random":
            for draw in range(RANDOM_DRAWS):
                yield strategies.random_share(problem, budget, seed=seed * RANDOM_DRAWS + draw), True
        elif name == "auto":
            choice = planning.choose_plan(problem, budget, learnt.model, learnt.bins, seed=seed)
            yield choice.best.allocation, True
            yield from ((candidate.allocation, False) for candidate in choice.candidates)
        else:
            named, options = VARIANTS.get(name, (name, {}))
            if learnt.paper or not name.startswith("hyper"):
                options = {**options, "paper": learnt.paper, "tags": learnt.tags}
                yield strategies.STRATEGIES[named](problem, budget, seed=seed, **options), True


def _check(problem: Problem, allocation: Allocation, budget: Decimal) -> None:
    """Counted again from the prices, not taken from the allocation."""
    source, name = allocation.source, allocation.strategy
    cost = strategies.to_money(strategies.cost_of(problem, source))
    if cost != allocation.cost or cost > budget:
        raise OverBudget(f"{name} says {allocation.cost} and costs {cost} with a budget of {budget}.")
    if source.shape != (len(problem),) or not problem.usable[np.arange(len(problem)), source][source >= 0].all():
        raise OverBudget(f"{name} does not give every comparison one source that can judge it.")
    if name != "all_people" and (source[problem.usable.any(axis=1)] < 0).any():
        raise OverBudget(f"{name} leaves comparisons without a source.")


def _measure(run: _Seed, tried: list[_Try]) -> None:
    """One batched fit for all mixtures of the seed; accuracy on test, and of the labels on fit."""
    fit, test, table = run.made.fit, run.made.test, run.table
    drawn, place = np.unique(np.stack([each.allocation.source for each in tried]), axis=0, return_inverse=True)
    targets = mixtures.labels_of(drawn, run.p_b[fit])
    fitted = reward_proxy.fit_mixtures(run.design[fit], targets, None, run.l2)
    measured = reward_proxy.accuracy(fitted, run.design[test], table.people[test], table.votes[test])
    labels = _label_accuracy(targets, table.people[fit], table.votes[fit])
    for each, row in zip(tried, place.ravel().tolist(), strict=True):
        each.accuracy, each.label_accuracy = float(measured[row]), float(labels[row])


def _label_accuracy(targets: np.ndarray, people: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(m,) agreement of labels (m, n) with people's majority, weighted by votes: people's ties left out, a label's tie
    half, and so is what has no label."""
    counts = people != 0.5
    side = np.sign(people[counts] - 0.5)
    agreement = (np.sign(np.nan_to_num(targets[:, counts], nan=0.5) - 0.5) * side + 1) / 2
    return np.average(agreement, axis=1, weights=votes[counts]) if counts.any() else np.full(len(targets), np.nan)


# As JSON


def _outcome(run: _Seed, learnt: _Learnt, tried: list[_Try]) -> dict[str, Any]:
    model, sizes = learnt.model, {part: len(getattr(run.made, part)) for part in ("fit", "select", "test")}
    keys = dict.fromkeys((each.strategy, each.budget) for each in tried if each.is_reported)
    units = run.past.units
    people = strategies.to_money(int(units[:, 0].sum()))
    labelers = strategies.to_money(int((units * run.past.usable)[:, run.past.labelers].sum()))
    return {
        "seed": run.seed,
        "by": run.made.by,
        "sizes": {**sizes, "dropped": run.made.dropped, "all": len(run.table)},
        "seed_set": {"people": str(people), "labelers": str(labelers)},
        "sources": {source.name: str(source.price) for source in run.sources},
        "model": {
            "kind": model.kind_,
            "skill": bool(model.skill_),
            "beats_budget": bool(model.beats_budget_),
            "spearman": finite(model.scores_[model.kind_].spearman),
        },
        "noise": {name: finite(value) for name, value in learnt.noise.items()},
        "mixtures": len({each.allocation.source.tobytes() for each in tried}),
        "rows": [_row(run.problem, tried, *key) for key in keys],
        "notes": list(run.table.notes),
    }


def _row(problem: Problem, tried: list[_Try], strategy: str, budget: float | None) -> dict[str, Any]:
    """A strategy at a budget: means over its draws. `plan` is the strategy that `auto` took.

    `regret` is the highest accuracy on *test* of any mixture of this seed that costs no more than this budget (without
    a budget: than this mixture), less this one's. The best is picked on *test*, so part of it is luck: regret is
    never negative but for rounding, and somebody who always did the best possible would still show some.
    """
    own = [each for each in tried if each.is_reported and (each.strategy, each.budget) == (strategy, budget)]
    limit = own[0].allocation.cost if budget is None else _money(problem, budget)
    rivals = [each.accuracy for each in tried if each.allocation.cost <= limit]
    accuracy = float(np.mean([each.accuracy for each in own]))
    cost = sum((each.allocation.cost for each in own), Decimal(0)) / len(own)
    people = [np.isin(each.allocation.source, problem.people_sources).mean() for each in own]
    return {
        "strategy": strategy,
        "budget": budget,
        "accuracy": finite(accuracy),
        "label_accuracy": finite(float(np.mean([each.label_accuracy for each in own]))),
        "regret": finite(float(max(rivals)) - accuracy),
        "money": str(cost),
        "people": float(np.mean(people)),
        "plan": own[0].allocation.strategy,
    }


def finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if isfinite(value) else None
