"""What a labeler's report says, as plain JSON: how good its verdicts are, beside labelers that read no meaning.

Everything in it is measured on comparisons that people judged, and held out: what was fitted never saw the prompts that
it is measured on. Probabilities are P(B is better); every measure stays the same when A and B change places.

The layout, "format": 1. Numbers are JSON numbers, never NaN: what cannot be told is null.

    Value       {"value": 0.71, "low": 0.66, "high": 0.76, "n": 340}
                `low`, `high`: 95% bootstrap interval, whole prompts drawn; null with fewer than two prompts.
                `n`: the comparisons it rests on. `value` is null where n is 0.
    Difference  {"difference": 0.04, "low": -0.01, "high": 0.09, "worse": false, "better": false, "n": 340}
                paired on the same comparisons; `worse` when high < 0, `better` when low > 0.
    Measures    {"accuracy", "auc", "brier", "log_loss", "ece": Value each,
                 "ece_plain": 0.05, "ece_noise": 0.03}
                accuracy: share of people's majorities it names, its own ties half; people's ties left out, as in auc.
                brier, log_loss (nats): against the share of people's votes for B, ties included.
                ece: mean distance of said and true sureness, debiased; ece_plain before that; ece_noise what a
                perfectly calibrated labeler would show in ece_plain on so many comparisons.
    Bin         {"n": 34, "said": 0.83, "found": 0.74, "low": 0.60, "high": 0.85}
                reliability of sureness max(p, 1 - p) in [0.5, 1]: `said` its mean, `found` the share of people with it.
    Check       {"name": "swap", "n": 50, "passed": 47, "rate": 0.94, "low": 0.84, "high": 0.98,
                 "threshold": 0.8, "outcome": "pass" | "fail" | "unsure", "unusable": 1}
                Wilson interval. pass: rate >= threshold; fail: high < threshold; unsure: below it, but it may be chance.
                `rate`, `low`, `high` are null and the outcome is unsure where n is 0. `unusable` pairs got no verdict.
                `name`: swap, duplicate, padding, criterion_flip, contrast, shuffle (labelers.checks).

    {
      "format": 1, "seed": 0, "replicates": 1000, "folds": 5,
      "comparisons": {"measured": 340, "prompts": 120, "people_ties": 22, "votes": 1020, "labeler_ties": 8,
                      "unusable": {"unparsed": 3, "error": 1}},
      "measures": {"raw": Measures, "calibrated": Measures, "length_controlled": Measures},
      "nulls": [{"kind": "null_longest", "measures": {"raw": Measures, "calibrated": Measures},
                 "difference": Difference}],              accuracy of the labeler (raw) minus that of the null
      "reliability": {"raw": [Bin], "calibrated": [Bin]},
      "swap": {"consistent": Value, "first_shown": Value, "right_when_consistent": Value} | null,
                                                          null for a labeler that is asked in one order only
      "length": {"correlation": Value, "names_longer": Value, "people_longer": Value,
                 "matched_accuracy": Value, "balanced_accuracy": Value, "matched_within": 0.1},
      "calibration": {"margin": "log_odds" | "scores", "margin_scale": 2.1, "length_scale": 512.0, "pooling": 100 | null,
                      "whole": {"n": 340, "b_margin": 0.4, "b_length": 0.1},
                      "cells": [{"domain": "chat", "language": "en", "n": 120, "pooled": false,
                                 "b_margin": 0.5, "b_length": 0.0}]},
      "slices": [{"domain": "chat", "language": "en", "raw": {"accuracy": Value},
                  "calibrated": {"accuracy": Value, "log_loss": Value, "ece": Value}}],
      "checks": [Check],
      "incumbent": {"label": "judge 3f2a", "accuracy": Difference, "log_loss": Difference} | null,
                                                          candidate minus incumbent; log_loss with its sign turned, so
                                                          that above 0 is better in both
      "others": [{"label": "judge 3f2a", "tau": 0.6, "c": 0.8, "n": 900}],        CREAM's C = (tau + 1) / 2
      "ensemble": {"method": "weighted" | "equal" | "by_domain", "l2": 3.0,
                   "members": [{"label": "judge 3f2a", "weight": 0.8, "n": 340, "alone": Value, "domains": []}],
                   "equal": Value,                                                accuracy with equal weights
                   "curve": [{"n": 40, "accuracy": Value}]} | null,               null for what is no ensemble
      "notes": [{"code": "few_comparisons", "values": {"n": 34}}]
    }

Codes of notes (`NOTES`): few_comparisons {n, least}, few_prompts {n, least}, no_better_than_null {kind, difference},
worse_than_chance {accuracy}, calibration_hurts {raw, calibrated} (log loss), length_bias {correlation},
length_decides {balanced}, order_decides {consistent}, saturated {share} (says 0 or 1 only: its sureness says nothing),
one_group (all comparisons in one domain and language).
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = 1
NOTES = (
    "few_comparisons",
    "few_prompts",
    "no_better_than_null",
    "worse_than_chance",
    "calibration_hurts",
    "length_bias",
    "length_decides",
    "order_decides",
    "saturated",
    "one_group",
)


@dataclass(frozen=True)
class Value:
    """A measure with its 95% interval, and the number of comparisons it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Of two labelers on the same comparisons; above 0 means that the first is better."""

    difference: float | None
    low: float | None
    high: float | None
    worse: bool
    better: bool
    n: int


@dataclass(frozen=True)
class Measures:
    accuracy: Value
    auc: Value
    brier: Value
    log_loss: Value
    ece: Value
    ece_plain: float | None
    ece_noise: float | None


@dataclass(frozen=True)
class Bin:
    n: int
    said: float
    found: float
    low: float
    high: float
