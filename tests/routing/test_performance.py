"""Performance models: chosen by cross-validation, honest when there is nothing to learn."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from routing import gaussian_process, performance
from routing.gaussian_process import GaussianProcess
from routing.stack import convex_weights

REGMIX = Path(__file__).resolve().parents[3] / "shared/data/regmix"
QUICK = ("mean", "budget", "ridge")
SIMPLE = [performance.Mean(), performance.BudgetOnly(), performance.Ridge(), performance.LeastSquares(degree=1)]
SURFACES = [performance.LeastSquares(), performance.Quadratic(), performance.Stack(QUICK, folds=2)]
SLOW = [
    performance.LightGBM(trees=20, rate=0.2),
    performance.GaussianProcess(search=10),
    performance.Chosen(kinds=QUICK, repeats=1),
    performance.Stack(("ridge", "gaussian_process"), folds=2),
]


@parametrize_with_checks(SIMPLE)
def test_estimators_pass_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(SURFACES + SLOW)
def test_costly_estimators_pass_scikit_learns_checks(estimator, check):
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
@pytest.mark.slow
def test_the_simplest_kind_that_is_not_clearly_worse_is_chosen(truth, kind):
    model = performance.choose(*mixtures_of(truth), budget_column=2, kinds=QUICK)
    assert model.kind_ == kind
    assert model.skill_ == (kind != "mean")
    assert model.beats_budget_ == (kind == "ridge")


@pytest.mark.slow
def test_a_bent_truth_is_followed_by_a_kind_that_bends():
    X, y = mixtures_of("steps")
    model = performance.choose(X, y, budget_column=2, kinds=(*QUICK, "lightgbm"), repeats=1, folds=3)
    assert model.kind_ == "lightgbm"
    X, y = mixtures_of("steps", seed=1)
    assert performance.spearman(model.predict(X), y) > 0.85


def shares(n, seed):
    """Mixtures of 6 sources and a score that rises steeply with the first grains of source 0, as losses fall."""
    rng = np.random.default_rng(seed)
    X = rng.dirichlet(np.full(6, 0.3), n)
    return X, np.log(X[:, 0] + 0.003) - X[:, 1] ** 0.25 + 0.05 * rng.standard_normal(n)


def test_a_gaussian_process_takes_roots_of_shares_and_follows_what_lines_cannot():
    process = GaussianProcess().fit(*shares(150, 0))
    X, y = shares(300, 1)
    error = np.sqrt(np.mean((process.predict(X) - y) ** 2))
    line = performance.Ridge().fit(*shares(150, 0)).predict(X)
    assert process.power_ < 1
    assert error < 0.25 * np.sqrt(np.mean((line - y) ** 2))
    assert process.noise_ < 3 * error


def test_the_gradient_of_the_processs_posterior_is_right():
    rng = np.random.default_rng(0)
    X, y, theta = rng.standard_normal((12, 3)), rng.standard_normal(12), 0.3 * rng.standard_normal(6)
    loss, gradient = gaussian_process._loss(theta, X, y)
    steps = 1e-6 * np.eye(6)
    rise = [
        gaussian_process._loss(theta + step, X, y)[0] - gaussian_process._loss(theta - step, X, y)[0] for step in steps
    ]
    np.testing.assert_allclose(gradient, np.array(rise) / 2e-6, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_hundred_columns_hide_no_line_from_the_process_and_no_noise_from_the_choice():
    rng = np.random.default_rng(0)
    X, new = rng.standard_normal((120, 100)), rng.standard_normal((300, 100))
    process = GaussianProcess().fit(X, X[:, 0] + 0.3 * rng.standard_normal(120))
    assert performance.spearman(process.predict(new), new[:, 0]) > 0.85
    nothing = performance.choose(
        X, rng.standard_normal(120), budget_column=0, kinds=(*QUICK, "gaussian_process"), repeats=1
    )
    assert nothing.kind_ == "mean"


def test_the_stack_gives_weight_to_what_predicts_and_none_to_what_does_not():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(400)
    good, other = y + 0.5 * rng.standard_normal(400), y + 0.5 * rng.standard_normal(400)
    weights = convex_weights(np.stack([good, other, rng.standard_normal(400), -y]), y)
    assert weights.sum() == pytest.approx(1)
    assert weights[:2] == pytest.approx([0.5, 0.5], abs=0.1)
    assert weights[2:] == pytest.approx([0, 0], abs=0.05)
    assert (weights >= 0).all()


@pytest.mark.slow
def test_the_stack_is_chosen_only_when_clearly_better_than_each_of_its_kinds():
    kinds = (*QUICK, "stack")
    assert performance.choose(*mixtures_of("line"), budget_column=2, kinds=kinds).kind_ == "ridge"
    rng = np.random.default_rng(1)
    X = rng.random((300, 8))
    y = 4 * (X[:, 2] - 0.5) ** 2 + X[:, 3] + 0.02 * rng.standard_normal(300)  # a budget's bend, and a line beside it
    model = performance.choose(X, y, budget_column=2, kinds=kinds)
    assert model.kind_ == "stack"
    assert set(model.estimator_.weights_) == {"budget", "ridge"}
    with pytest.raises(ValueError, match="at least one beside it"):
        performance.choose(X, y, budget_column=2, kinds=("stack",))


@pytest.mark.slow
def test_a_costly_kind_stops_after_a_fold_that_shows_it_cannot_win():
    model = performance.choose(*mixtures_of("line"), budget_column=2, kinds=(*QUICK, "lightgbm"))
    assert model.stopped_ == ("lightgbm",)
    assert model.scores_["lightgbm"].mixtures == 30
    assert model.scores_["ridge"].mixtures == 150


def test_the_published_models_are_there_to_compare_with_and_never_chosen_from():
    assert not set(performance.PRESETS) & set(performance.KINDS)


@pytest.mark.slow
def test_intervals_of_every_kind_of_truth_cover_what_they_say():
    """Coverage by simulation: new mixtures from the same source, six tables of 120 each."""
    for truth in ("nothing", "budget", "line"):
        inside = []
        for seed in range(6):
            model = performance.choose(*mixtures_of(truth, 120, seed), budget_column=2, kinds=QUICK)
            X, y = mixtures_of(truth, 300, 100 + seed)
            low, high = model.predict_interval(X, 0.8)
            inside.append(((low <= y) & (y <= high)).mean())
        assert 0.74 <= np.mean(inside) <= 0.88


@pytest.mark.slow
def test_intervals_are_wider_where_mixtures_are_hard_to_predict():
    rng = np.random.default_rng(0)
    X = rng.random((300, 4))
    hard = X[:, 3] > 0.5
    y = X[:, 0] + np.where(hard, 0.2, 0.02) * rng.standard_normal(300)
    low, high = performance.choose(X, y, budget_column=0, kinds=QUICK).predict_interval(X)
    assert (high - low)[hard].mean() > 3 * (high - low)[~hard].mean()


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert model.kind_ in ("gaussian_process", "stack")
    assert performance.spearman(model.predict(new), truth[:, 8]) > 0.985


def _numbers(path):
    with path.open() as lines:
        return np.array([[float(cell) for cell in row[1:]] for row in list(csv.reader(lines))[1:]])
