"""Backtest of all strategies on a file with people's and labelers' judgments.

    python bench/backtest.py FILE.jsonl[.gz] [--seeds 20] [--json] [--by prompt|models|rows] [--processes 2]
                             [--price people=1 --price JUDGE=0.01] [--strategies random auto …] [--votes 1]

Prints one line a strategy and budget; with --json the last line is one JSON object. Leaves with 1 when exactness is
broken: a plan over its budget, or a prompt, model or text on both sides of a split. Every seed runs on one thread, so
that seeds in several processes do not wait for each other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path

# Before NumPy is loaded, here and in the processes that this one starts.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing import backtest, features, table  # noqa: E402

VERSIONS = {name: version(name) for name in ("numpy", "scipy", "scikit-learn", "lightgbm", "py3langid")}
MACHINE = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
APART = {
    "prompt": "no prompt is shared between parts",
    "models": "test holds unseen models only",
    "rows": "at random, repeated comparisons kept together",
}


def main() -> int:
    options = arguments()
    started = time.perf_counter()
    try:
        report = measure(options)
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


def measure(options: argparse.Namespace) -> backtest.Report:
    parameters = backtest.Parameters(
        seeds=options.seeds,
        seed=options.seed,
        budgets=tuple(options.budgets),
        strategies=tuple(options.strategies),
        prices=dict(options.price),
        by=options.by,
        votes=tuple(options.votes),
    )
    data = table.load(table.read_rows(options.file))
    return backtest.backtest(
        data,
        parameters,
        processes=min(options.processes, options.seeds),
        progress=lambda done, total: print(f"seed {done} of {total}", file=sys.stderr, flush=True),
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=20, help="number of splits")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--by", choices=table.WAYS, default="auto", help="what parts do not share; rows = at random")
    parser.add_argument("--budgets", type=float, nargs="+", default=list(backtest.BUDGETS), help="shares of all-people")
    parser.add_argument("--strategies", nargs="+", default=[], help="besides random; default all")
    parser.add_argument("--votes", type=int, nargs="+", default=[], help="people with fewer votes, as cheaper sources")
    parser.add_argument("--price", type=price, action="append", default=[], metavar="SOURCE=MONEY")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="seeds computed at once")
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
    apart = f"split by {report.split} ({APART[report.split]})"
    print(f"{options.file.name}: {apart}; mean sizes {sizes}; {options.seeds} seeds")
    print(f"seed {options.seed}; {', '.join(f'{name} {number}' for name, number in VERSIONS.items())}; {MACHINE}")
    for note in report.notes:
        print(note)
    print(f"prices: {report.prices}")
    print(
        f"performance models chosen: {report.models}, {report.skilled} of {report.seeds} with skill; plans of auto: "
        f"{report.plans}; their rank correlation {number(report.model_correlation, 2)}, possible under noise "
        f"{number(report.noise_correlation, 2)}; the same mixture with new draws: ± {number(report.noise_deviation, 3)}"
    )
    print(
        f"the seed set, not in the money below: people's judgments {report.seed_set_money:.2f}, labelers' "
        f"{report.seed_set_labelers_money:.2f}"
    )
    print()
    head = (
        "strategy",
        "budget",
        "accuracy",
        "95% interval",
        "difference to random",
        "95% interval",
        "regret",
        "labels",
    )
    print("| " + " | ".join([*head, "people", "money"]) + " |")
    print("|---" * (len(head) + 2) + "|")
    for row in report.rows:
        print(line(row))
    print()
    for words in said(report.verdict):
        print(words)
    print(
        f"\n{seconds:.0f} s. Accuracy is that of the proxy reward model on people's majorities of test; label accuracy"
    )
    print("is agreement with people's majority on what was routed, so what people judged counts as right. Regret is to")
    print(f"the best on test of {report.mixtures:.0f} mixtures a seed that cost no more: part of that best is luck.")


def number(value: float | None, places: int, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.{places}f}"


def line(row: backtest.Row) -> str:
    budget = "–" if row.budget is None else f"{row.budget:.0%}"
    cells = [row.strategy, budget, number(row.mean, 3), between(row.low, row.high)]
    cells += [number(row.difference, 3, "+"), between(row.difference_low, row.difference_high, "+")]
    cells += [number(row.regret, 3), number(row.label_accuracy, 3), f"{row.people:.0%}", f"{row.money:.2f}"]
    return "| " + " | ".join(cells) + " |"


def between(low: float | None, high: float | None, sign: str = "") -> str:
    return "–" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def said(verdict: backtest.Verdict) -> list[str]:
    """The verdict, a line each: differences are means over the budgets."""
    named = {
        f"best of {verdict.compared} on test, interval widened for that": verdict.winner,
        "the same less the next best": verdict.second,
        "chosen on select": verdict.auto,
        "the best less the labeler that agrees best on select": verdict.over_labelers,
        "people for everything less that labeler": verdict.people_over_labelers,
    }
    return [
        f"{words}: {each.strategy} less {each.against}: {number(each.mean, 3, '+')} "
        f"({between(each.low, each.high, '+')}){', within noise' if each.is_noise else ''}"
        for words, each in named.items()
        if each
    ]


def as_json(report: backtest.Report, options: argparse.Namespace, seconds: float) -> dict[str, object]:
    return {
        **report.as_json(),
        "bench": "backtest",
        "file": options.file.name,
        "seed": options.seed,
        "seeds": options.seeds,
        "seconds": round(seconds, 1),
        "features": features.VERSION,
        "versions": VERSIONS,
        "python": platform.python_version(),
        "machine": MACHINE,
    }


if __name__ == "__main__":
    sys.exit(main())
