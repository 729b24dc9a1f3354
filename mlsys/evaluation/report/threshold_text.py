"""The operating threshold in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlsys.evaluation.formats import MISSING, Numbers, as_float, percent

METHODS: Mapping[str, str] = {
    "top_k": "to flag about the top {k} of each fold",
    "f_beta": "to maximise F-beta with beta = {beta} (above 1 favours recall, below 1 favours precision)",
    "cost": "to minimise the total cost, with {costs}",
}


def threshold_text(threshold: Numbers | None, entities: str, positives: str, which: str) -> str:
    """Describe the threshold: its value, how it was chosen, and its precision and recall on the test rows.

    Parameters
    ----------
    threshold : mapping or None
        Content of threshold.json.
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    which : str
        Restriction to some of the test rows, appended to "On the test rows"; may be empty.
    """
    value = as_float(threshold.get("threshold")) if threshold else None
    if threshold is None or value is None:
        return "No threshold was chosen: use the ranking."
    text = f"A probability of {percent(value)} or more counts as positive. {_how_chosen(threshold)}"
    precision, recall = as_float(threshold.get("precision")), as_float(threshold.get("recall"))
    if precision is None:
        return f"{text}None of the test rows reached it."
    mean = as_float(threshold.get("flagged_mean"))
    flagged = entities if mean is None else f"an average of {mean:,.{0 if mean >= 10 else 1}f} {entities} per fold"
    text += f"On the test rows{which}, {flagged} reached it: {percent(precision)} of them were {positives}"
    return f"{text}, which is {percent(recall)} of all {positives}." if recall is not None else f"{text}."


def _how_chosen(threshold: Numbers) -> str:
    method = threshold.get("method")
    if not method:
        return ""
    parameters = {str(name): _setting(setting) for name, setting in (threshold.get("parameters") or {}).items()}
    costs = [f"{name.replace('_', ' ')} {cost}" for name, cost in parameters.items() if name != "elkan" and cost != "0"]
    values = _Placeholders(parameters, method=str(method), costs=", ".join(costs) or "no costs")
    return f"It was chosen {METHODS.get(str(method), 'by {method}').format_map(values)}. "


class _Placeholders(dict[str, str]):
    """Values for the placeholders of a sentence; a dash for unknown ones."""

    def __missing__(self, key: str) -> str:
        return MISSING


def threshold_rows(threshold: Numbers | None) -> Iterable[tuple[str, str]]:
    """Yield name and value of every entry of threshold.json."""
    for name, value in (threshold or {}).items():
        settings = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, setting in settings:
            yield f"{name} {key}".strip().replace("_", " "), _setting(setting)


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
