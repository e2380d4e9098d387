"""What a plan's page shows, computed once when the plan is made: `Plan.summary`. Pages only read it.

All of it JSON; money as text, accuracies in [0, 1], null where there is no performance model with skill. Sources are
named as the problem names them: "people" (all of the project's votes), "people:1" (fewer votes), or a labeler's name.

shares      [{"source", "count", "price_each", "cost", "votes"}, …] of the plan
baselines   [{"name": in words, "strategy": "all_ai" or "all_people", "cost", "predicted", "low", "high"}, …]: each
            labeler for everything, then people for everything, whatever they cost
random      {"predicted", "low", "high"} of a random mixture at the plan's own budget
gain        {"value", "low", "high"}: what the plan is predicted to gain over that mixture. The interval takes both
            predictions for independent, so it is too wide rather than too narrow
curve       [{"budget", "spent" (what of it is used), "people_share", "predicted", "low", "high",
              "random": predicted for a random mixture at this budget,
              "all_people": the same for people drawn at random for all that the budget pays, the rest left out,
              "all_ai": the same for the best labeler that the budget pays for everything, null where it pays none,
              "gain": as above, "shares": {source: share of the comparisons}, "cost": {source: money}}, …],
            CURVE rows from the cheapest source for all to the dearest for all, rising
strategy    the strategy of the curve, a key of `routing.strategies.STRATEGIES`
reasons     [{"text", "count"}, …]; samples: {text of a reason: up to 5 ids of comparisons that people get for it}
promised    [{"source", "accuracy", "comparisons"}, …]: how often each labeler agreed with people when the plan was made
asked       the strategy that was asked for, "auto" included
skill, skill_text, control (number), left_out (number), model ({words: value})
kept        {"comparisons", "cost", "lost"}: of a revised plan what keeps its source, and money that bought none of it
seed_set    only of a seed set's plan, which has none of the above but "shares" (see pipeline/loop.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from annotator.pipeline.basis import Basis, whole
from annotator.pipeline.explain import Reasons
from routing import planning, strategies

# Points of the curve of accuracy against budget: enough for a slider to move along.
CURVE = 14
SAMPLES = 5
# z of the 90% interval that predictions carry.
Z = 1.645
Interval = dict[str, float | None]


def summary(basis: Basis, choice: planning.Choice, seed: int) -> dict[str, Any]:
    """See the module's docstring."""
    allocation = choice.best.allocation
    told: dict[str, Any] = {
        "shares": _shares(basis, allocation),
        "baselines": _baselines(basis, seed),
        "curve": [],
        "promised": _promised(basis),
        "skill": choice.skill,
        "skill_text": " ".join([basis.outdated or choice.text, *allocation.notes]),
        "model": _model_words(basis),
        "control": int(allocation.is_control.sum()),
        "left_out": int((allocation.source < 0).sum()),
    }
    told["reasons"], told["samples"] = _reasons(basis, allocation)
    if len(basis.kept.rows):
        told["kept"] = _kept(basis)
    if choice.skill:
        strategy = _of_curve(allocation.strategy)
        told |= {"strategy": strategy, "curve": _curve(basis, strategy, seed)}
        told |= _against_random(basis, choice.best, seed)
    return told


def allocate(
    basis: Basis, strategy: str, budget: Decimal, seed: int, *, source: int | None = None
) -> strategies.Allocation:
    """What a strategy does with `budget`, kept comparisons included. Raises BudgetTooSmall, and ValueError in words."""
    money = budget
    if strategy == "all_people":  # it leaves out what only a labeler may judge, and that is paid all the same
        money = max(Decimal(0), budget - _kept_by_labelers(basis))
    made = strategies.STRATEGIES[strategy](
        basis.problem,
        money,
        seed=seed,
        control_share=basis.project.control_share,
        source=source,
        caps=basis.loop.caps or None,
        paper=basis.paper,
    )
    return whole(basis, made)


