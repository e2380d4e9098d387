"""A small project with features and a recorded judge, for tests of the loop."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from annotator.models import Features, FeatureSet
from annotator.pipeline import ledger
from routing import features
from tests.builders import make_comparison, make_judgment, make_labeler, make_project


def paid_project(cap=100):
    """Two votes a comparison at 0.50 each, under a hard budget."""
    made = make_project(price_per_judgment=Decimal("0.5"), votes=2)
    ledger.set_cap(made, Decimal(cap))
    return made


def with_features(project, count=60, prompts=30, judge_right=0.8):
    """`count` comparisons with features and a recorded judge's answers, on `prompts` texts."""
    rng = np.random.default_rng(3)
    width = 4
    stored = FeatureSet.objects.create(
        project=project, version=1, state="ready", names=list(features.NAMES), digest="0" * 64
    )
    judge = make_labeler(project, "judge", price_per_call=Decimal("0.01"))
    made, rows = [], []
    for number in range(count):
        comparison = make_comparison(project, f"Prompt {number % prompts}")
        comparison.prompt.text_hash = f"{number % prompts:064d}"
        comparison.prompt.save()
        b_better = bool(rng.integers(2))
        sign = 1.0 if b_better else -1.0
        embedding = rng.normal(size=3 * width).astype(np.float32)
        embedding[2 * width] += 2 * sign
        rows.append(
            Features(
                feature_set=stored,
                comparison=comparison,
                values=rng.normal(size=len(features.NAMES)).tolist(),
                embedding=embedding.tobytes(),
            )
        )
        right = rng.random() < judge_right
        make_judgment(comparison, judge, p_b=0.8 if b_better == right else 0.2)
        made.append((comparison, 1 if b_better else -1))
    Features.objects.bulk_create(rows)
    return made
