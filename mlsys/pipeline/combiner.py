"""The weights of a stack: a logistic model of its members' log odds, pulled towards their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import EstimatorError
from mlsys.pipeline.weights import Weights
from mlsys.runs.logistic import sigmoid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combiner:
    """Weights of log odds.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_members,)
        At least 0.
    intercept : float
    """

    weights: Floats
    intercept: float

    @classmethod
    def equal(cls, n_members: int) -> Self:
        """Return the mean.

        Examples
        --------
        >>> Combiner.equal(2)
        Combiner(weights=array([0.5, 0.5]), intercept=0.0)
        """
        return cls(np.full(n_members, 1 / n_members), 0.0)


def fit_combiner(
    log_odds: Floats, labels: NDArray[np.int8], *, converters: int, shrinkage: float, weights: Weights = None
) -> Combiner:
    """Fit weights and an intercept by penalised maximum likelihood.

    The penalty is ``shrinkage / 2`` times the squared distance of the weights from equal ones. A converter counts once,
    in however many rows it is positive, as these rows are nearly alike.

    Parameters
    ----------
    log_odds : ndarray of float64, shape (n_rows, n_members)
        Log odds by members that have not seen the rows.
    labels : ndarray of int8, shape (n_rows,)
        Labels of both classes.
    converters : int
        Number of different entities among the positive rows.
    shrinkage : float
        At least 0.
    weights : ndarray of float64, shape (n_rows,), optional
        Rows that each row stands for.

    Raises
    ------
    EstimatorError
        If the fit does not converge.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong, noise = 2 * rng.normal(size=2000), rng.normal(size=2000)
    >>> labels = (rng.random(2000) < sigmoid(strong)).astype(np.int8)
    >>> fit_combiner(np.column_stack([strong, noise]), labels, converters=990, shrinkage=10).weights.round(1)
    array([1., 0.])
    """
    from scipy.optimize import minimize

    centre = Combiner.equal(log_odds.shape[1]).weights
    rows = np.ones(len(labels)) if weights is None else weights
    per_converter = float(rows @ labels) / converters

    def loss(parameters: Floats) -> tuple[float, Floats]:
        margins = log_odds @ parameters[:-1] + parameters[-1]
        off = parameters[:-1] - centre
        value = rows @ (np.logaddexp(0, margins) - labels * margins)
        errors = rows * (sigmoid(margins) - labels)
        gradient = np.append(log_odds.T @ errors, errors.sum()) / per_converter
        gradient[:-1] += shrinkage * off
        return float(value) / per_converter + shrinkage / 2 * float(off @ off), gradient

    bounds = [*[(0.0, None)] * len(centre), (None, None)]
    found = minimize(loss, np.append(centre, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    if not found.success:
        raise EstimatorError(
            f"The weights of the stack could not be fitted: {found.message}. Increase model.shrinkage."
        )
    return Combiner(found.x[:-1], float(found.x[-1]))
