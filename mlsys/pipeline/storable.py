"""Check whether a saved pipeline could be loaded again, by a tiny fit before any data are read."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from mlsys.data.panel import Treatment
from mlsys.errors import FitError
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.composites import composite_of, with_iterations
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.quiet import quiet
from mlsys.pipeline.requirements import requirements_of
from mlsys.pipeline.traits import check_importances, traits_of
from mlsys.pipeline.uplift import with_treatment
from mlsys.runs.model_io import untrusted_types

logger = logging.getLogger(__name__)

ROWS = 40
NUMBERS, CATEGORIES = ("number", "other"), ("category",)

# Results in this process, so that the trials of a sweep share one tiny fit per kind of pipeline.
_results: dict[Hashable, UntrustedTypes] = {}


class UntrustedTypes(NamedTuple):
    """Types in a saved pipeline that loading would reject.

    Attributes
    ----------
    encoder : tuple of str
        Names of the types in the encoder's transformer, sorted.
    model : tuple of str
        Names of the types in the model that the encoder does not contain, sorted.
    """

    encoder: tuple[str, ...]
    model: tuple[str, ...]


def untrusted_parts(encoder: Encoder, estimator: Any) -> UntrustedTypes:  # noqa: ANN401 - any scikit-learn estimator
    """Return the types that loading would reject in a pipeline of an encoder and an estimator.

    Some estimators contain such types only after the fit, so a clone with a single iteration is fitted on a few
    synthetic rows. If that fit fails because of these rows, only the unfitted estimator is checked.

    Pipelines that differ only in numbers, such as the trials of a sweep, share one result per process.

    Parameters
    ----------
    encoder : Encoder
    estimator : scikit-learn estimator
        Unfitted; it is not modified.

    Raises
    ------
    RunError
        If the pipeline cannot be saved at all.
    FitError
        If the importances declared in ``mlsys_traits`` do not have one number per column.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from mlsys.pipeline.encoders import Native
    >>> untrusted_parts(Native(), KNeighborsClassifier()).model
    ('sklearn.metrics._dist_metrics.EuclideanDistance64', 'sklearn.neighbors._kd_tree.KDTree')
    """
    inner = {"": estimator, **estimator.get_params(deep=True)}
    named = [value.get_params()[traits.column] for value in inner.values() if (traits := traits_of(value)).column]
    numbers = [*dict.fromkeys([*NUMBERS, *named])]
    transformer = encoder.build(numbers, CATEGORIES, requirements_of(estimator, None))
    key = (_signature(transformer), _signature(estimator))
    if key not in _results:
        try:
            fitted = _fitted(encoder, _small(estimator), numbers)
        except FitError as error:
            logger.debug("The tiny fit failed, so only the unfitted pipeline is checked: %s", error)
            fitted = Pipeline([("model", estimator)])
        else:
            _check_importances(fitted)
        _results[key] = _untrusted_types(transformer, estimator, fitted)
    return _results[key]


def _check_importances(fitted: Pipeline) -> None:
    if "encoder" in fitted.named_steps and composite_of(fitted["model"]) is None:
        importances = traits_of(fitted["model"]).importances(fitted["model"])
        if importances is not None:
            check_importances(fitted["model"], importances, len(outputs_of(fitted["encoder"])))


def _untrusted_types(transformer: object, estimator: object, fitted: Pipeline) -> UntrustedTypes:
    in_encoder = set(untrusted_types(transformer))
    if "encoder" in fitted.named_steps:
        in_encoder |= set(untrusted_types(fitted["encoder"]))
    in_model = set(untrusted_types([estimator, fitted["model"]])) - in_encoder
    return UntrustedTypes(tuple(sorted(in_encoder)), tuple(sorted(in_model)))


def _signature(value: Any) -> Hashable:  # noqa: ANN401 - an estimator or a parameter of one
    """Return what determines the types that an object contains: classes, texts and switches, but no numbers."""
    if value is None or isinstance(value, bool | str | type):
        return value
    if isinstance(value, Number):
        return type(value)
    if isinstance(value, list | tuple):
        return (type(value), *map(_signature, value))
    if isinstance(value, Mapping):
        return (type(value), *((_signature(key), _signature(item)) for key, item in value.items()))
    if hasattr(value, "get_params"):
        parameters = value.get_params(deep=False)
        return (type(value), *((name, _signature(parameters[name])) for name in sorted(parameters)))
    # Functions are distinguished by name, other objects by their class.
    return type(value), getattr(value, "__module__", None), getattr(value, "__qualname__", None)


def _small(estimator: Any) -> Any:  # noqa: ANN401
    """Return a copy with one iteration, and with parameters that refer to no column of the data."""
    small = with_iterations(estimator, 1)
    if (composite := composite_of(small)) is None:
        return _without_columns(small)
    return composite.with_members({key: _without_columns(each) for key, each in composite.unfitted_members().items()})


def _without_columns(estimator: Any) -> Any:  # noqa: ANN401
    """Return a copy whose values per column are those of columns that the config does not name."""
    known, given = traits_of(estimator).column_parameters, estimator.get_params(deep=False)
    named = [name for name in known if given.get(name) is not None]
    return unfitted(estimator, without=named, **{name: {} for name in named if known[name].form == "values"})


def _fitted(encoder: Encoder, estimator: Any, numbers: list[str]) -> Pipeline:  # noqa: ANN401
    labels = (np.arange(ROWS) % 2).astype(np.int8)
    values = {name: np.arange(ROWS, dtype=np.float64) * 7 % 11 for name in numbers}
    levels = {name: pd.Series(np.where(np.arange(ROWS) % 3, "a", "b"), dtype="str") for name in CATEGORIES}
    estimator = with_treatment(estimator, Treatment(CATEGORIES[0], "a", "b", ("a", "b")))
    spec = PipelineSpec(encoder, None, estimator, Identity(), numbers, CATEGORIES, stop_after=None)
    with quiet():  # for example about the single iteration, which does not converge
        return fit(spec, Training(pd.DataFrame(values | levels), labels, details=_details())).pipeline


def _details() -> pd.DataFrame:
    """Return the columns beyond the features that composites may need."""
    row = np.arange(ROWS)
    as_of = pd.Timestamp("2020-01-01") + pd.to_timedelta(row, unit="D")
    return pd.DataFrame(
        {
            "group": row,
            "as_of": as_of,
            "known_at": as_of + pd.Timedelta(days=1),
            "days_to_outcome": np.where(row % 2, 1.0, np.nan),
            "days_known": 10_000.0,
        }
    )
