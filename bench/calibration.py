"""Recorded judges as they are, calibrated and combined, beside labelers that read no meaning; all held out.

    python bench/calibration.py FILE.jsonl[.gz] --seeds 5 [--by prompt|models] [--json]

By prompt: five folds that share no prompt, drawn anew for each seed. By models: fitted on comparisons of 65% of the
models and measured on those of the others among themselves. Figures are means over the seeds; so are the bounds of the
95% intervals, each a bootstrap that draws whole prompts. With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labelers import calibration, compare, ensemble  # noqa: E402
from labelers.calibration import Judged  # noqa: E402
from labelers.measures import Draws, measures  # noqa: E402
from labelers.nulls import Longest, Random, Shortest  # noqa: E402
from labelers.relevance import Relevance  # noqa: E402
from routing import table  # noqa: E402

COLUMNS = ("accuracy", "auc", "log_loss", "brier", "ece")
SIZES = (10, 20, 40, 80, 160, 320)
Members = dict[str, Judged]
# (labeler, as) → p_b, on the comparisons that are measured.
Held = dict[tuple[str, str], np.ndarray]


def main() -> int:
    options = arguments()
    started = time.perf_counter()
    try:
        rows = [row for row in table.read_rows(options.file) if row.get("human_labels")]
        data = table.load(rows)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    members, nulls = members_of(data, rows), nulls_of(rows)
    few = len(np.unique(data.prompts)) < table.FEW_PROMPTS
    by = options.by if options.by != "auto" else "models" if few else "prompt"
    runs = [run(data, members, nulls, by, seed) for seed in range(options.seed, options.seed + options.seeds)]
    found = summary(runs)
    curve = learning_curve(members, options) if by != "models" else []
    seconds = time.perf_counter() - started
    print_tables(found, curve, options, by, runs, seconds)
    if options.json:
        print(json.dumps(as_json(found, curve, options, by, runs, seconds), allow_nan=False))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="number of divisions")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--by", choices=("auto", "prompt", "models"), default="auto", help="what parts do not share")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    return parser.parse_args()


def members_of(data: table.Table, rows: list[dict[str, Any]]) -> Members:
    meta = [row.get("meta") or {} for row in rows]
    return {
        judge: calibration.judged(
            data.p_b[:, place],
            data.people,
            lengths=[[len(a), len(b)] for _prompt, a, b in data.texts],
            prompts=data.prompts,
            domains=[each.get("category") or "" for each in meta],
            languages=[each.get("language") or "" for each in meta],
            first=[shown_first(row, judge) for row in rows],
        )
        for place, judge in enumerate(data.judges)
    }


def shown_first(row: dict[str, Any], judge: str) -> int:
    """−1 where the judge was shown A first, 1 where B, 0 where both or unknown."""
    orders = {label.get("shown_first") for label in row["ai_labels"] if label["judge"] == judge}
    return {"a": -1, "b": 1}.get(orders.pop() or "", 0) if len(orders) == 1 else 0


def nulls_of(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    pairs = [pair(row) for row in rows]
    labelers = {"longest": Longest(), "shortest": Shortest(), "random": Random(), "relevance": Relevance.fitted(pairs)}
    return {name: np.array([each.p_b for each in one.judge(pairs)], float) for name, one in labelers.items()}


def pair(row: dict[str, Any]) -> SimpleNamespace:
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return SimpleNamespace(
        prompt=SimpleNamespace(turns=turns, context=[]),
        response_a=SimpleNamespace(text=row["response_a"]),
        response_b=SimpleNamespace(text=row["response_b"]),
    )


def run(data: table.Table, members: Members, nulls: dict[str, np.ndarray], by: str, seed: int) -> dict[str, Any]:
    """Everything measured once. With some verdict missing a comparison is left out, so that all rows are paired."""
    whole = np.flatnonzero(~np.isnan(data.p_b).any(axis=1))
    held: Held = {}
    places = []
    for train, test in parts(data, whole, by, seed):
        places.append(test)
        for key, p_b in fitted(members, nulls, train, test, seed).items():
            held[key] = np.concatenate([held.get(key, np.empty(0)), p_b])
    test = np.concatenate(places)
    one = next(iter(members.values())).at(test)
    draws = Draws(np.unique(one.prompts, return_inverse=True)[1], seed)
    return {
        "n": len(test),
        "prompts": draws.prompts,
        "measures": {key: measures(p_b, one.people, draws) for key, p_b in held.items()},
        "gains": {
            (" ".join(key), than): compare.paired(held[key], held[other], one.people, one.prompts, seed=seed)
            for key, other, than in against(held, one)
        },
    }


def parts(data: table.Table, whole: np.ndarray, by: str, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if by == "models":
        made = table.split(data, seed, "models")
        train = np.concatenate([made.fit, made.select])
        yield np.intersect1d(train, whole), np.intersect1d(made.test, whole)
        return
    for train, test in calibration.apart(data.prompts[whole], calibration.FOLDS, seed):
        yield whole[train], whole[test]


def fitted(members: Members, nulls: dict[str, np.ndarray], train: np.ndarray, test: np.ndarray, seed: int) -> Held:
    taught = {name: each.at(train) for name, each in members.items()}
    asked = {name: each.at(test) for name, each in members.items()}
    one, other = next(iter(taught.values())), next(iter(asked.values()))
    held: Held = {}
    for name, p_b in nulls.items():
        held[name, "as it is"] = p_b[test]
        held[name, "calibrated"] = calibration.fit(one.saying(p_b[train]), seed).p_b(other.saying(p_b[test]))
    for name in members:
        made = calibration.fit(taught[name], seed)
        held[name, "as it is"] = asked[name].p_b
        held[name, "calibrated"] = made.p_b(asked[name])
        blind = replace(taught[name], first=None), replace(asked[name], first=None)
        held[name, "calibrated, order unknown"] = calibration.fit(blind[0], seed).p_b(blind[1])
        held[name, "length-controlled"] = made.p_b(asked[name], length=False)
    for method in ("equal", "weighted"):
        held["all judges", method] = ensemble.fit(taught, method, seed=seed).p_b(asked)
    return held


def against(held: Held, one: Judged) -> list[tuple[tuple[str, str], tuple[str, str], str]]:
    """Calibrated judges against themselves as they are, these against the best null, ensembles against the best judge.

    The best is that of the measured comparisons, which nobody could have known: it is in nobody's favour but its own.
    """
    judges = [name for name, how in held if how == "length-controlled"]

    def right(key: tuple[str, str]) -> float:
        sided = one.people != 0.5
        return float(np.mean((held[key][sided] > 0.5) == (one.people[sided] > 0.5)))

    best = max(((name, "calibrated") for name in judges), key=right)
    null = max(((name, how) for name, how in held if name not in judges and how == "as it is"), key=right)
    return [
        *(((name, "calibrated"), (name, "as it is"), "as it is") for name in judges),
        *(((name, "as it is"), null, "the best null as it is") for name in judges),
        (("all judges", "equal"), best, "the best judge calibrated"),
        (("all judges", "weighted"), best, "the best judge calibrated"),
        (("all judges", "weighted"), ("all judges", "equal"), "equal"),
    ]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of values and of bounds."""
    rows = []
    for labeler, how in runs[0]["measures"]:
        each = [asdict(one["measures"][labeler, how]) for one in runs]
        row = {name: mean_of([one[name] for one in each]) for name in COLUMNS}
        noise = fmean(one["ece_noise"] for one in each)
        rows.append({"labeler": labeler, "as": how, **row, "ece_noise": noise})
    return {"rows": rows, "gains": gains_of(runs)}


