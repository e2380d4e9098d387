"""Features of many comparisons without a model: `python bench/features.py --rows 10000 100000 --json`.

Comparisons are generated as they are asked for (words by Zipf's law, responses of 180 ± 120 words with names, numbers,
lists, code; the text of B shares sentences with A), featurised in batches of 500 as the job does (features of the
texts, TF-IDF vectors and nearness, tags by words) and thrown away. TF-IDF is fitted on 20,000 of them as there. Each
size runs in a fresh process with one thread. Seconds are CPU seconds of that process, so that what else the machine
does falls out; peak memory of two sizes shows whether it grows with the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

BATCH = 500
# As `annotator.pipeline.feature_sets` fits TF-IDF.
FIT_ON = 20_000
VOCABULARY = 40_000
SYLLABLES = "ba de fi go lu ma ne pi ro su ta ve wi xo zu cha ler ing tion ness ment al ous ent"
COMMON = "the of and to in is it that for a you on with what how please"


class Writer:
    """Comparisons without end, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.words = self._words()
        self.weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def _words(self) -> list[str]:
        found: dict[str, None] = dict.fromkeys(COMMON.split())
        syllables = SYLLABLES.split()
        while len(found) < VOCABULARY:
            found["".join(self.rng.choices(syllables, k=self.rng.randint(1, 4)))] = None
        return list(found)

    def sentence(self) -> str:
        words = self.rng.choices(self.words, cum_weights=self.weights, k=self.rng.randint(5, 20))
        if self.rng.random() < 0.2:
            words[self.rng.randrange(len(words))] = self.rng.choice(self.words[100:2000]).capitalize()
        if self.rng.random() < 0.15:
            words[-1] = str(self.rng.randint(1, 3000))
        return " ".join(words).capitalize() + self.rng.choice(".....?!")

    def text(self, shared: list[str]) -> list[str]:
        length = max(1, round(self.rng.gauss(15, 10)))
        sentences = [
            self.rng.choice(shared) if shared and self.rng.random() < 0.2 else self.sentence() for _ in range(length)
        ]
        form = self.rng.random()
        if form < 0.25:
            sentences = [f"- {sentence}" for sentence in sentences]
        elif form < 0.35:
            sentences.append("```py\nprint(1)\n```")
        return sentences

    def pairs(self, count: int) -> Iterator[Any]:
        for number in range(count):
            a = self.text([])
            b = self.text(a)
            turns = [{"role": "user", "content": " ".join(self.sentence() for _ in range(self.rng.randint(1, 6)))}]
            yield SimpleNamespace(
                pk=number,
                prompt=SimpleNamespace(turns=turns, context=[]),
                response_a=SimpleNamespace(text="\n".join(a)),
                response_b=SimpleNamespace(text="\n".join(b)),
            )


def texts(pairs: list[Any]) -> tuple[list[str], list[str], list[str]]:
    return (
        [pair.prompt.turns[0]["content"] for pair in pairs],
        [pair.response_a.text for pair in pairs],
        [pair.response_b.text for pair in pairs],
    )


def batches(seed: int, rows: int) -> Iterator[list[Any]]:
    pairs = Writer(seed).pairs(rows)
    for start in range(0, rows, BATCH):
        yield [next(pairs) for _ in range(min(BATCH, rows - start))]


def run(rows: int, seed: int) -> dict[str, Any]:
    """One size in this process. Writing the texts is not counted."""
    import numpy as np

    from routing import features, tag_keywords, tags
    from routing.embeddings import TextEmbedding

    sample = [text for batch in batches(seed, min(rows, FIT_ON)) for side in texts(batch) for text in side]
    started = time.process_time()
    embedding = TextEmbedding().fit(sample)
    fit_s = time.process_time() - started
    del sample
    spent = dict.fromkeys(("extract_s", "transform_s", "tags_s"), 0.0)
    made, known = 0, 0
    for batch in batches(seed, rows):
        clock = [time.process_time()]
        vectors, near = embedding.triples(*texts(batch))
        clock.append(time.process_time())
        values = features.extract(batch)
        clock.append(time.process_time())
        columns = tags.columns([tag_keywords.tag(pair.prompt.turns, pair.prompt.context) for pair in batch])
        clock.append(time.process_time())
        whole = np.hstack([values, features.measure(near, features.TFIDF), columns])
        made, known = made + len(whole), known + int((~np.isnan(whole)).sum())
        assert len(vectors) == len(whole)
        for name, start, end in zip(("transform_s", "extract_s", "tags_s"), clock, clock[1:], strict=False):
            spent[name] += end - start
    seconds = sum(spent.values())
    return {
        "rows": made,
        "columns": whole.shape[1],
        "known": round(known / (made * whole.shape[1]), 3),
        "fit_s": round(fit_s, 1),
        **{name: round(value, 1) for name, value in spent.items()},
        "seconds": round(fit_s + seconds, 1),
        "rows_per_s": round(made / seconds, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def fresh(rows: int, seed: int) -> dict[str, Any]:
    """The same in a process of its own, whose memory is its own."""
    command = [sys.executable, __file__, "--one", str(rows), "--seed", str(seed)]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.one, given.seed)))
        return
    sizes = [fresh(rows, given.seed) for rows in given.rows]
    print(f"{'rows':>8} {'rows/s':>8} {'seconds':>8} {'peak MB':>8}  (CPU seconds of one process, one thread)")
    for size in sizes:
        print(f"{size['rows']:>8,} {size['rows_per_s']:>8,.0f} {size['seconds']:>8,.0f} {size['peak_mb']:>8,.0f}")
    whole = {
        "sizes": sizes,
        "rows_per_s": sizes[-1]["rows_per_s"],
        "peak_mb": sizes[-1]["peak_mb"],
        "seed": given.seed,
        "data": "generated",
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn", "py3langid")},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
    }
    print(f"seed {given.seed}; generated data; {whole['versions']}; {whole['machine']}")
    if given.json:
        print(json.dumps(whole))


if __name__ == "__main__":
    main()