def interval(basis: Basis, prediction: planning.Prediction) -> Interval:
    """The prediction with its interval, widened by what all mixtures share: accuracy was measured on a sample."""
    if np.isnan(prediction.predicted):
        return {"predicted": None, "low": None, "high": None}
    shared = Z * basis.sampling_error
    below = float(np.hypot(max(0.0, prediction.predicted - prediction.low), shared))
    above = float(np.hypot(max(0.0, prediction.high - prediction.predicted), shared))
    return {
        "predicted": float(prediction.predicted),
        "low": max(0.0, float(prediction.predicted) - below),
        "high": min(1.0, float(prediction.predicted) + above),
    }


def _predictions(basis: Basis, allocations: Sequence[strategies.Allocation]) -> list[planning.Prediction]:
    return planning.predict(basis.model, basis.problem, basis.bins, allocations)


def _kept_by_labelers(basis: Basis) -> Decimal:
    return sum((route.price for route in basis.kept.routes if route.labeler_id), Decimal(0))


def _kept(basis: Basis) -> dict[str, Any]:
    cost = sum((route.price for route in basis.kept.routes), Decimal(0))
    return {"comparisons": len(basis.kept.routes), "cost": str(cost), "lost": str(basis.kept.lost)}


def _shares(basis: Basis, allocation: strategies.Allocation) -> list[dict[str, Any]]:
    rows = []
    for column, source in enumerate(basis.problem.sources):
        got = allocation.source == column
        if got.any():
            rows.append(
                {
                    "source": source.name,
                    "count": int(got.sum()),
                    "price_each": str(source.price),
                    "cost": str(strategies.to_money(int(basis.problem.units[got, column].sum()))),
                    "votes": source.votes,
                }
            )
    return rows


def _baselines(basis: Basis, seed: int) -> list[dict[str, Any]]:
    """What is kept stays as it is in these too: only the rest can still be decided."""
    sources = basis.problem.sources
    named: list[tuple[str, str, int | None]] = [
        (_("all %(name)s") % {"name": sources[column].name}, "all_ai", column) for column in basis.problem.labelers
    ]
    if basis.problem.people is not None:
        named.append((_("all people"), "all_people", None))
    made = [allocate(basis, strategy, _enough(basis), seed, source=column) for _name, strategy, column in named]
    return [
        {"name": name, "strategy": strategy, "cost": str(prediction.allocation.cost), **interval(basis, prediction)}
        for (name, strategy, _column), prediction in zip(named, _predictions(basis, made), strict=True)
    ]


def _enough(basis: Basis) -> Decimal:
    """Money for the dearest source everywhere."""
    usable = np.where(basis.problem.usable, basis.problem.units, 0)
    return strategies.to_money(int(usable.max(axis=1).sum()))


def _least(basis: Basis) -> Decimal:
    """Money for the cheapest source everywhere."""
    usable = np.where(basis.problem.usable, basis.problem.units, np.iinfo(np.int64).max)
    cheapest = np.where(basis.problem.usable.any(axis=1), usable.min(axis=1), 0)
    return strategies.to_money(int(cheapest.sum()))


def _of_curve(strategy: str) -> str:
    """What the curve is drawn for: a plan of one source, or one made by hand, is held against the best there is."""
    return strategy if strategy not in ("all_people", "all_ai") else "value"


def _curve(basis: Basis, strategy: str, seed: int) -> list[dict[str, Any]]:
    budgets = _budgets(_least(basis), _enough(basis))
    drawn: dict[str, list[strategies.Allocation | None]] = {
        name: [_tried(basis, name, budget, seed) for budget in budgets]
        for name in (strategy, "random", "all_people", "all_ai")
    }
    predicted = {name: _where_made(basis, made) for name, made in drawn.items()}
    rows = []
    for number, budget in enumerate(budgets):
        here = predicted[strategy][number]
        if here is None:
            continue
        beside: dict[str, Any] = {
            name: _level(basis, predicted[name][number]) for name in ("random", "all_people", "all_ai")
        }
        beside["gain"] = _gain(here, predicted["random"][number])
        rows.append({"budget": str(budget), **_composition(basis, here.allocation), **beside, **interval(basis, here)})
    return rows


