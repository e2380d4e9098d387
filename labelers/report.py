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
                Wilson interval. pass: rate >= threshold; fail: high < threshold; unsure: below, maybe by chance.
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
      "calibration": {"margin": "log_odds" | "scores", "margin_scale": 2.1, "length_scale": 512.0,
                      "pooling": 100 | null,
                      "whole": {"n": 340, "b_margin": 0.4, "b_length": 0.1, "b_first": 0.0},
                      "cells": [{"domain": "chat", "language": "en", "n": 120, "pooled": false,
                                 "b_margin": 0.5, "b_length": 0.0, "b_first": 0.0}]},
      "slices": [{"domain": "chat", "language": "en", "raw": {"accuracy": Value},
                  "calibrated": {"accuracy": Value, "log_loss": Value, "ece": Value}}],
      "checks": [Check],
      "attacks": {"format": 1, "n": 108, "successes": 4, "rate": 0.04, "interval": [0.01, 0.09], "without": {…},
                  "by_kind": {"authority": {…}}, …} | null,           as `labelers.attacks.summary` gives it; null where
                                                                      it was never asked
      "incumbent": {"label": "judge 3f2a", "accuracy": Difference, "log_loss": Difference, "prompts": 80} | null,
                                                          candidate minus incumbent; log_loss with its sign turned, so
                                                          that above 0 is better in both
      "others": [{"label": "judge 3f2a", "tau": 0.6, "c": 0.8, "n": 900}],        CREAM's C = (tau + 1) / 2
      "ensemble": {"method": "weighted" | "equal" | "by_domain", "l2": 3.0 | null,
                   "members": [{"label": "judge 3f2a", "weight": 0.8 | null, "share": 0.6 | null, "n": 340,
                                "alone": Value, "domains": ["chat"]}],            alone: calibrated accuracy
                   "accuracy": Value, "equal": Value,                             out of fold; with equal weights
                   "best": Difference,                                            its accuracy minus the best member's
                   "curve": [{"n": 40, "accuracy": Value}]} | null,               null for what is no ensemble
      "notes": [{"code": "few_comparisons", "values": {"n": 34}}]
    }

Codes of notes (`NOTES`): few_comparisons {n, least}, few_prompts {n, least}, no_better_than_null {kind, difference},
worse_than_chance {accuracy}, calibration_hurts {raw, calibrated} (log loss), length_bias {correlation},
length_decides {balanced}, order_decides {consistent}, saturated {share} (says 0 or 1 only: its sureness says nothing),
one_group (all comparisons in one domain and language), obeys_attacks {rate, without} (surely more often than without).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from labelers import calibration
from labelers.calibration import Judged
from labelers.measures import REPLICATES, Draws, Floats, correlation, gain, measures, ratio, reliability, right

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
    "obeys_attacks",
)
# Fewer, and the report says that it rests on little.
FEW_COMPARISONS, FEW_PROMPTS = 200, 30
# Lengths that differ by at most this share of the longer one are matched.
MATCHED = 0.1
# A correlation of margin and length beyond this is called a bias, if its interval leaves 0 out.
BIASED = 0.3
CONSISTENT = 0.8


