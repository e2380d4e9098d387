"""Performance models as scikit-learn estimators: lines, parabolas, trees, and the published one.

They read the description of a mixture (`mixtures.describe`: shares, log budget, lifts) and predict a number measured
for it, whatever that is: a proxy's accuracy, a benchmark's score brought from outside, a loss. All pass scikit-learn's
`check_estimator`. The smooth one is in `gaussian_process`, the one made of others in `stack`, the choice between them
in `performance`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

ALPHAS = np.logspace(-3, 4, 15)
# More columns than this and trees take three times the step over a quarter of the bins: as good on 100 columns within
# the noise of cross-validation, at a fifth of the cost.
WIDE, STEP, BINS = 50, 3, 63


class Mean(RegressorMixin, BaseEstimator):
    """Every mixture performs alike: the score that every other model has to beat."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        _, y = validate_data(self, X, y, y_numeric=True)
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.full(len(validate_data(self, X, reset=False)), self.mean_)

    def __sklearn_tags__(self) -> Any:
        # It ignores columns on purpose, so a check that wants a good score on all of them does not apply.
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class BudgetOnly(RegressorMixin, BaseEstimator):
    """A quadratic ridge in one column, the log budget: how much is spent counts, on what does not.

    The published performance models were never shown beside it, and lose to it on the one public table of scores.
    """

    def __init__(self, column: int = 0) -> None:
        self.column = column

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        self.curve_ = make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), RidgeCV(ALPHAS))
        self.curve_.fit(X[:, [self.column]], y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.curve_.predict(X[:, [self.column]]))

    def __sklearn_tags__(self) -> Any:
        # It ignores columns on purpose, so a check that wants a good score on all of them does not apply.
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class Ridge(RegressorMixin, BaseEstimator):
    """Linear in all columns, standardised; the penalty by generalised cross-validation."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        self.line_ = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.line_.predict(validate_data(self, X, reset=False)))


class Quadratic(RegressorMixin, BaseEstimator):
    """All columns, squares and products of two, standardised before and after; one penalty by cross-validation.

    The published quadratic model with what keeps it from collapsing when terms outnumber mixtures.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        self.surface_ = make_pipeline(
            StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), RidgeCV(ALPHAS)
        ).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.surface_.predict(validate_data(self, X, reset=False)))


class LightGBM(RegressorMixin, BaseEstimator):
    """Boosted trees: 1,000 at rate 0.01, as RegMix uses them; small leaves when mixtures are few. Deterministic.

    Above 50 columns a third of the trees at three times the rate, with fewer bins. One thread by default: on so few
    rows two spend their time waiting for each other, much of it on a busy machine.
    """

    def __init__(self, trees: int = 1000, rate: float = 0.01, seed: int = 0, threads: int = 1) -> None:
        self.trees = trees
        self.rate = rate
        self.seed = seed
        self.threads = threads

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        # Not at the top: it needs libgomp, which the other kinds do not.
        import lightgbm

        X, y = validate_data(self, X, y, y_numeric=True)
        step = STEP if X.shape[1] > WIDE else 1
        settings = {
            "objective": "regression",
            "learning_rate": self.rate * step,
            "max_bin": BINS if step > 1 else 255,
            "num_leaves": 31,
            "min_data_in_leaf": int(np.clip(len(X) // 25, 2, 20)),
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }
        rounds = -(-self.trees // step)
        self.booster_ = lightgbm.train(settings, lightgbm.Dataset(X, y, free_raw_data=True), rounds)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.booster_.predict(validate_data(self, X, reset=False), num_threads=self.threads))


class LeastSquares(RegressorMixin, BaseEstimator):
    """What Hybrid Preferences (arXiv 2410.19133, section 3.2) fits: ordinary least squares on the columns as they are
    (`degree` 1), or with all their products (`degree` 2). No scaling, no penalty.

    With more terms than mixtures (4,186 against 200 in the paper) many fits are exact; scikit-learn returns the one of
    least norm, and so do we. ŷ(x) = b + w·x + xᵀQx, Q upper triangular: no table of products to predict.
    """

    def __init__(self, degree: int = 2) -> None:
        self.degree = degree

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        if self.degree not in (1, 2):
            raise ValueError(f"degree is 1 (linear) or 2 (quadratic), not {self.degree}.")
        terms = PolynomialFeatures(self.degree, include_bias=False).fit_transform(X)
        fitted = LinearRegression().fit(terms, y)
        columns = X.shape[1]
        self.intercept_, self.weights_ = float(fitted.intercept_), fitted.coef_[:columns]
        self.products_ = np.zeros((columns, columns))
        if self.degree == 2:
            self.products_[np.triu_indices(columns)] = fitted.coef_[columns:]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        curved = np.einsum("ij,ij->i", X @ self.products_, X) if self.degree == 2 else 0.0
        return np.asarray(self.intercept_ + X @ self.weights_ + curved)