def gains_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "first": key[0],
            "than": key[1],
            **{name: mean_of([asdict(one["gains"][key])[name] for one in runs]) for name in ("accuracy", "log_loss")},
        }
        for key in runs[0]["gains"]
    ]


def mean_of(values: list[dict[str, Any]]) -> dict[str, float | None]:
    """The mean value or difference, and the mean bounds."""
    named = {"value": "difference" if "difference" in values[0] else "value", "low": "low", "high": "high"}
    known = {name: [each[key] for each in values if each[key] is not None] for name, key in named.items()}
    return {name: fmean(some) if some else None for name, some in known.items()}


def learning_curve(members: Members, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Weighted, with gold drawn from other prompts than those that it is measured on; and the best judge beside it."""
    known = np.flatnonzero(~np.isnan(np.column_stack([each.p_b for each in members.values()])).any(axis=1))
    some = {name: each.at(known) for name, each in members.items()}
    one = next(iter(some.values()))
    rows = []
    for size in SIZES:
        losses: list[dict[str, float | None]] = []
        for seed in range(options.seed, options.seed + options.seeds):
            rng, p_b = np.random.default_rng([seed, size]), np.full(len(one), np.nan)
            for train, test in calibration.apart(one.prompts, calibration.FOLDS, seed):
                taught = {name: each.at(rng.permutation(train)[:size]) for name, each in some.items()}
                p_b[test] = ensemble.fit(taught, seed=seed).p_b({name: each.at(test) for name, each in some.items()})
            found = measures(p_b, one.people, Draws(one.prompts, seed))
            losses.append({"accuracy": found.accuracy.value, "log_loss": found.log_loss.value})
        rows.append({"gold": size, **{name: fmean(each[name] or 0 for each in losses) for name in losses[0]}})
    return rows


def print_tables(
    found: dict[str, Any],
    curve: list[dict[str, Any]],
    options: argparse.Namespace,
    by: str,
    runs: list[dict[str, Any]],
    seconds: float,
) -> None:
    sizes = f"{fmean(one['n'] for one in runs):.0f} comparisons of {fmean(one['prompts'] for one in runs):.0f} prompts"
    print(f"{options.file.name}: held out by {by}; measured on {sizes}; seeds {options.seed} to", end=" ")
    print(f"{options.seed + options.seeds - 1}; {seconds:.0f} s\n")
    print("| labeler | as | accuracy | AUC | log loss | Brier | ECE (noise alone) |")
    print("|---|---|---|---|---|---|---|")
    for row in found["rows"]:
        cells = [shown(row[name]) for name in COLUMNS]
        print(f"| {row['labeler']} | {row['as']} | {' | '.join(cells)} ({row['ece_noise']:.3f}) |")
    print("\n| difference | accuracy | log loss (above 0 is better) |")
    print("|---|---|---|")
    for row in found["gains"]:
        cells = [f"{row['first']} than {row['than']}", *(shown(row[name], "+.3f") for name in ("accuracy", "log_loss"))]
        print(f"| {' | '.join(cells)} |")
    if curve:
        print("\n| gold comparisons | weighted: accuracy | log loss |")
        print("|---|---|---|")
        for row in curve:
            print(f"| {row['gold']} | {row['accuracy']:.3f} | {row['log_loss']:.3f} |")


def shown(value: dict[str, float | None], how: str = ".3f") -> str:
    if value["value"] is None:
        return "–"
    if value["low"] is None or value["high"] is None:
        return format(value["value"], how)
    return f"{value['value']:{how}} ({value['low']:{how}} to {value['high']:{how}})"


def as_json(
    found: dict[str, Any],
    curve: list[dict[str, Any]],
    options: argparse.Namespace,
    by: str,
    runs: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    return {
        **found,
        "curve": curve,
        "bench": "calibration",
        "file": options.file.name,
        "by": by,
        "n": fmean(one["n"] for one in runs),
        "seed": options.seed,
        "seeds": options.seeds,
        "seconds": round(seconds, 1),
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
    }


if __name__ == "__main__":
    sys.exit(main())
