"""MLflow ``pyfunc`` loader for a run directory's model; MLflow itself is not imported.

MLflow calls :func:`_load_pyfunc` with the folder of logged files: the part of a run directory needed to predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.runs.golden import check_golden, predict
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_outputs import more_outputs
from mlsys.runs.reader import Run

if TYPE_CHECKING:
    import pandas as pd

# Files of the run directory needed to predict; the manifest has their digests.
FILES = ("manifest.json", "schema.json", "golden.parquet", "model/pipeline.skops", "model/calibration.json")
# Code needed to predict, relative to the package; logged with the model, so that the code that evaluated it serves it.
CODE = (
    "__init__.py",
    "errors.py",
    "gpu.py",
    "ranges.py",
    "text.py",
    "runs",
    "data/__init__.py",
    "data/compact.py",
    "data/disk_frame.py",
    "pipeline/__init__.py",
    "pipeline/column_parameters.py",
    "pipeline/combiner.py",
    "pipeline/composites.py",
    "pipeline/copies.py",
    "pipeline/devices.py",
    "pipeline/ebm.py",
    "pipeline/frames.py",
    "pipeline/inner_folds.py",
    "pipeline/library_keywords.py",
    "pipeline/models.py",
    "pipeline/outputs.py",
    "pipeline/parameter_rules.py",
    "pipeline/regularisation.py",
    "pipeline/requirements.py",
    "pipeline/scores.py",
    "pipeline/stacking.py",
    "pipeline/stopping.py",
    "pipeline/survival.py",
    "pipeline/traits.py",
    "pipeline/transformers.py",
    "pipeline/uplift.py",
    "pipeline/weights.py",
)
PACKAGES = ("numpy", "pandas", "pyarrow", "pydantic", "pyyaml", "scikit-learn", "scipy", "skops")


class RunModel:
    """Model of a run directory with MLflow's interface.

    Parameters
    ----------
    run : Run
        Its model must reproduce the golden rows.
    """

    def __init__(self, run: Run) -> None:
        check_golden(run)
        self.run = run

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return the score and the probability of each row, and what else the model gives.

        Parameters
        ----------
        model_input : DataFrame of shape (n, k)
            The columns of schema.json, in any order, and no others.
        params : dict, optional
            Ignored; required by MLflow's interface.

        Returns
        -------
        DataFrame
            ``score``, ``probability``, and the outputs of schema.json.
        """
        import pandas as pd

        inputs = to_inputs(model_input, self.run.schema)
        model, calibration = self.run.model, self.run.calibration
        score, probability = predict(model, calibration, inputs)
        columns = {"score": score, "probability": probability, **more_outputs(model, calibration, inputs)}
        return pd.DataFrame(columns, index=model_input.index)


def _load_pyfunc(path: str) -> RunModel:
    return RunModel(Run.open(path, verify=False))
