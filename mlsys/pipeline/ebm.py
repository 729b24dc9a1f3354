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
        if validation.weights is not None:
            weighting["sample_weight"] = np.concatenate([np.ones(len(training.labels)), validation.weights])
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
