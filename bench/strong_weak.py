"""What is a density ratio worth where nothing is downloaded? `python bench/strong_weak.py [--seeds 3] [--json]`.

Trains a small pair of language models from scratch and lets our own labelers judge held-out comparisons with them:

    base         a Llama of two million parameters reads docstrings of Python's standard library (own BPE tokenizer)
    weak         the base, taught all responses of the training comparisons, good and bad
    better data  the base, taught the preferred responses only
    tuned        the weak model, tuned by DPO on the training comparisons' preferences

"better data over weak" and "tuned over weak" are strong over weak; the second is also the implicit reward of DPO.
Contrastive prompts ask the tuned model alone. Beside them stand "longest" and "shortest".

Comparisons: the demo's generated ones with simulated people (three of nine domains held out a seed), or with --file
rows that people judged (a third of the prompts held out). A figure is the accuracy against the majority over all
held-out comparisons of all seeds, ties half, with a 95% interval bootstrapped over prompts; `length` is the correlation
between a labeler's margin and the difference in length; `matched` the accuracy where lengths are within 10%.
Seeds draw the split and the order of training; the base is trained once. Three seeds take about ten minutes of CPU;
what was reached is said on stderr as it goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.scratch import preferences, training  # noqa: E402
from bench.scratch.preferences import Preference  # noqa: E402

Array = NDArray[np.float64]
DRAWS = 2000


def main() -> int:
    given = arguments()
    from bench.annotators import machine

    here, started = machine(), time.monotonic()
    found = measured(given)
    found |= {"seconds": round(time.monotonic() - started), "cpu_seconds": round(time.process_time())}
    print_table(found)
    if given.json:
        print(json.dumps(found | {"seed": given.seed, "versions": versions(), "machine": here}))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="comparisons people judged (JSON Lines, also gzip)")
    parser.add_argument("--comparisons", type=int, default=600, help="how many are generated or drawn of the file")
    parser.add_argument("--text", type=int, default=300_000, help="characters of docstrings the base reads")
    parser.add_argument("--epochs", type=int, default=1, help="of the training comparisons")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="so little that nothing is learned: does it run?")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.file and not given.file.exists():
        parser.error(f"{given.file} is not there")
    if given.quick:
        given.comparisons, given.text, given.epochs, given.seeds = 60, 20_000, 1, 1
    return given


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": version("torch"), "transformers": version("transformers")}


def measured(given: argparse.Namespace) -> dict[str, Any]:
    import torch

    from labelers.logprobs import Texts

    torch.set_num_threads(given.threads)
    size = training.Size(vocabulary=512, width=64, layers=2) if given.quick else training.Size()
    documents = preferences.docstrings(given.text)
    texts = Texts(training.tokenizer(documents, size), limit=size.limit)
    read = training.passages(texts, documents)
    said(f"the base reads {len(read)} passages")
    base = training.taught(training.model(size, given.seed), read, epochs=1, rate=2e-3, seed=given.seed)
    known = preferences.generated(given.comparisons, given.seed) if not given.file else drawn(given)
    runs = [one(base, texts, known, seed, given.epochs) for seed in range(given.seed, given.seed + given.seeds)]
    judged = {name: np.concatenate([run["margins"][name] for run in runs]) for name in runs[0]["margins"]}
    test = [each for run in runs for each in run["test"]]
    prompts = [f"{number} {each.asked}" for number, run in enumerate(runs) for each in run["test"]]
    return {
        "comparisons": given.file.name if given.file else "generated",
        "parameters": sum(each.numel() for each in base.parameters()),
        "base_tokens": sum(len(each.response) for each in read),
        "trained_on": [run["trained_on"] for run in runs],
        "tested_on": [len(run["test"]) for run in runs],
        "too_long": [run["too_long"] for run in runs],
        "labelers": {name: worth(margins, test, prompts) for name, margins in judged.items()},
        "by_seed": [{name: accuracy(m, run["test"]) for name, m in run["margins"].items()} for run in runs],
    }


def drawn(given: argparse.Namespace) -> list[Preference]:
    found = preferences.read(given.file)
    return random.Random(given.seed).sample(found, min(given.comparisons, len(found)))


def one(base: Any, texts: Any, known: Sequence[Preference], seed: int, epochs: int) -> dict[str, Any]:
    """One split: train the three models, judge what was held out."""
    training_set, test = preferences.split(list(known), 1 / 3, seed)
    both = training.pairs(texts, training_set)
    said(f"seed {seed}: trains on {len(both)} comparisons")
    fit = [each for each in test if training.pairs(texts, [each])]
    all_of, chosen = [text for pair in both for text in pair], [pair[0] for pair in both]
    # As many steps for one as for the other: the better data are half as many.
    weak = training.taught(base, all_of, epochs=epochs, rate=1e-3, seed=seed)
    said(f"seed {seed}: weak")
    better = training.taught(base, chosen, epochs=2 * epochs, rate=1e-3, seed=seed)
    said(f"seed {seed}: better data")
    tuned = training.preferring(weak, both, epochs=epochs, rate=2e-4, beta=0.1, seed=seed)
    said(f"seed {seed}: tuned; judges {len(fit)} comparisons")
    found = margins({"weak": weak, "better": better, "tuned": tuned}, texts, fit, f"seed {seed}")
    said(f"seed {seed}: " + ", ".join(f"{name} {accuracy(margin, fit):.3f}" for name, margin in found.items()))
    return {
        "test": fit,
        "too_long": len(test) - len(fit) + len(training_set) - len(both),
        "trained_on": len(both),
        "margins": found,
    }


def said(words: str) -> None:
    """What was reached, with the CPU seconds it took so far; on stderr, beside the table."""
    print(f"{time.process_time():6.0f} s of CPU: {words}", file=sys.stderr, flush=True)


def margins(models: dict[str, Any], texts: Any, test: Sequence[Preference], run: str) -> dict[str, Array]:
    """B's score less A's of every labeler. The models' scores are cached: each text is read once by each."""
    from labelers.density_ratio import ContrastivePrompts, DensityRatio
    from labelers.logprobs import Engine, InMemory
    from labelers.pointwise import Case

    cache, cases = InMemory(), [Case(each.prompt, (each.a, each.b)) for each in test]
    engines = {name: Engine.around(model, texts, f"{run} {name}", cache=cache) for name, model in models.items()}
    lengths = np.array([len(each.b) - len(each.a) for each in test], dtype=float)
    labelers: dict[str, Any] = {}
    for strong, words in (("better", "better data over weak"), ("tuned", "tuned over weak")):
        for reduction in ("sum", "mean", "bytes"):
            labelers[f"{words}, {reduction}"] = DensityRatio(engines[strong], engines["weak"], reduction=reduction)
    labelers["contrastive prompts, sum"] = ContrastivePrompts(engines["tuned"])
    found = {"longest": lengths, "shortest": -lengths}
    for name, labeler in labelers.items():
        scored = [(a.value, b.value) for a, b in labeler.score(cases)]
        found[name] = np.array([np.nan if a is None or b is None else b - a for a, b in scored])
    return found


