"""Strategies where the truth is planted: how much of an oracle's gain over random is reached, and what where none is.

    python bench/planted.py [--json] [--seeds 20] [--seed 0] [--settings plain answered noisy hard null]

What is planted. 10,000 comparisons of 5,000 prompts, of five kinds; a prompt has one kind. Shares of the kinds, and the
chance of each labeler to agree with people's majority on them (gaps of 0.30 to 0.35 where a labeler is weak):

    kind               code   maths  safety  long   chat   price
    share              0.20   0.15   0.12    0.13   0.40
    small              0.60   0.92   0.58    0.62   0.93   0.002
    large              0.94   0.60   0.60    0.93   0.94   0.02
    people             their majority is the truth                1.00

No strategy sees the kind. What shows it are features as a project has them: code in the prompt, numbers in the prompt
(Poisson), a refusal in a response, words of the prompt (lognormal, a factor of 2 either way), and eight features that
say nothing. In brackets: (in that kind, in others).

    plain      code (99%, 0.5%), numbers (8, 1), refusal (99%, 0.5%), words (245, 20): what regular expressions find.
               Labelers have answered nothing but the seed set, and their price is still to be paid.
    answered   as plain, but both labelers have answered everything, with probabilities that say a little about errors
    noisy      as plain with code (95%, 3%), numbers (6, 1), refusal (80%, 3%), words (160, 25): as good as tags by a
               model; no learner can tell all kinds apart any more, the oracle can
    hard       code (70%, 15%), numbers (3, 1), refusal (40%, 10%), words (90, 33)
    null       nothing planted: small agrees in 0.78 and large in 0.84 of everything; features as in plain

These were set after a pilot with smaller gaps (0.22 to 0.28) and features like those of noisy, in which ours reached
half of the oracle's gain: 500 judgments do not tell more there. noisy and hard stand for it.

The money buys people for 15%, 25% or 50% of the comparisons with `large` for the rest. Ours first pays a seed set out
of it: people, and both labelers, on 5% of the comparisons drawn at random; what it then knows are these judgments only.
The oracle knows every comparison's kind and the accuracies of the table, but no single error; it has the same money
and chooses by the same knapsack. Two oracles: one pays for the same seed set first, as a project must that wants to
know anything (`share_of_oracle_gain`), one needs none and spends everything where it is worth most
(`share_of_free_oracle_gain`). Random spends everything on people at random and is told for free which labeler is the
better one; it is the mean of five draws. All but `value_control` are without a random control; that one is ours with 5%
of its decisions exchanged at random, as plans are made, so that the price of knowing how good a plan was is seen too.

Reported is label accuracy: agreement of all labels bought with people's majority; means over seeds, 95% intervals by
bootstrap over seeds. `null_difference` is ours minus random in `null`, averaged over the budgets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing.strategies import STRATEGIES, Problem, Source, knapsack, to_money, to_units  # noqa: E402

N, SEED_SHARE, BUDGETS = 10_000, 0.05, (0.15, 0.25, 0.50)
KINDS = ("code", "maths", "safety", "long", "chat")
SHARES = (0.20, 0.15, 0.12, 0.13, 0.40)
SOURCES = (
    Source("people", Decimal("1.00"), is_people=True),
    Source("small", Decimal("0.002")),
    Source("large", Decimal("0.02")),
)
PLANTED = np.array([[0.60, 0.92, 0.58, 0.62, 0.93], [0.94, 0.60, 0.60, 0.93, 0.94]])
FLAT = np.array([[0.78] * 5, [0.84] * 5])
LEARNT = ("disagreement", "value", "value_control")
DRAWS = 5
ROWS = ("random", *LEARNT, "oracle", "free_oracle")
SETTINGS = ("plain", "answered", "noisy", "hard", "null")
NAMES = ("prompt_code", "prompt_numbers", "refusal", "prompt_words", *(f"nothing_{number}" for number in range(8)))


@dataclass(frozen=True)
class Telling:
    """How well the features show the kind: (in that kind, in others)."""

    code: tuple[float, float]
    numbers: tuple[float, float]
    refusal: tuple[float, float]
    words: tuple[float, float]


TELLING = {
    "plain": Telling((0.99, 0.005), (8, 1), (0.99, 0.005), (245, 20)),
    "noisy": Telling((0.95, 0.03), (6, 1), (0.80, 0.03), (160, 25)),
    "hard": Telling((0.70, 0.15), (3, 1), (0.40, 0.10), (90, 33)),
}


@dataclass(frozen=True)
class World:
    """All comparisons of one seed: `features` (N, 12), `kind` (N,), `p_b` (N, 3) what everybody would say (people are
    right), `prompts` (N,), and the labelers' planted `accuracy` (2, kinds)."""

    features: np.ndarray
    kind: np.ndarray
    p_b: np.ndarray
    prompts: np.ndarray
    accuracy: np.ndarray