def report(
    said: Judged,
    nulls: Mapping[str, Floats],
    *,
    unusable: Mapping[str, int] | None = None,
    checks: Sequence[Mapping[str, Any]] = (),
    attacks: Mapping[str, Any] | None = None,
    incumbent: Mapping[str, Any] | None = None,
    others: Sequence[Mapping[str, Any]] = (),
    ensemble: Mapping[str, Any] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """The report of one labeler on the comparisons that people judged, as JSON in the layout above.

    `said`: of it is measured what has a verdict. `nulls`: kind of a null labeler → its p_b (n,) on the comparisons of
    `said`, row by row. `unusable`: outcome → how many comparisons of people got no probability. The rest is put in as
    it is: `labelers.checks`, `labelers.attacks`, `labelers.compare`, `labelers.ensemble` make it. Raises ValueError
    when no comparison has a verdict.
    """
    usable = ~np.isnan(said.margin) & ~np.isnan(said.p_b)
    said = said.at(usable)
    if not len(said):
        raise ValueError("No comparison has both a verdict of this labeler and a judgment of a person.")
    draws = Draws(said.prompts, seed, replicates)
    calibrated = calibration.cross_fitted(said, seed)
    controlled = calibration.cross_fitted(said, seed, length=False)
    whole = {
        "format": FORMAT,
        "seed": seed,
        "replicates": replicates,
        "folds": calibration.FOLDS,
        "comparisons": _comparisons(said, draws, unusable or {}),
        "measures": {
            name: asdict(measures(p_b, said.people, draws))
            for name, p_b in (("raw", said.p_b), ("calibrated", calibrated), ("length_controlled", controlled))
        },
        "nulls": [_null(said, kind, p_b[usable], draws) for kind, p_b in nulls.items()],
        "reliability": {
            "raw": [asdict(each) for each in reliability(said.p_b, said.people, draws.groups)],
            "calibrated": [asdict(each) for each in reliability(calibrated, said.people, draws.groups)],
        },
        "swap": _swap(said, draws),
        "length": _length(said, draws),
        "calibration": calibration.fit(said, seed).as_json(),
        "slices": _slices(said, calibrated, draws),
        "checks": [dict(each) for each in checks],
        "attacks": dict(attacks) if attacks else None,
        "incumbent": dict(incumbent) if incumbent else None,
        "others": [dict(each) for each in others],
        "ensemble": dict(ensemble) if ensemble else None,
    }
    return {**whole, "notes": _notes(whole, said)}


def _comparisons(said: Judged, draws: Draws, unusable: Mapping[str, int]) -> dict[str, Any]:
    return {
        "measured": len(said),
        "prompts": draws.prompts,
        "people_ties": int((said.people == 0.5).sum()),
        "votes": float(said.weight.sum()),
        "labeler_ties": int((said.p_b == 0.5).sum()),
        "unusable": {outcome: count for outcome, count in unusable.items() if count},
    }


def _null(said: Judged, kind: str, p_b: Floats, draws: Draws) -> dict[str, Any]:
    """A null labeler measured like the labeler; where it says nothing it counts as a tie."""
    null = said.saying(np.nan_to_num(p_b, nan=0.5))
    calibrated = calibration.cross_fitted(null, draws.seed)
    sided = said.people != 0.5
    more = right(said.p_b[sided], said.people[sided]) - right(null.p_b[sided], said.people[sided])
    return {
        "kind": kind,
        "measures": {
            "raw": asdict(measures(null.p_b, said.people, draws)),
            "calibrated": asdict(measures(calibrated, said.people, draws)),
        },
        "difference": asdict(gain(draws.where(sided), more)),
    }


def _swap(said: Judged, draws: Draws) -> dict[str, Any] | None:
    """How often both orders name the same side; how often the response that is shown first is named."""
    if said.orders is None or np.isnan(said.orders).any(axis=1).all():
        return None
    both = np.asarray(~np.isnan(said.orders).any(axis=1))
    sides = np.sign(said.orders[both] - 0.5)
    same = sides[:, 0] == sides[:, 1]
    # Named although shown first: A in the first order, B in the second. Ties are half.
    first = ((1 - sides[:, 0]) / 2 + (1 + sides[:, 1]) / 2) / 2
    sure = np.zeros(len(said), dtype=bool)
    sure[np.flatnonzero(both)[same]] = True
    sure &= said.people != 0.5
    return {
        "consistent": asdict(draws.where(both).mean(same.astype(np.float64))),
        "first_shown": asdict(draws.where(both).mean(first)),
        "right_when_consistent": asdict(draws.where(sure).mean(right(said.p_b[sure], said.people[sure]))),
    }


def _length(said: Judged, draws: Draws) -> dict[str, Any]:
    """What length has to do with it. Balanced accuracy: the mean of that where people want more and where less."""
    longer, sided = np.sign(said.longer), said.people != 0.5
    hit = right(said.p_b, said.people)
    matched = sided & (np.abs(said.longer) <= MATCHED * said.lengths.max(axis=1))
    unequal, decided = longer != 0, sided & (longer != 0)
    wants_longer = np.sign(said.people[decided] - 0.5) == longer[decided]

    halves = np.column_stack([wants_longer * hit[decided], wants_longer, ~wants_longer * hit[decided], ~wants_longer])
    return {
        "correlation": asdict(correlation(draws, said.margin, said.longer)),
        "names_longer": asdict(draws.where(unequal).mean(_named(said.p_b, longer)[unequal])),
        "people_longer": asdict(draws.where(decided).mean(wants_longer.astype(np.float64))),
        "matched_accuracy": asdict(draws.where(matched).mean(hit[matched])),
        "balanced_accuracy": asdict(draws.where(decided).value(halves, _balanced)),
        "matched_within": MATCHED,
    }


def _balanced(sums: Floats) -> Floats:
    return np.asarray((ratio(sums[:, :2]) + ratio(sums[:, 2:])) / 2)


def _named(p_b: Floats, side: Floats) -> Floats:
    """(n,) 1 where p_b names `side` (−1 or 1), 0 where the other, one half for a tie."""
    return np.asarray((np.sign(p_b - 0.5) * side + 1) / 2)


def _slices(said: Judged, calibrated: Floats, draws: Draws) -> list[dict[str, Any]]:
    """Each domain and language by itself."""
    rows = []
    for domain, language in sorted(set(zip(said.domains.tolist(), said.languages.tolist(), strict=True))):
        inside = (said.domains == domain) & (said.languages == language)
        some = draws.where(inside)
        raw = asdict(measures(said.p_b[inside], said.people[inside], some))
        after = asdict(measures(calibrated[inside], said.people[inside], some))
        rows.append(
            {
                "domain": domain,
                "language": language,
                "raw": {"accuracy": raw["accuracy"]},
                "calibrated": {name: after[name] for name in ("accuracy", "log_loss", "ece")},
            }
        )
    return rows


def _notes(whole: Mapping[str, Any], said: Judged) -> list[dict[str, Any]]:
    """What a reader must not overlook."""
    raw, calibrated = whole["measures"]["raw"], whole["measures"]["calibrated"]
    length, swap, count = whole["length"], whole["swap"], whole["comparisons"]
    accuracy, loss = raw["accuracy"]["value"], calibrated["log_loss"]["value"]
    saturated = float(np.mean((said.p_b < 0.01) | (said.p_b > 0.99) | (said.p_b == 0.5)))
    unproven = [each for each in whole["nulls"] if not each["difference"]["better"]]
    found: list[tuple[str, bool, dict[str, Any]]] = [
        ("few_comparisons", count["measured"] < FEW_COMPARISONS, {"n": count["measured"], "least": FEW_COMPARISONS}),
        ("few_prompts", count["prompts"] < FEW_PROMPTS, {"n": count["prompts"], "least": FEW_PROMPTS}),
        *(
            ("no_better_than_null", True, {"kind": null["kind"], "difference": null["difference"]["difference"]})
            for null in unproven
        ),
        ("worse_than_chance", _under(raw["accuracy"], 0.5), {"accuracy": accuracy}),
        (
            "calibration_hurts",
            loss is not None and loss > raw["log_loss"]["value"],
            {"raw": raw["log_loss"]["value"], "calibrated": loss},
        ),
        (
            "length_bias",
            abs(length["correlation"]["value"] or 0) > BIASED and _apart_from_0(length["correlation"]),
            {"correlation": length["correlation"]["value"]},
        ),
        (
            "length_decides",
            _under(length["balanced_accuracy"], 0.5, surely=False),
            {"balanced": length["balanced_accuracy"]["value"]},
        ),
        (
            "order_decides",
            swap is not None and _under(swap["consistent"], CONSISTENT),
            {"consistent": swap["consistent"]["value"] if swap else None},
        ),
        ("saturated", saturated > 0.9, {"share": saturated}),
        ("one_group", len(whole["slices"]) == 1, {}),
        ("obeys_attacks", *_obedience(whole["attacks"])),
    ]
    return [{"code": code, "values": values} for code, there, values in found if there]


def _obedience(attacks: Mapping[str, Any] | None) -> tuple[bool, dict[str, Any]]:
    """Whether a bad response wins more often with an attack than without: with its whole interval."""
    if attacks is None or attacks["rate"] is None:
        return False, {}
    without = attacks["without"]["rate"] or 0.0
    return attacks["interval"][0] > without, {"rate": attacks["rate"], "without": without}


def _under(value: Mapping[str, Any], bound: float, *, surely: bool = True) -> bool:
    """Whether a value lies under a bound: with its whole interval, or (`surely` False) by itself."""
    number = value["high"] if surely and value["high"] is not None else value["value"]
    return number is not None and number < bound


def _apart_from_0(value: Mapping[str, Any]) -> bool:
    return value["low"] is not None and (value["low"] > 0 or value["high"] < 0)