def hits(margin: Array, test: Sequence[Preference]) -> Array:
    """1 where the margin has people's sign, 0 where not, a half where it has none or could not be had."""
    signs = np.array([each.sign for each in test], dtype=float)
    return (np.sign(np.nan_to_num(margin)) * signs + 1) / 2


def accuracy(margin: Array, test: Sequence[Preference]) -> float:
    return round(float(hits(margin, test).mean()), 4) if len(test) else float("nan")


def worth(margin: Array, test: Sequence[Preference], prompts: Sequence[str]) -> dict[str, Any]:
    right = hits(margin, test)
    length = np.array([len(each.b) - len(each.a) for each in test], dtype=float)
    matched = np.array([abs(len(e.b) - len(e.a)) <= 0.1 * max(len(e.b), len(e.a)) for e in test])
    known = ~np.isnan(margin)
    return {
        "accuracy": round(float(right.mean()), 4),
        "interval": interval(right, prompts),
        "length": round(float(np.corrcoef(margin[known], length[known])[0, 1]), 3) if known.sum() > 2 else None,
        "matched": round(float(right[matched].mean()), 4) if matched.any() else None,
        "matched_interval": interval(right[matched], [p for p, m in zip(prompts, matched, strict=True) if m]),
        "matched_comparisons": int(matched.sum()),
    }


def interval(right: Array, prompts: Sequence[str]) -> list[float] | None:
    """95% percentile bootstrap of the mean over prompts, whose comparisons come and go together."""
    if not len(right):
        return None
    _names, group = np.unique(np.array(prompts), return_inverse=True)
    sums, counts = np.bincount(group, weights=right), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [round(float(value), 4) for value in np.quantile(means, (0.025, 0.975))]


def print_table(found: dict[str, Any]) -> None:
    print(
        f"{found['comparisons']}: {found['parameters']:,} parameters, {found['base_tokens']:,} tokens of text;"
        f" trained on {found['trained_on']}, tested on {found['tested_on']}, too long {found['too_long']};"
        f" {found['cpu_seconds']} s of CPU"
    )
    print(f"{'labeler':32}{'accuracy':>9}{'95% interval':>18}{'length':>8}{'matched':>9}{'95% interval':>18}")
    for name, of in found["labelers"].items():
        low, high = of["interval"]
        print(
            f"{name:32}{of['accuracy']:9.3f}{f'{low:.3f} to {high:.3f}':>18}"
            f"{'-' if of['length'] is None else format(of['length'], '.2f'):>8}{_or_dash(of['matched']):>9}"
            f"{' to '.join(_or_dash(value) for value in of['matched_interval'] or [None]):>18}"
        )
    print(f"length-matched: {next(iter(found['labelers'].values()))['matched_comparisons']} comparisons")


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