def world(setting: str, seed: int) -> World:
    rng = np.random.default_rng([seed, 5])
    prompts = np.repeat(np.arange(N // 2), 2)
    kind = rng.choice(len(KINDS), N // 2, p=SHARES)
    features = visible(kind, TELLING.get(setting, TELLING["plain"]), rng)
    kind, features = kind[prompts], features[prompts]
    features = np.hstack([features, rng.standard_normal((N, 8))])
    accuracy = FLAT if setting == "null" else PLANTED
    truth = rng.integers(0, 2, N).astype(float)
    right = rng.random((N, 2)) < accuracy[:, kind].T
    # A labeler is a little surer where it is right.
    sure = rng.beta(np.where(right, 2.5, 2.0), 2.0)
    said = np.where(right == (truth[:, None] == 1), 0.5 + sure / 2, 0.5 - sure / 2)
    return World(features, kind, np.column_stack([truth, said]), prompts, accuracy)


def visible(kind: np.ndarray, telling: Telling, rng: np.random.Generator) -> np.ndarray:
    """(prompts, 4) what shows the kind, see the top."""
    code, maths, safety, long = (kind == number for number in range(4))
    middle = np.where(long, telling.words[0], telling.words[1])
    return np.column_stack(
        [
            rng.random(len(kind)) < np.where(code, *telling.code),
            rng.poisson(np.where(maths, *telling.numbers)),
            rng.random(len(kind)) < np.where(safety, *telling.refusal),
            np.log(middle) + np.log(2) * rng.standard_normal(len(kind)),
        ]
    ).astype(float)


def run(setting: str, seed: int) -> dict[tuple[str, float], float]:
    """Label accuracy of each strategy and oracle at each budget."""
    made = world(setting, seed)
    rng = np.random.default_rng([seed, 7])
    in_seed = np.isin(np.arange(N), rng.choice(N, round(SEED_SHARE * N), replace=False))
    units = np.array([to_units(source.price) for source in SOURCES])
    seed_cost = int(units.sum()) * int(in_seed.sum())
    rest, everything = routed_problem(made, in_seed, setting), np.ones(N, dtype=bool)
    found = {}
    for share in BUDGETS:
        money = int(N * (to_units(Decimal(str(share))) + (1 - Decimal(str(share))) * int(units[2])))
        left = to_money(money - seed_cost)
        draws = [score(made, everything, random(made, money, DRAWS * seed + draw)) for draw in range(DRAWS)]
        found["random", share] = float(np.mean(draws))
        for name in LEARNT:
            strategy, control = ("value", 0.05) if name == "value_control" else (name, 0.0)
            routed = STRATEGIES[strategy](rest, left, seed=seed, control_share=control)
            found[name, share] = score(made, ~in_seed, routed.source)
        found["oracle", share] = score(made, ~in_seed, oracle(made, ~in_seed, money - seed_cost, seed))
        found["free_oracle", share] = score(made, everything, oracle(made, everything, money, seed))
    return found


def routed_problem(made: World, in_seed: np.ndarray, setting: str) -> Problem:
    """What is not in the seed set, with the seed set as history, where everybody has answered."""
    taught = part(made, in_seed, made.p_b[in_seed])
    known = made.p_b[~in_seed].copy()
    known[:, 0] = np.nan
    if setting != "answered":
        known[:] = np.nan
    return replace(part(made, ~in_seed, known), history=taught)


def part(made: World, rows: np.ndarray, p_b: np.ndarray) -> Problem:
    return Problem(made.features[rows], NAMES, SOURCES, p_b, made.prompts[rows])


def random(made: World, money: int, seed: int) -> np.ndarray:
    """People at random, the better labeler for the rest, which is told."""
    best = 1 + int((made.accuracy @ np.asarray(SHARES)).argmax())
    nothing = part(made, np.ones(N, dtype=bool), np.full((N, len(SOURCES)), np.nan))
    return STRATEGIES["random"](nothing, to_money(money), seed=seed, source=best).source


def oracle(made: World, rows: np.ndarray, money: int, seed: int) -> np.ndarray:
    """The knapsack on the planted accuracies of every comparison's kind."""
    count = int(rows.sum())
    value = np.column_stack([np.ones(count), made.accuracy[:, made.kind[rows]].T])
    units = np.tile([to_units(source.price) for source in SOURCES], (count, 1)).astype(np.int64)
    usable = np.ones(value.shape, dtype=bool)
    return knapsack.solve(value, units, usable, money, rng=np.random.default_rng(seed)).source


def score(made: World, rows: np.ndarray, source: np.ndarray) -> float:
    """Share of all labels that agree with people's majority; what is not in `rows` was judged by people."""
    chosen = np.zeros(N, dtype=np.int64)
    chosen[rows] = source
    said = made.p_b[np.arange(N), chosen]
    return float(((said > 0.5) == (made.p_b[:, 0] > 0.5)).mean())


Results = list[dict[tuple[str, float], float]]


def share_of_gain(results: Results, name: str, budget: float, of: str, seed: int) -> tuple[float, float, float]:
    """(share, low, high) of the gain of `of` over random that `name` reaches; bootstrap over seeds."""
    gain = np.array([each[name, budget] - each["random", budget] for each in results])
    best = np.array([each[of, budget] - each["random", budget] for each in results])
    drawn = np.random.default_rng(seed).integers(0, len(results), (4000, len(results)))
    shares = gain[drawn].mean(axis=1) / best[drawn].mean(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(gain.mean() / best.mean()), float(low), float(high)


def difference(results: Results, name: str, budgets: tuple[float, ...], seed: int) -> tuple[float, float, float]:
    """(mean, low, high) of accuracy minus random's, averaged over `budgets`; bootstrap over seeds."""
    each = np.array([np.mean([one[name, budget] - one["random", budget] for budget in budgets]) for one in results])
    means = each[np.random.default_rng(seed).integers(0, len(each), (4000, len(each)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(each.mean()), float(low), float(high)


def print_table(setting: str, results: Results, seed: int) -> None:
    print(f"\n{setting}\n")
    print("| strategy | people's share that the money buys | label accuracy | minus random | 95% interval |", end="")
    print(" share of the oracle's gain | 95% interval |\n|---|---|---|---|---|---|---|")
    for budget in BUDGETS:
        for name in ROWS:
            mean = np.mean([each[name, budget] for each in results])
            cells = [name, f"{budget:.0%}", f"{mean:.4f}", "–", "–", "–", "–"]
            if name != "random":
                more, low, high = difference(results, name, (budget,), seed)
                cells[3:5] = [f"{more:+.4f}", f"{low:+.4f} to {high:+.4f}"]
            if name in LEARNT and setting != "null":
                share, low, high = share_of_gain(results, name, budget, "oracle", seed)
                cells[5:7] = [f"{share:.0%}", f"{low:.0%} to {high:.0%}"]
            print("| " + " | ".join(cells) + " |")


def as_json(found: dict[str, Results], options: argparse.Namespace, seconds: float) -> dict[str, object]:
    def shares(setting: str, of: str) -> dict[str, list[float]]:
        return {
            str(budget): [round(each, 4) for each in share_of_gain(found[setting], "value", budget, of, options.seed)]
            for budget in BUDGETS
        }

    content: dict[str, object] = {
        "bench": "planted",
        "seed": options.seed,
        "seeds": options.seeds,
        "comparisons": N,
        "seed_set_share": SEED_SHARE,
        "seed_set_share_of_money": {str(budget): round(seed_set_share(budget), 4) for budget in BUDGETS},
        "seconds": round(seconds, 1),
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
    }
    for setting in found:
        if setting == "null":
            mean, low, high = difference(found[setting], "value", BUDGETS, options.seed)
            content |= {"null_difference": mean, "null_difference_low": low, "null_difference_high": high}
            continue
        for of in ("oracle", "free_oracle"):
            found_shares = shares(setting, of)
            key = ("" if setting == "plain" else f"{setting}_") + f"share_of_{of}_gain"
            content[key] = {budget: each[0] for budget, each in found_shares.items()}
            content[f"{key}_intervals"] = {budget: each[1:] for budget, each in found_shares.items()}
    return content


def seed_set_share(budget: float) -> float:
    """The seed set's part of the money."""
    price = [float(source.price) for source in SOURCES]
    return SEED_SHARE * sum(price) / (budget * price[0] + (1 - budget) * price[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    started, found = time.perf_counter(), {}
    parts = ", ".join(f"{seed_set_share(budget):.0%} at {budget:.0%}" for budget in BUDGETS)
    print(f"{N} comparisons, {options.seeds} seeds from {options.seed}; the seed set takes of the money: {parts}.")
    for setting in options.settings:
        found[setting] = [run(setting, options.seed + number) for number in range(options.seeds)]
        print_table(setting, found[setting], options.seed)
    seconds = time.perf_counter() - started
    print(f"\n{seconds:.0f} s")
    if options.json:
        print(json.dumps(as_json(found, options, seconds), allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
