"""Whether a pipeline could be loaded again after training: asked of a tiny one, before any data are read."""

from __future__ import annotations

import logging
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from mlsys.errors import FitError
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.encoders import Encoder
from mlsys.pipeline.fitting import PipelineSpec, Training, fit
from mlsys.pipeline.requirements import requirements_of
from mlsys.pipeline.traits import traits_of
from mlsys.runs.model_io import untrusted_types

log = logging.getLogger(__name__)

ROWS = 40
NUMBERS, CATEGORIES = ("number", "other"), ("category",)


class UntrustedTypes(NamedTuple):
    """The types that loading a saved pipeline would refuse, sorted.

    Attributes
    ----------
    encoder, model : list of str
        In the encoder's transformer, and in the model without those.
    """

    encoder: list[str]
    model: list[str]


def untrusted_parts(encoder: Encoder, estimator: Any) -> UntrustedTypes:  # noqa: ANN401 - any scikit-learn estimator
    """Return the types that loading would refuse in the pipeline of an encoder and an estimator.

    Some estimators hold such types only when they are fitted, so a clone with one iteration is fitted on a few made-up
    rows. One that refuses those rows is looked at unfitted.

    Parameters
    ----------
    encoder : Encoder
    estimator : scikit-learn estimator
        Unfitted; left as it is.

    Raises
    ------
    RunError
        If the pipeline cannot be saved at all.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from mlsys.pipeline.encoders import Native
    >>> untrusted_parts(Native(), KNeighborsClassifier()).model
    ['sklearn.metrics._dist_metrics.EuclideanDistance64', 'sklearn.neighbors._kd_tree.KDTree']
    """
    inner = {"": estimator, **estimator.get_params(deep=True)}
    named = [value.get_params()[traits.column] for value in inner.values() if (traits := traits_of(value)).column]
    numbers = [*dict.fromkeys([*NUMBERS, *named])]
    transformer = encoder.build(numbers, CATEGORIES, requirements_of(estimator, None))
    steps: list[Any] = [transformer, estimator]
    try:
        steps += [step for _, step in _fitted(encoder, _with_one_iteration(estimator, inner), numbers).steps]
    except FitError as error:
        log.debug("what the pipeline holds when it is fitted is not known before training: %s", error)
    of_encoder = set(untrusted_types(transformer))
    if len(steps) == 4:  # a fitted encoder, and a fitted model
        of_encoder |= set(untrusted_types(steps[2]))
    of_model = set(untrusted_types([estimator, steps[-1]])) - of_encoder
    return UntrustedTypes(sorted(of_encoder), sorted(of_model))


def _with_one_iteration(estimator: Any, inner: dict[str, Any]) -> Any:  # noqa: ANN401
    counts = {
        f"{name}__{iterations}".removeprefix("__"): 1
        for name, value in inner.items()
        if (iterations := traits_of(value).iterations) is not None
    }
    return clone(estimator).set_params(**counts)


def _fitted(encoder: Encoder, estimator: Any, numbers: list[str]) -> Pipeline:  # noqa: ANN401
    labels = (np.arange(ROWS) % 2).astype(np.int8)
    values = {name: np.arange(ROWS, dtype=np.float64) * 7 % 11 for name in numbers}
    levels = {name: pd.Series(np.where(np.arange(ROWS) % 3, "a", "b"), dtype="str") for name in CATEGORIES}
    recipe = PipelineSpec(encoder, None, estimator, Identity(), numbers, CATEGORIES, stop_after=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge, say, is no news here
        return fit(recipe, Training(pd.DataFrame(values | levels), labels)).pipeline
