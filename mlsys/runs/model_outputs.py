"""Numbers that a model gives for each row beside its probability, such as the uplift of contacting an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import Calibration

if TYPE_CHECKING:
    import pandas as pd


class ModelOutput(NamedTuple):
    """A number that a model gives for each row, as schema.json describes it.

    Attributes
    ----------
    name : str
        Name in answers of the service and in tables.
    description : str
        What it says, in one sentence.
    minimum, maximum : float
        Lowest and highest possible value.
    """

    name: str
    description: str
    minimum: float
    maximum: float


@runtime_checkable
class HasOutputs(Protocol):
    """An estimator that gives more numbers than a probability."""

    @property
    def outputs(self) -> tuple[ModelOutput, ...]:
        """What it gives, in the order of the columns of `more_outputs`."""
        ...

    def more_outputs(self, inputs: pd.DataFrame, calibration: Calibration) -> NDArray[np.float64]:
        """Return the numbers for each row, shape (n_rows, n_outputs).

        Parameters
        ----------
        inputs : DataFrame of shape (n_rows, n_features)
        calibration : Calibration
            The run's map from scores to probabilities.
        """
        ...


def outputs_of(model: Any) -> tuple[ModelOutput, ...]:  # noqa: ANN401 - a fitted Pipeline, or any classifier
    """Return what a model gives beside its probability; mostly nothing."""
    estimator = _estimator(model)
    return estimator.outputs if isinstance(estimator, HasOutputs) else ()


def more_outputs(model: Any, calibration: Calibration, inputs: pd.DataFrame) -> dict[str, NDArray[np.float64]]:  # noqa: ANN401
    """Return what a model gives for each row beside its probability, by name; mostly nothing.

    Parameters
    ----------
    model : Pipeline or classifier
        Fitted; an estimator with outputs is the last step, and has no encoder before it.
    calibration : Calibration
    inputs : DataFrame of shape (n_rows, n_features)
    """
    estimator = _estimator(model)
    if not isinstance(estimator, HasOutputs):
        return {}
    columns = estimator.more_outputs(inputs, calibration).T
    return {output.name: column for output, column in zip(estimator.outputs, columns, strict=True)}


def more_names(schema: Mapping[str, Any]) -> list[str]:
    """Return the names of what a run's model gives beside its probability.

    Parameters
    ----------
    schema : mapping
        Content of schema.json.
    """
    return [str(output["name"]) for output in schema.get("outputs", ())]


def free_names(names: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return column names with underscores appended where an input has the same name.

    Examples
    --------
    >>> free_names(["score", "probability"], taken=["users", "score"])
    ('score_', 'probability')
    """
    used = set(taken)
    free = []
    for name in names:
        while name in used:
            name += "_"
        free.append(name)
        used.add(name)
    return tuple(free)


def _estimator(model: Any) -> Any:  # noqa: ANN401
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else model
