"""A trial fit on a few rows, so that a wrong parameter is named before any time is spent on training."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlsys.errors import EstimatorError, FitError
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.composites import with_iterations
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.library_errors import plain_reason
from mlsys.pipeline.parameter_checks import fitted_separately
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.quiet import quiet
from mlsys.text import joined, shortened

logger = logging.getLogger(__name__)

ROWS_PER_CLASS = 150
ITERATIONS = 2
MAX_SHOWN = 200


def few_rows(labels: NDArray[np.int8]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Choose the rows of a trial fit.

    Parameters
    ----------
    labels : ndarray of int8, shape (n_rows,)
        Labels of the training rows of a fold.

    Returns
    -------
    positions : ndarray of intp, shape (n_chosen,)
        At most 150 rows per class, spread over all rows.
    validation : ndarray of bool, shape (n_chosen,)
        Mask of every third of them per class, for validation.

    Examples
    --------
    >>> few_rows(np.array([0, 0, 0, 1, 1, 1], dtype=np.int8))[1]
    array([False, False,  True, False, False,  True])
    """
    chosen, held_out = [], []
    for label in (0, 1):
        positions = np.flatnonzero(labels == label)
        spread = positions[np.linspace(0, len(positions) - 1, min(len(positions), ROWS_PER_CLASS)).astype(np.intp)]
        chosen.append(spread)
        held_out.append(spread[2::3])
    taken = np.sort(np.concatenate(chosen))
    return taken, np.isin(taken, np.concatenate(held_out))


def check_fit(spec: PipelineSpec, sample: Training, complete: Callable[[], Training]) -> None:
    """Check that a pipeline can be fitted, by fits on a few rows with few iterations, which take milliseconds.

    If that fit fails, it is repeated without one parameter at a time to find the cause. It may be that only so few rows
    are the cause, so the pipeline is fitted on all rows, too: only if that fails as well, it is an error.

    Parameters
    ----------
    spec : PipelineSpec
    sample : Training
        Some training rows of a fold; see `few_rows`.
    complete : callable
        Returns all of them.

    Raises
    ------
    FitError
        If the pipeline cannot be fitted; the message names the parameters that cause it.
    """
    with quiet(), threadpool_limits(1):  # for so few rows, threads cost more than they save
        for where, estimator in fitted_separately(spec.estimator).items():
            alone = replace(spec, estimator=estimator, callback=None)
            if estimator is not spec.estimator:  # members do not stop early
                alone = replace(alone, stop_after=None)
            small = replace(alone, estimator=with_iterations(estimator, ITERATIONS))
            if (failure := _failure(small, sample)) is None:
                continue
            error = _failure(alone, complete())
            if isinstance(error, EstimatorError):
                raise FitError(f"{error} {_advice(small, sample, where)}") from error
            if error is not None:
                raise error
            logger.debug("The trial fit of %s failed, but that on all rows did not: %s", where, failure)


def late_advice(spec: PipelineSpec, error: EstimatorError) -> str:
    """Say what to do about an error in a fit of a pipeline that passed `check_fit`.

    Parameters
    ----------
    spec : PipelineSpec
    error : EstimatorError
    """
    named = [
        f"{where}.{name}={_shown(value)}"
        for where, estimator in fitted_separately(spec.estimator).items()
        for name, value in _given(estimator).items()
        if _names(str(error), name)
    ]
    first = f"The message names {joined(named)}. " if named else ""
    return (
        f"{first}A fit on a few rows of the first fold worked, so these rows are the cause, or their number: check "
        "them, change the parameters of the model, or use another model."
    )


def _names(message: str, name: str) -> bool:
    """Return whether a message of a library is about a parameter.

    A name that is also a word, such as ``depth`` or ``C``, must be in quotes, be next to the word "parameter" or have a
    value.
    """
    if "_" in name:
        return re.search(rf"\b{name}\b", message) is not None
    marked = rf"""['"`]{name}['"`]|\bparameters? {name}\b|\b{name} parameter\b|\b{name} ?="""
    return re.search(marked, message) is not None


def _failure(spec: PipelineSpec, rows: Training) -> FitError | None:
    """Return why rows cannot be fitted and scored, None if they can."""
    try:
        fit(replace(spec, calibrator=Identity()), rows).scores(rows.inputs)
    except FitError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever a library raises when it scores
        name = type(spec.estimator).__name__
        return EstimatorError(f"{name} was fitted, but cannot score the same rows: {plain_reason(error)}")
    return None


def _advice(spec: PipelineSpec, sample: Training, where: str) -> str:
    """Say which parameters cause a failure: those without which the same rows can be fitted."""
    given = _given(spec.estimator)
    causes = [
        name
        for name in given
        if _failure(replace(spec, estimator=unfitted(spec.estimator, without=[name])), sample) is None
    ]
    kind = f"{type(spec.estimator).__module__.partition('.')[0]}'s {type(spec.estimator).__name__}"
    if not causes:
        advice = f"Check {where} against the documentation of {kind}, or use another model."
        return f"No single parameter is the cause. {advice}"
    named = joined([f"{where}.{name}={_shown(given[name])}" for name in causes], "or")
    return f"Without {named}, the fit works: change it, or leave it out. See the documentation of {kind}."


def _shown(value: object) -> str:
    return shortened(repr(value), MAX_SHOWN)


def _given(estimator: Any) -> dict[str, Any]:  # noqa: ANN401 - any scikit-learn estimator
    """Return the parameters that differ from the defaults, and could be left out."""
    arguments = inspect.signature(type(estimator)).parameters.values()
    named = [argument for argument in arguments if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)]
    required = {argument.name for argument in named if argument.default is argument.empty}
    defaults = {} if required else type(estimator)().get_params(deep=False)
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in required}
    return {name: value for name, value in parameters.items() if repr(value) != repr(defaults.get(name))}
