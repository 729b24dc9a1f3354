"""Tuned plain scripts: what a careful data scientist writes with each library alone.

Numbers are imputed and scaled and categories are one-hot encoded where the library needs it. A few settings are
compared on the validation rows by log loss, boosted models stop early on them, and the best setting is refitted on all
training rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TREES, ROUNDS = 3000, 50
Fitted = tuple[float, Any, int | None]  # validation log loss, how to fit on all rows, number of trees


def encoded(train: pd.DataFrame, others: list[pd.DataFrame]) -> list[Any]:
    names = [name for name in train if train[name].dtype == "category"]
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [n for n in train if n not in names]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), names),
    )
    return [encoder.fit_transform(train), *(encoder.transform(each) for each in others)]


def best_of(candidates: list[Any], X, y, validation) -> Any:
    """Return the candidate with the best log loss on the validation rows, unfitted."""
    early = encoded(X[~validation], [X[validation]])
    losses = [
        log_loss(y[validation], each.fit(early[0], y[~validation]).predict_proba(early[1])) for each in candidates
    ]
    return candidates[int(np.argmin(losses))]


def linear(X, y, validation, test, threads: int):  # noqa: ARG001 - it uses one
    best = best_of([LogisticRegression(C=C, max_iter=2000) for C in (0.001, 0.01, 0.1, 0.3, 1, 10)], X, y, validation)
    train, rows = encoded(X, [test])
    return best.fit(train, y).predict_proba(rows)[:, 1]


def forest(X, y, validation, test, threads: int):
    settings = [{"min_samples_leaf": leaf, "max_features": columns} for leaf in (1, 5, 20) for columns in ("sqrt", 0.5)]
    forests = [RandomForestClassifier(300, n_jobs=threads, random_state=0, **setting) for setting in settings]
    best = best_of(forests, X, y, validation)
    train, rows = encoded(X, [test])
    return best.fit(train, y).predict_proba(rows)[:, 1]


def boosted(make: Callable[..., Any], settings: list[dict[str, Any]], fit: Callable[..., tuple[float, int]], key: str):
    def script(X, y, validation, test, threads: int):
        if key == "iterations":  # CatBoost takes no missing categories
            X, test = as_text(X), as_text(test)
        tried = []
        for setting in settings:
            loss, trees = fit(make(**setting, **{key: TREES}, threads=threads), X, y, validation)
            tried.append((loss, trees, setting))
        _, trees, setting = min(tried, key=lambda each: each[0])
        final = make(**setting, **{key: trees}, threads=threads)
        options = {"cat_features": categories(X)} if key == "iterations" else {}
        return final.fit(X, y, **options).predict_proba(test)[:, 1]

    return script


def categories(X: pd.DataFrame) -> list[str]:
    return [name for name in X if X[name].dtype == "category"]


def as_text(X: pd.DataFrame) -> pd.DataFrame:
    return X.assign(**{name: X[name].astype("str").fillna("missing").astype("category") for name in categories(X)})


def make_xgboost(threads: int, **parameters: Any) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(enable_categorical=True, n_jobs=threads, learning_rate=0.05, **parameters)


def fit_xgboost(model, X, y, validation) -> tuple[float, int]:
    model.set_params(early_stopping_rounds=ROUNDS, eval_metric="logloss")
    model.fit(X[~validation], y[~validation], eval_set=[(X[validation], y[validation])], verbose=False)
    return model.best_score, model.best_iteration + 1


def make_lightgbm(threads: int, **parameters: Any) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=threads, learning_rate=0.05, verbose=-1, **parameters)


def fit_lightgbm(model, X, y, validation) -> tuple[float, int]:
    from lightgbm import early_stopping

    stop = early_stopping(ROUNDS, verbose=False)
    model.fit(X[~validation], y[~validation], eval_X=X[validation], eval_y=y[validation], callbacks=[stop])
    return model.best_score_["valid_0"]["binary_logloss"], max(model.best_iteration_, 1)


def make_catboost(threads: int, **parameters: Any) -> Any:
    from catboost import CatBoostClassifier

    options = {"verbose": False, "allow_writing_files": False, "learning_rate": 0.05}
    return CatBoostClassifier(thread_count=threads, **options, **parameters)


def fit_catboost(model, X, y, validation) -> tuple[float, int]:
    held_out = (X[validation], y[validation])
    model.fit(
        X[~validation], y[~validation], eval_set=held_out, early_stopping_rounds=ROUNDS, cat_features=categories(X)
    )
    return model.best_score_["validation"]["Logloss"], max(model.tree_count_, 1)


def make_hist(threads: int, **parameters: Any) -> Any:  # noqa: ARG001 - scikit-learn uses all threads
    return HistGradientBoostingClassifier(**{"early_stopping": False, "random_state": 0, **parameters})


def fit_hist(model, X, y, validation) -> tuple[float, int]:
    model.set_params(early_stopping=True, n_iter_no_change=ROUNDS)
    model.fit(X[~validation], y[~validation], X_val=X[validation], y_val=y[validation])
    best = int(np.argmax(model.validation_score_))
    return -model.validation_score_[best], max(best, 1)


xgboost = boosted(make_xgboost, [{"max_depth": 3}, {"max_depth": 6}], fit_xgboost, "n_estimators")
lightgbm = boosted(make_lightgbm, [{"num_leaves": 7}, {"num_leaves": 31}], fit_lightgbm, "n_estimators")
catboost = boosted(make_catboost, [{"depth": 4}, {"depth": 6}], fit_catboost, "iterations")
hist_gradient_boosting = boosted(
    make_hist,
    [{"learning_rate": 0.05, "max_leaf_nodes": 7}, {"learning_rate": 0.05, "max_leaf_nodes": 31}],
    fit_hist,
    "max_iter",
)


def vote(X, y, validation, test, threads: int):
    return np.mean([script(X, y, validation, test, threads) for script in (xgboost, lightgbm, linear)], axis=0)


SCRIPTS = {
    "logistic": linear,
    "xgboost": xgboost,
    "lightgbm": lightgbm,
    "hist_gradient_boosting": hist_gradient_boosting,
    "catboost": catboost,
    "random_forest": forest,
    "vote": vote,
}
