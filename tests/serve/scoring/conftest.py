"""Tiny finished runs of every model with every encoder of conf/, each made on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlsys.data.panel import Treatment
from mlsys.evaluation.schema import reference
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.composites import MemberRows
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.uplift import with_treatment
from mlsys.runs import RunWriter
from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import golden_frame
from mlsys.runs.model_io import save_model
from mlsys.runs.model_outputs import outputs_of

CONF = Path(__file__).parents[3] / "conf"
SMALL = {
    "xgboost": {"n_estimators": 12, "learning_rate": 0.3, "max_depth": 4},
    "lightgbm": {"n_estimators": 12, "learning_rate": 0.3, "min_child_samples": 5},
    "catboost": {"iterations": 12, "learning_rate": 0.3, "one_hot_max_size": 3},
    "random_forest": {"n_estimators": 12, "min_samples_leaf": 3},
    "ebm": {"max_rounds": 30, "outer_bags": 2, "min_hessian": 0.1},
    "hist_gradient_boosting": {"max_iter": 12, "learning_rate": 0.3, "min_samples_leaf": 5},
    "activity": {"feature": "users"},
    "stack": {"folds": 2},
}
CALIBRATIONS = (
    Calibration.none(),
    Calibration.prior(0.5, 0.1),
    Calibration.sigmoid(1.3, -0.4),
    Calibration.isotonic([0.1, 0.4, 0.9], [0.01, 0.3, 0.8]),
)
ROWS, GOLDEN = 400, 12
PLAN = Treatment("plan", "pro", "free", ("pro", "free"))  # for the uplift model; most rows have another plan


def panel() -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with missing values, an empty column, whole and fractional numbers, and rare levels."""
    rng = np.random.default_rng(11)
    levels = np.array(["Retail", "Software", "Ärzte & Co", "Bank", "Farm", "Air", "Rail", None], dtype=object)
    plans = np.array(["free", "pro", "(rare)", "team", "x" * 30] + [f"odd {i}" for i in range(12)], dtype=object)
    users = rng.poisson(4, ROWS).astype(float)
    frame = pd.DataFrame(
        {
            "users": users,
            "industry": pd.Series(rng.choice(levels, ROWS), dtype="str"),
            "mrr": np.where(rng.random(ROWS) < 0.2, np.nan, rng.gamma(1, 300, ROWS).round(2)),
            "empty": np.full(ROWS, np.nan),
            "plan": pd.Series(rng.choice(plans, ROWS, p=[0.3, 0.2, 0.1, 0.1, 0.06] + [0.02] * 12), dtype="str"),
            "trend": rng.normal(0, 1e-3, ROWS),
        }
    )
    odds = 0.5 * users - 2 + (frame["plan"] == "pro") + (frame["industry"] == "Bank") - frame["mrr"].isna()
    label = rng.random(ROWS) < 1 / (1 + np.exp(-odds))
    return frame, label.to_numpy().astype(np.int8)


def schema_of(frame: pd.DataFrame) -> dict[str, Any]:
    inputs = []
    for name, column in frame.items():
        entry = {"name": name, "dtype": "string", "nullable": bool(column.isna().any()), "description": f"The {name}"}
        if column.dtype == "float64":
            entry |= {"dtype": "float64", "unit": "things"}
            entry |= {} if column.isna().all() else {"min": float(column.min()), "max": float(column.max())}
        else:
            entry["categories"] = sorted(column.dropna().unique())
        inputs.append(entry)
    return {"inputs": inputs, "id": "id", "as_of": "as_of", "target": "converted", "positive": 1}


def component(group: str, option: str) -> Any:
    """Return the object that a config file describes, with few trees."""
    node = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8").replace("${seed}", "0"))
    if option == "survival":
        node["hazard"] |= SMALL["xgboost"]
    return built(node | SMALL.get(option, {}) if group == "model" else node)


