"""Outcomes of a backtest's seeds, made up, and a backtest that is finished with them."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from annotator.models import Backtest
from routing import backtest as science
from routing.backtest import Parameters


def outcome(seed: int, gain: float = 0.02) -> dict[str, Any]:
    """What a seed gives, made up: `value` is better than random by `gain` and a little that the seed adds."""

    def row(strategy: str, budget: float | None, accuracy: float, money: str) -> dict[str, Any]:
        return {
            "strategy": strategy,
            "budget": budget,
            "accuracy": accuracy,
            "label_accuracy": 0.9,
            "regret": 0.01,
            "money": money,
            "people": budget or 0.0,
            "plan": "value",
        }

    luck = 0.002 * (seed % 3)
    rows = [row("all_people", None, 0.72, "100"), row("all_ai judge", None, 0.65, "2"), row("all_ai", None, 0.65, "2")]
    for share in (0.25, 0.5):
        money = str(100 * share)
        rows.append(row("random", share, 0.66 + luck, money))
        rows += [row(name, share, 0.66 + gain + 2 * luck, money) for name in ("value", "auto")]
    return {
        "seed": seed,
        "by": "prompt",
        "sizes": {"fit": 80, "select": 30, "test": 50, "dropped": 0, "all": 160},
        "seed_set": {"people": "30", "labelers": "0.6"},
        "sources": {"people": "1", "judge": "0.02"},
        "model": {"kind": "ridge", "skill": True, "beats_budget": True, "spearman": 0.5},
        "noise": {"correlation": 0.7, "deviation": 0.01},
        "mixtures": 40,
        "rows": rows,
        "notes": [],
    }


def finished(project, seeds: int = 4, gain: float = 0.02) -> Backtest:
    parameters = Parameters(seeds=seeds, budgets=(0.25, 0.5))
    report = science.report(parameters, [outcome(seed, gain) for seed in range(seeds)]).as_json()
    return Backtest.objects.create(
        project=project, number=1, parameters=parameters.as_json(), report=report, finished_at=now()
    )
