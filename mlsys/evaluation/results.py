"""Write the results of a run to its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsys import __version__
from mlsys.data.compact import take_rows
from mlsys.data.load import Loaded
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.backtest import BacktestResult
from mlsys.evaluation.effects import effects
from mlsys.evaluation.explain import importances
from mlsys.evaluation.leads import top_leads
from mlsys.evaluation.report.card import render_card
from mlsys.evaluation.report.html import render_report
from mlsys.evaluation.report.plots import write_plots
from mlsys.evaluation.report.summary import RunFacts, Summary, summarise
from mlsys.evaluation.schema import input_schema, reference
from mlsys.evaluation.scores import write_scores
from mlsys.pipeline.threshold import Threshold
from mlsys.runs.golden import golden_frame
from mlsys.runs.model_io import save_model
from mlsys.runs.model_outputs import outputs_of
from mlsys.runs.writer import RunWriter
from mlsys.text import counted

GOLDEN_ROWS = 20
TOP_LEADS = 10


@dataclass(frozen=True)
class RunResults:
    """All results of a run.

    Attributes
    ----------
    config : dict
        Resolved config, with ``choices`` and ``seed``.
    loaded : Loaded
        Panel and facts about the data.
    backtest : BacktestResult
        Fitted folds and the final model.
    metrics : dict
        Content of metrics.json.
    threshold : Threshold
        Operating threshold.
    audit : dict
        Content of audit.json.
    selection : dict or None
        Content of selection.json; None if the config names a single model.
    """

    config: Mapping[str, Any]
    loaded: Loaded
    backtest: BacktestResult
    metrics: dict[str, Any]
    threshold: Threshold
    audit: dict[str, Any]
    selection: Mapping[str, Any] | None = None


def write_results(writer: RunWriter, results: RunResults, *, seconds: float) -> Summary:
    """Write the model, the numbers, the card and the report.

    Parameters
    ----------
    writer : RunWriter
        Writer of the run directory; the caller has to call its ``finish``.
    results : RunResults
        Results to write.
    seconds : float
        Seconds that the fits took, for the card.

    Returns
    -------
    Summary
        The content of the card.
    """
    predictions = results.backtest.predictions
    _write_model(writer, results)
    write_scores(writer, results.metrics, predictions)
    writer.write_json("audit.json", results.audit)
    writer.write_json("threshold.json", results.threshold.to_dict())
    writer.write_json("contracts.json", {"findings": results.loaded.findings, **results.loaded.facts})
    return _write_pages(writer, results, predictions, seconds)


def _write_model(writer: RunWriter, results: RunResults) -> None:
    panel, final = results.loaded.panel, results.backtest.final
    rows = take_rows(panel.frame, results.backtest.final_rows)
    save_model(final.pipeline, writer.folder)
    writer.write_json("model/calibration.json", final.calibration.to_dict())
    writer.write_parquet("golden.parquet", golden_frame(final.pipeline, final.calibration, _golden_inputs(results)))
    outputs = outputs_of(final.pipeline)
    writer.write_json("schema.json", input_schema(panel, rows, names=results.loaded.names, outputs=outputs))
    tested = results.backtest.predictions
    writer.write_json("reference.json", reference(panel, rows, tested["probability"], tested.get(SAMPLING_WEIGHT)))
    if results.loaded.recipe is not None:
        writer.write_json("recipe.json", results.loaded.recipe)


def _golden_inputs(results: RunResults) -> pd.DataFrame:
    """Return rows of the latest fold that cover the range of its scores, from the highest to the lowest."""
    latest = results.backtest.folds[-1]
    order = np.argsort(-latest.predictions["score"].to_numpy(), kind="stable")
    picked = np.unique(np.geomspace(1, len(order), GOLDEN_ROWS).astype(np.int64)) - 1
    rows = latest.fold.test[order[picked]]
    panel = results.loaded.panel
    return take_rows(panel.inputs, rows).astype(dict.fromkeys(panel.numbers, np.float64)).reset_index(drop=True)


def _write_pages(writer: RunWriter, results: RunResults, predictions: pd.DataFrame, seconds: float) -> Summary:
    panel = results.loaded.panel
    weights = importances(results.backtest.final.pipeline, panel.inputs, seed=int(results.config["seed"]))
    writer.write_json("importances.json", weights.to_dict("records"))
    summary = summarise(
        config=results.config,
        metrics=results.metrics,
        audit=results.audit,
        threshold=results.threshold.to_dict(),
        facts=_facts(writer, results, predictions, seconds),
        top_leads=top_leads(predictions, TOP_LEADS),
        selection=results.selection,
    )
    plots = write_plots(
        writer.path("plots/any.png").parent,
        predictions,
        weights,
        results.metrics,
        threshold=results.threshold.threshold,
        entities=summary.entities,
        positives=summary.positives,
        effects=effects(results.backtest.final.pipeline),
    )
    writer.write_text("card.md", render_card(summary))
    writer.write_text("report.html", render_report(summary, plots))
    return summary


def _facts(writer: RunWriter, results: RunResults, predictions: pd.DataFrame, seconds: float) -> RunFacts:
    loaded, config, here = results.loaded, results.config, Path.cwd()
    facts: RunFacts = {
        "run": str(writer.folder.relative_to(here) if writer.folder.is_relative_to(here) else writer.folder),
        "data": str(config["data"]["name"]),
        "source": next((str(config["data"][key]) for key in ("path", "dir", "url") if config["data"].get(key)), ""),
        "entities": int(predictions["id"].nunique()),
        "rows": len(predictions),
        "positives": int(predictions["label"].sum()),
        "training_rows": len(results.backtest.final_rows),
        "features": len(loaded.panel.features),
        "as_ofs": [str(fold["as_of"]) for fold in results.metrics["folds"] if fold["as_of"] is not None],
        "train_seconds": seconds,
        "version": __version__,
        "created": f"{datetime.now(UTC):%Y-%m-%d}",
        "contract": loaded.findings,
        "chosen": str(results.backtest.final.choice),
        "cap_warning": results.backtest.cap_warning,
    }
    if "negatives" in loaded.facts:
        facts["sample"] = loaded.facts["negatives"]
    if loaded.horizon_days:
        facts["horizon_days"] = loaded.horizon_days
        facts["data_end"] = str(loaded.facts["end"])
        facts["target"] = f"convert within {counted(loaded.horizon_days, 'day')}"
    else:
        facts |= {
            "target": f"have {loaded.names['target']} = {loaded.names['positive']}",
            "entities_name": "rows",
            "positives_name": "positives",
        }
    return facts
