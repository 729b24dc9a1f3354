"""Models of the same kind with older or fewer training rows, as text: how often to retrain, would more data help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlsys.evaluation.formats import Numbers
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import METRICS, find_metric
from mlsys.text import counted

MIN_FOLDS = 3  # to say anything about an age in a sentence
HALF = 0.5


@dataclass(frozen=True)
class OtherModels:
    """A table of other models, each compared with the run's own on the same rows.

    Attributes
    ----------
    columns : tuple of str
        Titles of the columns, the first that of the row headers.
    numbers_from : int
        Index of the first column of metrics.
    rows : tuple of tuple of (str, str)
        Each cell as a text and a note in a softer colour.
    sentence : str
        The result in a sentence; may be empty.
    """

    columns: tuple[str, ...] = ()
    numbers_from: int = 0
    rows: tuple[tuple[tuple[str, str], ...], ...] = ()
    sentence: str = ""


def older_models(metrics: Numbers, level: str = "95%") -> OtherModels:
    """Return models that were trained earlier, from the youngest to the oldest.

    Parameters
    ----------
    metrics : mapping
        Content of metrics.json.
    level : str
        Confidence level of the intervals.

    Examples
    --------
    >>> auc = {"value": 0.87, "reference": 0.88, "difference": {"value": -0.01, "low": -0.03, "high": 0.01}}
    >>> older_models({"by_age": [{"days": 56.0, "folds": 4, "metrics": {"roc_auc": auc}}]}).sentence
    'Models that were 56 days older had a ROC-AUC of 0.870 instead of 0.880 on the same 4 folds: no clear difference \
(−0.010, 95% interval −0.030 to +0.010).'
    """
    entries = metrics.get("by_age") or []
    if not entries:
        return OtherModels()
    names = list(entries[0]["metrics"])
    rows = tuple(
        ((counted(round(entry["days"]), "day"), ""), (str(entry["folds"]), ""), *_cells(entry, names))
        for entry in entries
    )
    tested = [entry for entry in entries if entry["folds"] >= MIN_FOLDS and "roc_auc" in entry["metrics"]]
    sentence = ""
    if tested:
        age, folds = counted(round(tested[-1]["days"]), "day"), tested[-1]["folds"]
        compared = _compared(tested[-1]["metrics"]["roc_auc"], level, f" on the same {folds} folds")
        sentence = f"Models that were {age} older had {compared}."
    return OtherModels(("Older by", "Folds", *_titles(names)), 1, rows, sentence)


def smaller_models(metrics: Numbers, positives: str = "positives", level: str = "95%") -> OtherModels:
    """Return models with fewer entities to learn from, from the fewest to all.

    Parameters
    ----------
    metrics : mapping
        Content of metrics.json.
    positives : str
        What a positive row is called, in the plural.
    level : str
        Confidence level of the intervals.
    """
    entries = metrics.get("learning_curve") or []
    if not entries:
        return OtherModels()
    names = list(entries[0]["metrics"])
    own = {name: {"value": entries[0]["metrics"][name]["reference"]} for name in names}
    rows = tuple(
        (
            (f"{entry['fraction']:.0%}", ""),
            (f"{entry['rows']:,.0f}", ""),
            (f"{entry['positives']:,.0f}", ""),
            *_cells({"metrics": own} | entry, names),
        )
        for entry in entries
    )
    half = [entry for entry in entries if entry["fraction"] == HALF and "roc_auc" in entry["metrics"]]
    sentence = ""
    if half:
        auc = half[0]["metrics"]["roc_auc"]
        sentence = f"With half of the data, models had {_compared(auc, level)}{_advice(auc['difference'])}"
    return OtherModels(("Data", "Training rows", positives.capitalize(), *_titles(names)), 1, rows, sentence)


def _advice(difference: Mapping[str, Any]) -> str:
    if METRICS["roc_auc"].verdict(difference) == "worse":
        return ". More data would probably help."
    return "."


def _compared(entry: Mapping[str, Any], level: str, where: str = "") -> str:
    auc = METRICS["roc_auc"]
    values = f"a {auc.title} of {auc.write(entry['value'])} instead of {auc.write(entry['reference'])}{where}"
    if auc.verdict(entry["difference"]) == "same":
        values += ": no clear difference"
    if interval := auc.difference_interval(entry["difference"]):
        values += f" ({auc.difference(entry['difference']['value'])}, {level} interval {interval})"
    return values


def _titles(names: list[str]) -> list[str]:
    return [find_metric(name).title for name in names]


def _cells(entry: Mapping[str, Any], names: list[str]) -> list[tuple[str, str]]:
    return [_cell(find_metric(name), entry["metrics"].get(name, {})) for name in names]


def _cell(metric: Metric, entry: Mapping[str, Any]) -> tuple[str, str]:
    difference = entry.get("difference")
    if difference is None:
        return metric.write(entry.get("value")), ""
    interval = metric.difference_interval(difference)
    return metric.write(entry["value"]), "; ".join(filter(None, [metric.difference(difference["value"]), interval]))
