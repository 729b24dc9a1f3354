"""The operating threshold in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlsys.evaluation.formats import MISSING, as_float, percent

Numbers = Mapping[str, Any]

METHODS: Mapping[str, str] = {
    "top_k": "so that about {k} in each fold reach it",
    "f_beta": "where F-beta is highest, with beta {beta} (above 1 favours finding all, below 1 being right)",
    "cost": "where the total cost is lowest, with {costs}",
}


def threshold_text(threshold: Numbers | None, entities: str, positives: str, which: str) -> str:
    """Say which probability counts as a yes, how that was chosen, and what it meant for the test rows.

    Parameters
    ----------
    threshold : mapping or None
        The content of threshold.json.
    entities, positives : str
        What the rows and those with label 1 are called.
    which : str
        Which test rows, as the end of "In the test rows".
    """
    value = as_float(threshold.get("threshold")) if threshold else None
    if threshold is None or value is None:
        return "No threshold was chosen: use the ranking."
    text = f"A probability of {percent(value)} or more counts as a yes. {_how_chosen(threshold)}"
    precision, recall = as_float(threshold.get("precision")), as_float(threshold.get("recall"))
    if precision is None:
        return f"{text}None of the test rows reached it."
    mean = as_float(threshold.get("flagged_mean"))
    who = f"{mean:,.0f} {entities} a fold" if mean is not None and mean >= 1 else f"some {entities}"
    text += f"In the test rows{which} {who} reached it, and {percent(precision)} of them were {positives}"
    return f"{text}: {percent(recall)} of all {positives}." if recall is not None else f"{text}."


def _how_chosen(threshold: Numbers) -> str:
    method = threshold.get("method")
    if not method:
        return ""
    listed = {str(name): _setting(setting) for name, setting in (threshold.get("parameters") or {}).items()}
    costs = [f"{name.replace('_', ' ')} {cost}" for name, cost in listed.items() if name != "elkan" and cost != "0"]
    gaps = _Gaps(listed, method=str(method), costs=", ".join(costs) or "no costs")
    return f"It was chosen {METHODS.get(str(method), 'by {method}').format_map(gaps)}. "


class _Gaps(dict[str, str]):
    """Fill a sentence's gap with a dash where the parameter is not known."""

    def __missing__(self, key: str) -> str:
        return MISSING


def threshold_rows(threshold: Numbers | None) -> Iterable[tuple[str, str]]:
    """Yield name and value of everything that threshold.json holds."""
    for name, value in (threshold or {}).items():
        settings = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, setting in settings:
            yield f"{name} {key}".strip().replace("_", " "), _setting(setting)


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