def _budgets(least: Decimal, enough: Decimal) -> list[Decimal]:
    """CURVE amounts in whole cents: evenly spaced, but for a third of them near the cheap end, where most happens."""
    low, high = float(least), float(enough)
    near = max(1, CURVE // 3)
    steps = [*np.linspace(0, 0.15, near, endpoint=False), *np.linspace(0.15, 1, CURVE - near)]
    amounts = [min(enough, max(least, Decimal(f"{low + step * (high - low):.2f}"))) for step in steps[:-1]]
    return sorted({*amounts, enough})


def _tried(basis: Basis, strategy: str, budget: Decimal, seed: int) -> strategies.Allocation | None:
    try:
        return allocate(basis, strategy, budget, seed)
    except (strategies.BudgetTooSmall, ValueError):
        return None


def _where_made(basis: Basis, made: Sequence[strategies.Allocation | None]) -> list[planning.Prediction | None]:
    found = iter(_predictions(basis, [each for each in made if each is not None]))
    return [None if each is None else next(found) for each in made]


def _level(basis: Basis, prediction: planning.Prediction | None) -> float | None:
    return None if prediction is None else interval(basis, prediction)["predicted"]


def _composition(basis: Basis, allocation: strategies.Allocation) -> dict[str, Any]:
    """Who judges which share of the comparisons, and of the money."""
    shares, money = {}, {}
    for column, source in enumerate(basis.problem.sources):
        got = allocation.source == column
        if got.any():
            shares[source.name] = round(float(got.mean()), 4)
            money[source.name] = str(strategies.to_money(int(basis.problem.units[got, column].sum())))
    people = np.isin(allocation.source, basis.problem.people_sources)
    return {
        "spent": str(allocation.cost),
        "people_share": float(people.mean()),
        "shares": shares,
        "cost": money,
    }


def _against_random(basis: Basis, best: planning.Prediction, seed: int) -> dict[str, Any]:
    made = _tried(basis, "random", best.allocation.cost, seed)
    if made is None:
        return {}
    chance = _predictions(basis, [made])[0]
    return {"random": interval(basis, chance), "gain": _gain(best, chance)}


def _gain(here: planning.Prediction, chance: planning.Prediction | None) -> dict[str, float] | None:
    """What sampling adds to one of the two it adds to the other, so only the model's own intervals count."""
    if chance is None:
        return None
    gain = here.predicted - chance.predicted
    below = np.hypot(here.predicted - here.low, chance.high - chance.predicted)
    above = np.hypot(here.high - here.predicted, chance.predicted - chance.low)
    return {"value": float(gain), "low": float(gain - below), "high": float(gain + above)}


def _reasons(basis: Basis, allocation: strategies.Allocation) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    reasons = Reasons(basis.problem, allocation, basis.bins)
    members = {words: reasons.members[:, column] for column, words in reasons.groups.items()}
    rows, samples = reasons.summary(), {}
    for row in rows:
        # What is no group of a feature is that the labelers disagree.
        inside = members.get(row["text"], reasons.disagree) & reasons.people
        samples[row["text"]] = [int(pk) for pk in basis.known.ids[np.flatnonzero(inside)[:SAMPLES]]]
    return rows, samples


def _promised(basis: Basis) -> list[dict[str, Any]]:
    known = ~np.isnan(basis.problem.human) & (basis.problem.human != 0.5)
    rows = []
    for column in basis.problem.labelers:
        both = int((known & ~np.isnan(basis.problem.p_b[:, column])).sum())
        if both:
            accuracy = basis.problem.accuracy(column)
            rows.append({"source": basis.problem.sources[column].name, "accuracy": accuracy, "comparisons": both})
    return rows


def _model_words(basis: Basis) -> dict[str, str]:
    if basis.stored is None:
        return {}
    nested = basis.stored.metrics["nested"]
    low, high = nested["spearman_low"], nested["spearman_high"]
    return {
        "kind": basis.stored.kind,
        "rank correlation on unseen mixtures": f"{nested['spearman']:.2f} [{low:.2f}, {high:.2f}]",
        "comparisons": str(basis.stored.metrics["comparisons"]),
    }
