"""Backtest of all strategies on a file with people's and labelers' judgments.

    python bench/backtest.py FILE.jsonl[.gz] --seeds 10 [--json] [--by prompt|models] [--price people=1 --price J=0.01]

Prints one line a strategy and budget; with --json the last line is one JSON object. Leaves with 1 when exactness is
broken: a plan over its budget, or a prompt, model or text on both sides of a split.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing import backtest, features, table  # noqa: E402


def main() -> int:
    options = arguments()
    started = time.perf_counter()
    try:
        data = table.load(table.read_rows(options.file))
        report = backtest.backtest(
            data,
            seeds=options.seeds,
            seed=options.seed,
            budgets=options.budgets,
            prices=dict(options.price),
            by=options.by,
            progress=lambda done, total: print(f"seed {done} of {total}", file=sys.stderr, flush=True),
        )
    except (backtest.OverBudget, table.BrokenSplit) as broken:
        print(f"Exactness is broken: {broken}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started
    print_table(report, options, seconds)
    if options.json:
        print(json.dumps(as_json(report, options, seconds), allow_nan=False))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=10, help="number of splits")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--by", choices=("auto", "prompt", "models"), default="auto", help="what splits do not share")
    parser.add_argument("--budgets", type=float, nargs="+", default=list(backtest.BUDGETS), help="shares of all-people")
    parser.add_argument("--price", type=price, action="append", default=[], metavar="SOURCE=MONEY")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    return parser.parse_args()


def price(text: str) -> tuple[str, Decimal]:
    name, _, amount = text.rpartition("=")
    try:
        return name, Decimal(amount)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not SOURCE=MONEY, e.g. people=1.20") from None


def print_table(report: backtest.Report, options: argparse.Namespace, seconds: float) -> None:
    sizes = {name: round(size) for name, size in report.sizes.items()}
    shared = "no prompt is shared between parts" if report.split == "prompt" else "test holds unseen models only"
    print(f"{options.file.name}: split by {report.split} ({shared}); mean sizes {sizes}; {options.seeds} seeds")
    for note in report.notes:
        print(note)
    print(
        f"performance models chosen: {report.models}; plans of auto: {report.plans}; their rank correlation "
        f"{report.model_correlation:.2f}, possible under noise {report.noise_correlation:.2f}"
    )
    print(f"people's judgments of the seed set, not in the money below: {report.seed_set_money:.2f}")
    print()
    print("| strategy | budget | accuracy | 95% interval | difference to random | 95% interval | labels | money |")
    print("|---|---|---|---|---|---|---|---|")
    for row in report.rows:
        print(line(row))
    print(
        f"\n{seconds:.0f} s. Accuracy is that of the proxy reward model on people's majorities of test; label accuracy"
    )
    print("is agreement with people's majority on what was routed, so what people judged counts as right.")


def line(row: backtest.Row) -> str:
    budget = "–" if row.budget is None else f"{row.budget:.0%}"
    paired, around = "–", "–"
    if row.difference is not None and row.difference_low is not None and row.difference_high is not None:
        paired, around = f"{row.difference:+.3f}", f"{row.difference_low:+.3f} to {row.difference_high:+.3f}"
    cells = (row.strategy, budget, f"{row.mean:.3f}", f"{row.low:.3f} to {row.high:.3f}", paired, around)
    return "| " + " | ".join([*cells, f"{row.label_accuracy:.3f}", f"{row.money:.2f}"]) + " |"


def as_json(report: backtest.Report, options: argparse.Namespace, seconds: float) -> dict[str, object]:
    content = asdict(report)
    content["rows"] = [{name: finite(value) for name, value in row.items()} for row in content["rows"]]
    return {
        **content,
        "bench": "backtest",
        "file": options.file.name,
        "seed": options.seed,
        "seeds": options.seeds,
        "seconds": round(seconds, 1),
        "features": features.VERSION,
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn", "lightgbm", "py3langid")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
    }


def finite(value: object) -> object:
    return None if isinstance(value, float) and value != value else value


if __name__ == "__main__":
    sys.exit(main())
