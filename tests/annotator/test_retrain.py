"""A stored performance model that this version cannot use is told, and plans are made without it."""

from decimal import Decimal

import numpy as np
import pytest

from annotator.models import FeatureSet, PerformanceModel
from annotator.pipeline import basis, grounds, retrain
from routing import performance
from tests.annotator.loop_samples import with_features
from tests.builders import make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    made = make_project(price_per_judgment=Decimal("0.5"))
    with_features(made, 12)
    return made


def stored(project, chosen):
    address, sha256 = retrain._file(project, "0" * 64, {"chosen": chosen, "paper": None})
    metrics = {"sources": ["people", "judge"], "bins": {"names": [], "edges": []}, "sampling_error": 0.01}
    return PerformanceModel.objects.create(
        project=project,
        version=4,
        kind="mean",
        metrics=metrics | {"comparisons": 100},
        feature_set=FeatureSet.objects.get(project=project),
        artifact=address,
        artifact_sha256=sha256,
    )


def fitted(**options):
    X = np.random.default_rng(0).random((20, 3))
    return performance.Chosen(kinds=("mean", "budget"), repeats=1, **options).fit(X, X[:, 0])


def test_a_model_without_calibrated_intervals_is_refused_and_a_plan_goes_on_without_it(project):
    older = stored(project, fitted(intervals=False))
    with pytest.raises(retrain.Unreadable, match="Performance model 4 .*train it anew"):
        retrain.load(older)
    made_from = basis.load(project)
    assert made_from.stored is None and made_from.model is None and "train it anew" in made_from.outdated


@pytest.mark.slow
def test_a_file_that_was_changed_is_refused_in_words(project):
    model = stored(project, fitted())
    assert retrain.load(model).chosen.kind_ == "budget" and basis.load(project).stored == model
    model.artifact_sha256 = "0" * 64
    with pytest.raises(retrain.Unreadable, match="train it anew"):
        retrain.load(model)


def test_a_model_that_tells_nothing_of_pairs_gets_the_widest_error():
    half = np.array([0.5, 0.5])
    assert grounds.difference_error({"comparisons": 100}, half, half) == pytest.approx(np.sqrt(0.5 / 100))
    assert grounds.difference_error({}, half, half) == 0.0
