"""Performance models: chosen by cross-validation, honest when there is nothing to learn."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from routing import performance

REGMIX = Path(__file__).resolve().parents[3] / "shared/data/regmix"
QUICK = ("mean", "budget", "ridge")


@parametrize_with_checks([performance.Mean(), performance.BudgetOnly(), performance.Ridge()])
def test_estimators_pass_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([performance.LightGBM(trees=20, rate=0.2)])
def test_lightgbm_passes_scikit_learns_checks(estimator, check):
    check(estimator)


def mixtures_of(kind, n=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 8))
    truth = {
        "nothing": np.zeros(n),
        "budget": np.log1p(5 * X[:, 2]),
        "line": X[:, 2] + X[:, 3] - 2 * X[:, 4],
        "steps": (X[:, 3] > 0.5) * 2.0 * (X[:, 4] > 0.5) + X[:, 2],
    }[kind]
    return X, 0.6 + 0.05 * truth + 0.01 * rng.standard_normal(n)


@pytest.mark.parametrize(("truth", "kind"), [("nothing", "mean"), ("budget", "budget"), ("line", "ridge")])
def test_the_simplest_kind_that_is_not_clearly_worse_is_chosen(truth, kind):
    model = performance.choose(*mixtures_of(truth), budget_column=2, kinds=QUICK)
    assert model.kind_ == kind
    assert model.skill_ == (kind != "mean")
    assert model.beats_budget_ == (kind == "ridge")


def test_trees_are_chosen_where_lines_fail():
    model = performance.choose(*mixtures_of("steps"), budget_column=2, repeats=1, folds=3)
    assert model.kind_ == "lightgbm"
    X, y = mixtures_of("steps", seed=1)
    assert performance.spearman(model.predict(X), y) > 0.85


def test_intervals_cover_new_mixtures_and_widen_away_from_them():
    X, y = mixtures_of("line")
    model = performance.choose(X, y, budget_column=2, kinds=QUICK)
    new, truth = mixtures_of("line", 500, seed=9)
    low, high = model.predict_interval(new, 0.9)
    assert 0.85 <= ((truth >= low) & (truth <= high)).mean() <= 0.97
    assert 0.85 <= model.coverage_ <= 0.95
    assert (low < model.predict(new)).all() and (model.predict(new) < high).all()
    far_low, far_high = model.predict_interval(new * 50)
    assert (far_high - far_low).mean() > 2 * (high - low).mean()


def test_repeated_seeds_of_one_mixture_stay_in_one_fold():
    """One mixture repeated is memorised unless its copies are held out together."""
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.random((15, 40)), 6, axis=0), np.repeat(rng.random(15), 6)
    groups = np.repeat(np.arange(15), 6)
    apart = performance.choose(X, y, budget_column=0, kinds=QUICK, groups=groups)
    together = performance.choose(X, y, budget_column=0, kinds=QUICK)
    assert together.scores_["ridge"].spearman > 0.9 > apart.scores_["ridge"].spearman


def test_the_noise_ceiling_finds_planted_noise():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((400, 1)) * 0.03 + rng.standard_normal((400, 6)) * 0.02
    found = performance.noise_ceiling(scores)
    assert found["deviation"] == pytest.approx(0.02, rel=0.1)
    assert found["reliability"] == pytest.approx(9 / 13, abs=0.06)
    assert performance.noise_ceiling(rng.standard_normal((50, 4)))["correlation"] < 0.4


def test_the_score_of_choosing_is_measured_outside_the_choice():
    X, y = mixtures_of("nothing", 60)
    model = performance.choose(X, y, budget_column=2, kinds=QUICK)
    assert abs(performance.nested_score(model, X, y).spearman) < 0.5
    assert performance.as_dict(model)["scores"]["ridge"]["rmse"] > 0


def test_too_few_mixtures_are_refused():
    with pytest.raises(ValueError, match="at least 10"):
        performance.choose(np.ones((9, 2)), np.ones(9), budget_column=0)


@pytest.mark.slow
def test_on_regmix_the_chosen_model_reaches_the_best_of_its_kinds():
    if not REGMIX.exists():
        pytest.skip(f"{REGMIX} is not here: RegMix's public table is read, never shipped.")
    X, Y, new, truth = (
        _numbers(REGMIX / name)
        for name in ("train_mixture_1m.csv", "train_pile_loss_1m.csv", "test_mixture_1m.csv", "test_pile_loss_1m.csv")
    )
    model = performance.choose(X[:200], Y[:200, 8], budget_column=0, repeats=1)
    assert model.kind_ == "lightgbm"
    assert performance.spearman(model.predict(new), truth[:, 8]) > 0.97


def _numbers(path):
    with path.open() as lines:
        return np.array([[float(cell) for cell in row[1:]] for row in list(csv.reader(lines))[1:]])