def built(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    arguments = {key: built(value) for key, value in node.items() if key != "_target_"}
    if "_target_" not in node:
        return arguments
    module, _, name = node["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


class Columns:
    """The part of a panel that reference.json is made from."""

    def __init__(self, frame: pd.DataFrame) -> None:
        kinds = {name: "number" if dtype == "float64" else "category" for name, dtype in frame.dtypes.items()}
        self.features = [type("Column", (), {"name": name, "kind": kind}) for name, kind in kinds.items()]


def details_of(frame: pd.DataFrame, label: np.ndarray) -> pd.DataFrame:
    """Return what some models need beyond the features, such as when the outcome comes."""
    days = np.where(label == 1, np.arange(ROWS) % 30 + 1.0, np.nan)
    return MemberRows.without_times(frame, label).details.assign(days_to_outcome=days, days_known=1_000.0)


def make_run(
    folder: Path,
    estimator: Any,
    encoder: Any,
    calibration: Calibration,
    sampler: Any = None,
    columns: Sequence[str] | None = None,
) -> Path:
    """Fit a model, and write the files of a run directory that serving reads."""
    frame, label = panel()
    frame = frame if columns is None else frame[list(columns)]
    numbers = [name for name in frame if frame[name].dtype == "float64"]
    categories = [name for name in frame if name not in numbers]
    estimator = with_treatment(estimator, PLAN)
    recipe = PipelineSpec(encoder, sampler, estimator, Identity(), numbers, categories, stop_after=None)
    pipeline = fit(recipe, Training(frame, label, details=details_of(frame, label))).pipeline
    writer = RunWriter(folder)
    save_model(pipeline, writer.folder)
    writer.write_json("model/calibration.json", calibration.to_dict())
    writer.write_parquet("golden.parquet", golden_frame(pipeline, calibration, frame.head(GOLDEN)))
    outputs = [output._asdict() for output in outputs_of(pipeline)]
    writer.write_json("schema.json", schema_of(frame) | ({"outputs": outputs} if outputs else {}))
    writer.write_json("reference.json", reference(Columns(frame), frame, pd.Series([0.1, 0.2])))
    writer.write_json("threshold.json", {"threshold": 0.3})
    writer.write_text("config.yaml", "seed: 0\n")
    writer.write_text("card.md", "# Model card: a small run\n")
    writer.finish(seed=0, threads=1)
    return folder


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that returns the run directory of a model and an encoder; tests must not change it."""
    root, made = tmp_path_factory.mktemp("scoring"), {}

    def run(
        model: str,
        encoder: str = "native",
        calibration: int = 1,
        sampler: str = "none",
        columns: Sequence[str] | None = None,
        **parameters: Any,
    ) -> Path:
        key = "-".join([model, encoder, str(calibration), sampler, *(columns or ()), *parameters])
        if key not in made:
            estimator = unfitted(component("model", model), **parameters)
            parts = estimator, component("encoder", encoder), CALIBRATIONS[calibration]
            balance = None if sampler == "none" else component("sampler", sampler)
            made[key] = make_run(root / key, *parts, balance, columns)
        return made[key]

    return run


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """Rows to score: as in training, with missing values, and with values that training did not see."""
    frame = panel()[0].tail(24).reset_index(drop=True).astype({"industry": object, "plan": object})
    frame.loc[3:5, "industry"] = "Never seen"
    frame.loc[5:7, "plan"] = ["Ünknown", "(missing)", "(unknown)"]
    frame.loc[8:10, "industry"] = None
    frame.loc[8:12, "mrr"] = np.nan
    frame.loc[13, ["users", "trend"]] = [1e30, -5.0]
    frame.loc[14:15, "empty"] = [7.0, -3.5]
    return frame


@pytest.fixture(scope="session")
def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The same rows as parsed JSON, with whole numbers as integers."""
    return [{name: json_value(value) for name, value in row.items()} for row in rows.to_dict("records")]


def json_value(value: Any) -> Any:
    if pd.isna(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value
