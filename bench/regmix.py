"""Performance models on RegMix's public table, trained on its 1M-parameter runs only.

    python bench/regmix.py FOLDER [--losses 13] [--seed 0] [--json]

FOLDER holds the files of sail-sg/regmix, data/ (MIT): mixtures of 17 domains and the validation losses of language
models trained on them. Each loss is one table of scores from outside. Models are fitted on the first 200 and on all 512
training mixtures (1M parameters); figures are Spearman's rank correlation between predicted and measured loss on
mixtures that were not trained on, at 1M (256), 60M (the same 256) and 1B (64), averaged over the losses. `chosen` is
what cross-validation on the training mixtures chose for each loss; no choice sees a test mixture. Coverage is the share
of the 1M test mixtures inside the chosen model's 90% interval. With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing import performance  # noqa: E402

MACHINE = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
SCALES = ("1m", "60m", "1B")
SIZES = (200, 512)
# Beside what cross-validation chose, in the same run: every kind that sees more than the budget, and the paper's.
BESIDE = ("lightgbm", "ridge", "quadratic", "gaussian_process", "stack", "hyper_linear", "hyper_quadratic")
FACTORIES = {**performance.KINDS, **performance.PRESETS}
Parts = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> int:
    options = arguments()
    started = time.perf_counter()
    try:
        train, tests = load(options.folder)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    found = measure(train, tests, options.losses, options.seed)
    result = summary(found) | {
        "losses": options.losses,
        "mixtures": {"train": len(train[0])} | {scale: len(tests[scale][0]) for scale in SCALES},
        "seconds": round(time.perf_counter() - started, 1),
        "seed": options.seed,
        "data": "sail-sg/regmix, data/*.csv",
        "versions": versions(),
        "machine": MACHINE,
    }
    print_table(result)
    if options.json:
        print(json.dumps(result))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the CSV files of sail-sg/regmix")
    parser.add_argument("--losses", type=int, default=13, help="the first so many losses, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def load(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], Parts]:
    """(X, Y) of the training mixtures, and of the test mixtures at each scale; rows joined by the files' `index`."""
    tests = {scale: _joined(folder, "test", scale) for scale in SCALES}
    return _joined(folder, "train", "1m"), tests


def _joined(folder: Path, part: str, scale: str) -> tuple[np.ndarray, np.ndarray]:
    shares = _rows(folder / f"{part}_mixture_{scale}.csv")
    losses = _rows(folder / f"{part}_pile_loss_{scale}.csv")
    both = [index for index in shares if index in losses]
    if not both:
        raise ValueError(f"{folder}: no mixture of part {part} at {scale} has a loss. Is this sail-sg/regmix's data?")
    return np.array([shares[index] for index in both]), np.array([losses[index] for index in both])


def _rows(path: Path) -> dict[str, list[float]]:
    with path.open() as lines:
        return {row[0]: [float(cell) for cell in row[1:]] for row in list(csv.reader(lines))[1:]}


def measure(train: tuple[np.ndarray, np.ndarray], tests: Parts, losses: int, seed: int) -> list[dict[str, Any]]:
    """A row for each loss, size and kind: its Spearman at each scale; the chosen model's kind and coverage beside."""
    found = []
    for loss in range(losses):
        for size in SIZES:
            X, y = train[0][:size], train[1][:size, loss]
            began = time.process_time()
            chosen = performance.choose(X, y, budget_column=0, seed=seed)
            row = {"loss": loss, "size": size, "kind": "chosen", "chosen": chosen.kind_, "held_out": chosen.coverage_}
            row |= {"cpu_s": time.process_time() - began, "coverage": coverage(chosen, *tests["1m"], loss)}
            found.append(row | ranks(chosen, tests, loss))
            models = {kind: FACTORIES[kind](0, seed).fit(X, y) for kind in BESIDE if kind != "stack"}
            models["stack"] = chosen.combined(X, y)
            found += [{"loss": loss, "size": size, "kind": kind} | ranks(models[kind], tests, loss) for kind in BESIDE]
        print(
            f"loss {loss + 1} of {losses}: chosen {[row['chosen'] for row in found if 'chosen' in row][-2:]}",
            flush=True,
        )
    return found


def ranks(model: Any, tests: Parts, loss: int) -> dict[str, float]:
    return {scale: performance.spearman(model.predict(X), Y[:, loss]) for scale, (X, Y) in tests.items()}


def coverage(model: performance.Chosen, X: np.ndarray, Y: np.ndarray, loss: int) -> float:
    low, high = model.predict_interval(X, 0.9)
    return float(((low <= Y[:, loss]) & (Y[:, loss] <= high)).mean())


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The issue's keys: no prefix for what was chosen, a kind's name before the others'."""
    result: dict[str, Any] = {}
    for kind in ("chosen", *BESIDE):
        prefix = "" if kind == "chosen" else f"{kind}_"
        for size in SIZES:
            rows = [row for row in found if row["kind"] == kind and row["size"] == size]
            for scale in SCALES:
                result[f"{prefix}spearman_{scale.lower()}_{size}"] = round(float(np.mean([r[scale] for r in rows])), 4)
        for scale in ("60m", "1b"):
            result[f"{prefix}spearman_{scale}"] = result[f"{prefix}spearman_{scale}_512"]
    for size in SIZES:
        rows = [row for row in found if row["kind"] == "chosen" and row["size"] == size]
        result[f"coverage_90_{size}"] = round(float(np.mean([row["coverage"] for row in rows])), 4)
        result[f"held_out_coverage_90_{size}"] = round(float(np.mean([row["held_out"] for row in rows])), 4)
        result[f"chosen_{size}"] = dict(Counter(row["chosen"] for row in rows))
        result[f"cpu_s_a_choice_{size}"] = round(float(np.mean([row["cpu_s"] for row in rows])), 2)
    return result | {"coverage_90": result["coverage_90_512"]}


def versions() -> dict[str, str]:
    names = ("scikit-learn", "scipy", "numpy", "lightgbm")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def print_table(result: dict[str, Any]) -> None:
    print(f"\nSpearman, mean of {result['losses']} losses; trained on 512 (200) runs at 1M; seed {result['seed']}")
    print(f"{'model':18} {'1M':>15} {'60M':>15} {'1B':>15}")
    for kind in ("chosen", *BESIDE):
        prefix = "" if kind == "chosen" else f"{kind}_"
        cells = [[result[f"{prefix}spearman_{scale}_{size}"] for size in (512, 200)] for scale in ("1m", "60m", "1b")]
        print(f"{kind:18} " + " ".join(f"{many:7.3f} ({few:.3f})" for many, few in cells))
    for size in (512, 200):
        print(
            f"{size} mixtures: chosen {result[f'chosen_{size}']}; 90% intervals cover "
            f"{result[f'coverage_90_{size}']:.1%} of the 1M test, "
            f"{result[f'held_out_coverage_90_{size}']:.1%} held out; "
            f"{result[f'cpu_s_a_choice_{size}']:.1f} s CPU a choice"
        )
    print(f"{result['mixtures']} mixtures, {result['seconds']} s, {result['versions']}, {MACHINE}")


if __name__ == "__main__":
    raise SystemExit(main())
