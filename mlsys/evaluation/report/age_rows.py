"""Performance by the age of a model, as text, for the question how often to retrain it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlsys.evaluation.formats import Numbers
from mlsys.evaluation.metric_table import METRICS, find_metric
from mlsys.text import counted

MIN_FOLDS = 3  # to say anything about an age in a sentence


@dataclass(frozen=True)
class AgeRow:
    """One age: how much older, in how many folds, and each metric of the old and the new models."""

    age: str
    folds: str
    values: tuple[tuple[str, str], ...]


def age_metrics(metrics: Numbers) -> Sequence[str]:
    """Return the titles of the metrics of the rows."""
    ages: Sequence[Numbers] = metrics.get("by_age") or []
    return [find_metric(name).title for name in ages[0]["metrics"]] if ages else []


def age_rows(metrics: Numbers) -> Iterator[AgeRow]:
    """Yield the rows, from the youngest age to the oldest.

    Parameters
    ----------
    metrics : mapping
        Content of metrics.json.
    """
    for entry in metrics.get("by_age") or []:
        values = tuple(
            (find_metric(name).write(pair["old"]), find_metric(name).write(pair["new"]))
            for name, pair in entry["metrics"].items()
        )
        yield AgeRow(counted(round(entry["days"]), "day"), str(entry["folds"]), values)


def age_text(metrics: Numbers) -> str:
    """Return a sentence about the oldest models with enough folds; an empty string if there are none.

    Examples
    --------
    >>> age = {"days": 56.0, "folds": 4, "metrics": {"roc_auc": {"old": 0.87, "new": 0.88}}}
    >>> age_text({"by_age": [age]})
    'Models that were 56 days older had a ROC-AUC of 0.870 instead of 0.880 on the same 4 folds.'
    """
    entries = [entry for entry in metrics.get("by_age") or [] if entry["folds"] >= MIN_FOLDS]
    if not entries or "roc_auc" not in entries[-1]["metrics"]:
        return ""
    oldest, auc = entries[-1], METRICS["roc_auc"]
    old, new = (auc.write(oldest["metrics"]["roc_auc"][which]) for which in ("old", "new"))
    age, folds = counted(round(oldest["days"]), "day"), oldest["folds"]
    return f"Models that were {age} older had a {auc.title} of {old} instead of {new} on the same {folds} folds."
