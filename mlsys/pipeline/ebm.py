"""What mlsys needs to know about explainable boosting machines: early stopping, and the importance of each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.pipeline.stopping import EncodedRows, IterationCallback, ValidationSet


@dataclass(frozen=True)
class EBMStopper:
    """Early stopping of interpret's explainable boosting machine, which holds out random rows by default.

    Those may be of the same accounts as the rows that it learns from. So a single bag is stopped by the latest rows,
    and its number of rounds becomes the maximum of the final fit; there, each bag may stop earlier by its own held-out
    rows.
    """

    metrics: ClassVar[Mapping[str, str]] = {}  # it reports only log losses, of main effects and pairs alike
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        training: EncodedRows,
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,  # noqa: ARG002 - see `metrics`
    ) -> dict[str, Any]:
        """Return all rows, and which of them are for validation; set one bag and the rounds as parameters."""
        estimator.set_params(outer_bags=1, early_stopping_rounds=rounds)
        join: Any = pd.concat if isinstance(training.inputs, pd.DataFrame) else np.concatenate
        labels = np.concatenate([training.labels, validation.labels])
        bag = np.where(np.arange(len(labels)) < len(training.labels), 1, -1)
        weighting = {}
        if validation.weights is not None or training.weights is not None:
            weights = [
                np.ones(len(rows.labels)) if rows.weights is None else rows.weights for rows in (training, validation)
            ]
            weighting["sample_weight"] = np.concatenate(weights)
        return {
            "X": join([training.inputs, validation.inputs]),
            "y": labels,
            "bags": bag[:, np.newaxis],
            **weighting,
        }

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best number of rounds of the main effects; of the pairs if there are no main effects.

        interpret counts steps, one per term and round, until it stopped.
        """
        terms = [len(columns) for columns in estimator.term_features_]
        stage, count = (0, terms.count(1)) if 1 in terms else (-1, len(terms))
        run = int(np.ceil(estimator.best_iteration_[stage, 0] / max(count, 1)))
        best = run if run >= estimator.max_rounds else run - estimator.early_stopping_rounds
        return max(best, 1)


def column_importances(estimator: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a fitted ExplainableBoostingClassifier
    """Return the mean absolute contribution of each input column; its terms with other columns count in equal parts.

    Parameters
    ----------
    estimator : ExplainableBoostingClassifier
        Fitted.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
    """
    importances = np.zeros(estimator.n_features_in_)
    for columns, importance in zip(estimator.term_features_, estimator.term_importances(), strict=True):
        importances[list(columns)] += importance / len(columns)
    return importances


@dataclass(frozen=True)
class Curve:
    """What one input column adds to a model's log odds, apart from its terms with other columns.

    Attributes
    ----------
    column : int
        Position among the input columns.
    bins : ndarray of float64, or tuple of str
        Of a number: where each bin begins, from the second on. Of a category: its levels.
    adds, deviation : ndarray of float64, shape (n_bins,)
        What the values of each bin add, and its standard deviation over the bags.
    rows : ndarray of float64, shape (n_bins,)
        Weight of the training rows in each bin.
    missing : float or None
        What a missing value adds; None if training had none.
    importance : float
        Mean absolute contribution over the training rows.
    """

    column: int
    bins: NDArray[np.float64] | tuple[str, ...]
    adds: NDArray[np.float64]
    deviation: NDArray[np.float64]
    rows: NDArray[np.float64]
    missing: float | None
    importance: float


def curves(estimator: Any) -> list[Curve]:  # noqa: ANN401 - a fitted ExplainableBoostingClassifier
    """Return the curve of each input column that has one, in the order of the columns."""
    made, importances = [], estimator.term_importances()
    for term, columns in enumerate(estimator.term_features_):
        if len(columns) == 1:
            tables = (estimator.term_scores_[term], estimator.standard_deviations_[term], estimator.bin_weights_[term])
            known = estimator.bins_[columns[0]][0]
            bins = tuple(known) if isinstance(known, dict) else known
            # The first bin is that of missing values, the last that of unknown categories.
            adds, deviation, rows = (table[1:-1] for table in tables)
            missing = float(tables[0][0]) if tables[2][0] > 0 else None
            made.append(Curve(columns[0], bins, adds, deviation, rows, missing, float(importances[term])))
    return made
