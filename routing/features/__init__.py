"""Features of comparisons: what can be read off the texts, what an embedding measures, what a prompt's tags say.

A feature is one function over a batch, registered by its name (`registry`). Signed features are B minus A and flip when
A and B are exchanged; all others stay. NaN means "not defined here". A pair is anything with `.prompt.turns` (list of
{"role", "content"}), `.prompt.context` (list of {"title", "text"}), `.response_a.text` and `.response_b.text`.

NAMES, SIGNED and `extract` are the features that need nothing but the texts. Others have columns behind them:
`measured(TFIDF)` or `measured(SENTENCES)`, then those of `routing.tags`. Whoever reads stored features asks
`signed(names)` and `symmetric(values, names)` with the names they were stored under.

Sources: the nine textual measures of Hybrid Preferences (arXiv 2410.19133, section 3), corrected (ROUGE-L is ROUGE-L,
entity overlap is symmetric, lengths are ranked over the whole project, bins do not overlap), and our own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from routing import tags

# The first line is imported for what its files register; their order is the order of the columns.
from routing.features import behaviour, conversation, form, lengths  # noqa: F401
from routing.features.overlap import ROUGE_WORDS, rouge_l
from routing.features.registry import FEATURES, SENTENCES, TEXT, TFIDF, Feature, Pair, Prompt, Response
from routing.features.similarity import Nearness

__all__ = [
    "CODE_VERSION", "FEATURES", "NAMES", "ROUGE_WORDS", "SENTENCES", "SIGNED", "TEXT", "TFIDF", "VERSION", "Feature",
    "Nearness", "Pair", "Prompt", "Response", "describe", "extract", "measure", "measured", "percentile_ranks",
    "rouge_l", "signed", "symmetric", "version",
]  # fmt: skip

# Bump when a function's values change: stored features are then made anew (tests/routing/test_features.py says when).
CODE_VERSION = 2
CHUNK = 512

NAMES: tuple[str, ...] = tuple(name for name, item in FEATURES.items() if item.source == TEXT)
SIGNED: np.ndarray = np.array([FEATURES[name].signed for name in NAMES])


def measured(source: str) -> tuple[str, ...]:
    """Names of the features that an embedding of this kind measures: TFIDF or SENTENCES."""
    return tuple(name for name, item in FEATURES.items() if item.source == source)


def extract(pairs: Sequence[Pair]) -> np.ndarray:
    """(n, k) float64, columns in the order of NAMES; NaN where a feature is not defined. Batches of any size."""
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    if not chunks:
        return np.empty((0, len(NAMES)))
    return np.vstack([np.column_stack([FEATURES[name].compute(chunk) for name in NAMES]) for chunk in chunks])


def measure(near: Nearness, source: str) -> np.ndarray:
    """(n, 3) float64, columns in the order of `measured(source)`."""
    return np.column_stack([FEATURES[name].compute(near) for name in measured(source)]).astype(np.float64)


def signed(names: Sequence[str]) -> np.ndarray:
    """(k,) bool: which columns flip when A and B are exchanged. Tags and unknown names do not."""
    return np.array([name in FEATURES and FEATURES[name].signed for name in names], dtype=bool)


def symmetric(values: np.ndarray, names: Sequence[str] = NAMES) -> np.ndarray:
    """`values` (n, k) with signed columns made absolute: what is left is the same when A and B are exchanged."""
    return np.where(signed(names), np.abs(values), values)


def describe(name: str, value: float, quantiles: tuple[float, float] | None = None) -> str:
    """A feature's value in words ("responses 40% alike", "long prompt", "moderate safety concern").

    `quantiles` are the values under which a third and over which a third of the project lies; without them the
    feature's usual ones serve. Raises KeyError for an unknown name.
    """
    if name in tags.NAMES:
        return tags.describe(name, value)
    feature = FEATURES[name]
    if math.isnan(value):
        return f"{name.replace('_', ' ')} not defined"
    return feature.words(value, quantiles or feature.usual)


def percentile_ranks(values: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """Mid-ranks in [0, 1] of `values` within the whole project's distribution `of` (default: the values themselves).

    Ranking inside a subset makes every bin equally full (a defect of the published code), so `of` is always the
    project. NaN stays NaN; equal values get equal ranks.
    """
    known = np.sort(of if of is not None else values)
    known = known[~np.isnan(known)]
    if not len(known):
        return np.full(len(values), np.nan)
    low, high = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
    return np.where(np.isnan(values), np.nan, (low + high) / (2 * len(known)))


def version(names: Sequence[str] = NAMES) -> str:
    """Says which code makes these columns: it changes with CODE_VERSION, with a name and with a sign."""
    told = "\n".join(f"{name} {flips}" for name, flips in zip(names, signed(names).tolist(), strict=True))
    return f"{CODE_VERSION}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


VERSION: str = version()
