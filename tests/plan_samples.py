"""A plan's summary and a performance model's metrics as the pipeline stores them, for tests of the pages."""

from __future__ import annotations

from typing import Any

SUMMARY: dict[str, Any] = {
    "shares": [
        {"source": "judge-large", "count": 78, "price_each": 0.03, "cost": 2.34},
        {"source": "people", "count": 22, "price_each": 0.5, "cost": 11.0},
    ],
    "baselines": [
        {"name": "all AI", "predicted": 0.66, "low": 0.64, "high": 0.68, "cost": 3.0},
        {"name": "all people", "predicted": 0.70, "low": 0.68, "high": 0.72, "cost": 50.0},
    ],
    "random": {"predicted": 0.68, "low": 0.66, "high": 0.70},
    "gain": {"value": 0.03, "low": 0.01, "high": 0.05},
    "strategy": "value",
    "curve": [
        {
            "budget": "5",
            "spent": "4.90",
            "people_share": 0.05,
            "predicted": 0.67,
            "low": 0.65,
            "high": 0.69,
            "random": 0.665,
            "all_people": 0.60,
            "all_ai": 0.66,
            "gain": {"value": 0.005, "low": -0.01, "high": 0.02},
            "shares": {"judge-large": 0.95, "people": 0.03, "people:1": 0.02},
            "cost": {"judge-large": "2.85", "people": "1.50", "people:1": "0.55"},
        },
        {
            "budget": "15",
            "spent": "14.90",
            "people_share": 0.22,
            "predicted": 0.71,
            "low": 0.69,
            "high": 0.73,
            "random": 0.68,
            "all_people": 0.65,
            "all_ai": 0.66,
            "gain": {"value": 0.03, "low": 0.01, "high": 0.05},
            "shares": {"judge-large": 0.78, "people": 0.22},
            "cost": {"judge-large": "2.34", "people": "11.00"},
        },
        {
            "budget": "50",
            "spent": "50.00",
            "people_share": 1.0,
            "predicted": 0.70,
            "low": 0.68,
            "high": 0.72,
            "random": 0.70,
            "all_people": 0.70,
            "all_ai": 0.66,
            "gain": {"value": 0.0, "low": -0.02, "high": 0.02},
            "shares": {"people": 1.0},
            "cost": {"people": "50.00"},
        },
    ],
    "reasons": [{"text": "responses 40% alike", "count": 14}],
    "samples": {},
    "skill": True,
    "skill_text": "Ranks unseen mixtures at 0.58 [0.46, 0.68].",
    "model": {"kind": "ridge", "rank_correlation": 0.58},
    "control": 5,
}

SCORE = {"rmse": 0.01, "rmse_error": 0.001, "spearman": 0.58, "spearman_low": 0.46, "spearman_high": 0.68}
METRICS: dict[str, Any] = {
    "skill": True,
    "beats_budget": True,
    "coverage_90": 0.91,
    "scores": {"mean": {**SCORE, "spearman": 0.0}, "ridge": SCORE},
    "nested": {**SCORE, "spearman": 0.51, "spearman_low": 0.40, "spearman_high": 0.60},
    "noise_ceiling": {"deviation": 0.01, "reliability": 0.64, "correlation": 0.8},
    "observed": [[0.66, 0.65, 0.63, 0.69], [0.70, 0.76, 0.67, 0.73], [0.68, 0.69, 0.65, 0.71]],
    "coverage_observed": 0.9,
    "effects": [
        {"name": "length", "bin": 2, "bins": 3, "effect": 0.94, "low": 0.61, "high": 1.27},
        {"name": "code", "bin": 0, "bins": 2, "effect": -0.10, "low": -0.40, "high": 0.20},
    ],
    "fidelities": {
        "target": "trained",
        "text": "Combined with 20 trained reward models.",
        "proxy": {"mixtures": 200},
        "trained": {"mixtures": 20, "spearman": 0.72, "low": 0.44, "high": 0.87, "slope": 1.1, "slope_error": 0.2,
                    "deviation": 0.01},
    },
    "paper": {"mixtures": 120, "quadratic": {"rmse": 0.02, "spearman": 0.31}},
    "comparisons": 500,
    "prompts": 90,
    "mixtures": 200,
    "sources": ["people", "judge-large"],
    "sampling_error": 0.012,
}  # fmt: skip
