"""Tiny runs that were trained on a flat table, as `python -m mlsys.train data=table` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from mlsys.data.config import TableData
from mlsys.data.flat import load_table
from mlsys.evaluation.schema import input_schema, reference
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.encoders import OneHot
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.uplift import uplift, with_treatment
from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import golden_frame
from mlsys.runs.model_io import save_model
from mlsys.runs.model_outputs import outputs_of
from mlsys.runs.reader import Run
from mlsys.runs.writer import RunWriter

ROWS = 60


def write_table_run(folder: Path, table: Path, target: str = "won", model: Any = None, **config: Any) -> Run:
    """Fit a model, by default a logistic regression, on a table as training reads it, and write the run."""
    settings = {"kind": "table", "name": "leads", "path": str(table), "target": target, "cache": False}
    loaded = load_table(TableData.model_validate(settings | config))
    inputs, panel = loaded.panel.inputs, loaded.panel
    columns = {kind: [info.name for info in panel.features if info.kind == kind] for kind in ("number", "category")}
    estimator = with_treatment(model or LogisticRegression(), panel.treatment)
    spec = PipelineSpec(
        OneHot(min_rows=1), None, estimator, Identity(), columns["number"], columns["category"], stop_after=None
    )
    pipeline = fit(spec, Training(inputs, panel.frame["label"].to_numpy())).pipeline
    calibration = Calibration.none()
    writer = RunWriter(folder)
    writer.write_text("config.yaml", "seed: 1\nchoices: {model: logistic, data: table}\n")
    writer.write_json("schema.json", input_schema(panel, inputs, names=loaded.names, outputs=outputs_of(pipeline)))
    writer.write_json("recipe.json", loaded.recipe)
    writer.write_json("reference.json", reference(panel, inputs, panel.frame["label"].astype(float)))
    writer.write_json("threshold.json", {"threshold": 0.5})
    writer.write_json("metrics.json", {"overall": {"roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95}}})
    writer.write_json("audit.json", {"status": "pass", "checks": []})
    writer.write_text("card.md", "# Leads\n")
    save_model(pipeline, writer.folder)
    writer.write_json("model/calibration.json", calibration.to_dict())
    writer.write_parquet("golden.parquet", golden_frame(pipeline, calibration, inputs.head(20)))
    writer.finish(seed=1, threads=1)
    return Run.open(folder)


def write_campaign_run(folder: Path, treated: str, control: str) -> Run:
    """Write campaign.csv, with these two words for the arms, and an uplift run trained on it."""
    rng = np.random.default_rng(5)
    called = rng.choice([treated, control], 2 * ROWS)
    frame = pd.DataFrame({"size": rng.normal(size=2 * ROWS).round(2), "called": called})
    frame["won"] = (rng.random(2 * ROWS) < np.where(called == treated, 0.6, 0.3)).astype(int)
    frame.to_csv(folder / "campaign.csv", index=False)
    model = uplift(LogisticRegression(), method="t_learner")
    arms = {"treatment": "called", "treated": treated}
    return write_table_run(folder / "run", folder / "campaign.csv", model=model, **arms)


def write_leads_run(folder: Path) -> Run:
    """Write leads.csv, with columns of all kinds, some with missing values, and a run trained on it."""
    rng = np.random.default_rng(3)
    days = pd.date_range("2022-01-15", periods=ROWS)
    frame = pd.DataFrame(
        {
            "lead": [f"L{number}" for number in range(ROWS)],
            "at": days.strftime("%d.%m.%Y"),
            "tier": rng.choice(["Gold", "gold ", "silver", "NA"], ROWS),
            "size": rng.choice(["1,5", "2.000", "unknown"], ROWS, p=[0.5, 0.48, 0.02]),
            "staff": rng.choice(["3", "4,5", "7"], ROWS),
            "paid": rng.choice(["ja", "nein"], ROWS),
            "promo": rng.choice(["X", ""], ROWS),
            "joined": (days - pd.to_timedelta(np.arange(ROWS) * 5, unit="D")).strftime("%d.%m.%Y"),
            "size [m]": rng.choice(["1", "2", "4"], ROWS),
            "extra": "same",
            "won": rng.choice(["yes", "no"], ROWS),
        }
    )
    frame.loc[:2, "size"] = ["unknown", "1,5", "2.000"]
    frame.to_csv(folder / "leads.csv", sep=";", index=False)
    return write_table_run(folder / "run", folder / "leads.csv", id="lead", time="at")


# One row, with the columns of leads.csv and with the model's inputs.
RAW = {
    "at": "20.3.2022", "tier": "GOLD", "size": "2.000", "staff": 4.5, "paid": "Ja", "promo": None,
    "joined": "18.3.2022", "size [m]": "2",
}  # fmt: skip
INPUTS = {
    "tier": "gold", "size": 2000, "staff": 4.5, "paid": 1, "promo_filled": 0, "joined_age_days": 2,
    "joined_month": 3, "joined_weekday": 4, "size _m_": 2.0,
}  # fmt: skip
