"""What a plan's page shows, computed once when the plan is made: `Plan.summary`. Pages only read it.

All of it JSON; money as text, accuracies in [0, 1], null where there is no performance model with skill. Sources are
named as the problem names them: "people" (all of the project's votes), "people:1" (fewer votes), or a labeler's name.

shares      [{"source", "count", "price_each", "cost", "votes"}, …] of the plan
baselines   [{"name": in words, "strategy": "all_ai" or "all_people", "cost", "predicted", "low", "high"}, …]: each
            labeler for everything, then people for everything, whatever they cost
random      {"predicted", "low", "high"} of a random mixture at the plan's own budget
gain        {"value", "low", "high"}: what the plan is predicted to gain over that mixture. The interval holds the
            errors of both predictions, as independent, and what the judged comparisons leave open (`routing.paired`)
curve       [{"budget", "spent" (what of it is used), "people_share", "predicted", "low", "high",
              "random": predicted for a random mixture at this budget,
              "all_people": the same for people drawn at random for all that the budget pays, the rest left out,
              "all_ai": the same for the best labeler that the budget pays for everything, null where it pays none,
              "gain": as above, "step": the same over the row before, null in the first,
              "shares": {source: share of the comparisons}, "cost": {source: money}}, …],
            rising from the cheapest source for all to the dearest for all (see `budget_curve`)
strategy    the strategy of the curve, one of `allocations.NAMES`
reasons     [{"text", "count"}, …]; samples: {text of a reason: up to 5 ids of comparisons that people get for it}
promised    [{"source", "accuracy", "comparisons"}, …]: how often each labeler agreed with people when the plan was made
asked       the strategy that was asked for, "auto" included
because     of a plan that the loop made: what it was made for, by kind and source (see `loop.reasons_for`)
skill, skill_text, control (number), left_out (number), model ({words: value})
kept        {"comparisons", "cost", "lost"}: of a revised plan what keeps its source, and money that bought none of it
seed_set    only of a seed set's plan, which has none of the above but "shares" (see pipeline/loop.py)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from annotator.models import Job
from annotator.pipeline import budget_curve
from annotator.pipeline.allocations import allocate, enough
from annotator.pipeline.basis import Basis
from annotator.pipeline.budget_curve import interval
from annotator.pipeline.explain import Reasons
from annotator.readings import report_lines
from routing import planning, strategies

SAMPLES = 5


def summary(basis: Basis, choice: planning.Choice, seed: int, job: Job | None = None) -> dict[str, Any]:
    """See the module's docstring. Raises JobCancelled between the budgets of the curve when `job` was cancelled."""
    allocation = choice.best.allocation
    told: dict[str, Any] = {
        "shares": _shares(basis, allocation),
        "baselines": _baselines(basis, seed),
        "curve": [],
        "promised": _promised(basis),
        "skill": choice.skill,
        "skill_text": " ".join([basis.outdated or choice.text, *_uncapped(basis), *allocation.notes]),
        "model": _model_words(basis),
        "control": int(allocation.is_control.sum()),
        "left_out": int((allocation.source < 0).sum()),
    }
    told["reasons"], told["samples"] = _reasons(basis, allocation)
    if len(basis.kept.rows):
        told["kept"] = _kept(basis)
    if choice.skill:
        strategy = _of_curve(allocation.strategy)
        told |= {"strategy": strategy, "curve": budget_curve.curve(basis, strategy, seed, _beat(job))}
        told |= _against_random(basis, choice.best, seed)
    return told


def _beat(job: Job | None) -> budget_curve.Beat:
    def beat(done: int, total: int) -> None:
        if job:
            job.beat(done, total, _("trying budgets"))

    return beat


def _uncapped(basis: Basis) -> list[str]:
    """A cap of what this plan cannot use is passed over, and said."""
    if not basis.uncapped:
        return []
    words = _("Not used here, so their caps do not count: %(names)s.")
    return [words % {"names": str(report_lines.COMMA).join(basis.uncapped)}]


def _kept(basis: Basis) -> dict[str, Any]:
    return {"comparisons": len(basis.kept.routes), "cost": str(basis.kept.cost), "lost": str(basis.kept.lost)}


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
    """What is kept stays as it is in these too: only the rest can still be decided. One that the caps do not allow is
    left out.
    """
    sources = basis.problem.sources
    named: list[tuple[str, str, int | None]] = [
        (_("all %(name)s") % {"name": sources[column].name}, "all_ai", column) for column in basis.problem.labelers
    ]
    if basis.problem.people is not None:
        named.append((_("all people"), "all_people", None))
    money, rows = enough(basis), []
    for name, strategy, column in named:
        try:
            made = allocate(basis, strategy, money, seed, source=column)
        except (strategies.BudgetTooSmall, ValueError):
            continue
        told = budget_curve.Told(budget_curve.describe(basis, made), {})
        (predicted,) = budget_curve.predict(basis, [told])
        rows.append({"name": name, "strategy": strategy, "cost": str(made.cost), **interval(basis, predicted)})
    return rows


def _of_curve(strategy: str) -> str:
    """What the curve is drawn for: a plan of one source, or one made by hand, is held against the best there is."""
    return strategy if strategy not in ("all_people", "all_ai") else "value"


def _against_random(basis: Basis, best: planning.Prediction, seed: int) -> dict[str, Any]:
    made = budget_curve.tried(basis, "random", best.allocation.cost, seed)
    own = budget_curve.Told(budget_curve.describe(basis, best.allocation), {})
    here, chance = budget_curve.predict(basis, [own, made])
    if here is None or chance is None:
        return {}
    return {"random": interval(basis, chance), "gain": budget_curve.gain(basis, here, chance)}


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
    known = basis.problem.measured & ~np.isnan(basis.problem.human) & (basis.problem.human != 0.5)
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
