"""How a run's model was chosen among candidates, as text: the table of what was tried, and what to make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.evaluation.formats import MISSING, ROUNDING, Numbers, as_float, bounds, percent, point
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import find_metric
from mlsys.text import counted, joined


@dataclass(frozen=True)
class CandidateRow:
    """One candidate, as text; ``weight`` is its share of the chosen model."""

    name: str
    value: str
    difference: str
    interval: str
    folds: str
    seconds: str
    weight: str
    note: str


@dataclass(frozen=True)
class SelectionText:
    """Content of selection.json as text: what was chosen, and a row for each candidate, those that got furthest first.

    ``blend``, ``optimism`` and ``untried`` are empty where there is nothing to say.
    """

    metric: str
    best: str
    chosen: str
    blend: str
    optimism: str
    untried: str
    rows: tuple[CandidateRow, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences."""
        return tuple(filter(None, (self.chosen, self.blend, self.optimism, self.untried)))

    @property
    def in_short(self) -> str:
        """The sentences for a terminal."""
        return " ".join(filter(None, (self.chosen, self.optimism, self.untried)))


def chosen_model(config: Numbers) -> str:
    """Return the name of a run's model: the option of the group, and what was chosen if it is a choice.

    Examples
    --------
    >>> chosen_model({"choices": {"model": "auto"}, "selection": {"chosen": ["xgboost", "logistic"]}})
    'auto: xgboost + logistic'
    >>> chosen_model({"choices": {"model": "catboost"}})
    'catboost'
    """
    option = str((config.get("choices") or {}).get("model") or "model")
    selection = config.get("selection") or {}
    return f"{option}: {' + '.join(selection['chosen'])}" if selection else option


def selection_text(record: Numbers | None, level: str) -> SelectionText | None:
    """Return the text of a choice, None if there was none.

    Parameters
    ----------
    record : mapping or None
        Content of selection.json.
    level : str
        Confidence level of the intervals, such as "95%".
    """
    if record is None:
        return None
    metric = find_metric(record["objective"])
    rows = sorted(record["candidates"], key=lambda row: _place(row, metric))
    return SelectionText(
        metric=metric.title,
        best=record["best"],
        chosen=_chosen(record, metric),
        blend=_blend(record, metric, level),
        optimism=_optimism(record, metric),
        untried=_untried(record),
        rows=tuple(_row(row, record, metric) for row in rows),
    )


def _place(row: Numbers, metric: Metric) -> tuple[int, float]:
    value = as_float(row["value"])
    if value is None or row["status"] == "failed":
        return (0, 0.0)
    return (-int(row["folds"]), -value if metric.higher_is_better else value)


def _row(row: Numbers, record: Numbers, metric: Metric) -> CandidateRow:
    weight = record["chosen"].get(row["name"])
    note = " ".join(str(row["reason"]).split())
    return CandidateRow(
        name=row["name"],
        value=metric.write(as_float(row["value"])),
        difference=MISSING if row["difference"] is None else metric.difference(point(row["difference"])),
        interval=metric.difference_interval(row["difference"]),
        folds=str(row["folds"]),
        seconds=f"{row['seconds']:.1f}",
        weight="" if weight is None else percent(weight),
        note=f"failed: {note}" if row["status"] == "failed" else note,
    )


def _members(members: Mapping[str, float]) -> str:
    return joined([f"{name} ({percent(weight)})" for name, weight in members.items()])


def _chosen(record: Numbers, metric: Metric) -> str:
    chosen: Mapping[str, float] = record["chosen"]
    what = next(iter(chosen)) if len(chosen) == 1 else f"a blend of {_members(chosen)}"
    among = counted(len(record["candidates"]), "candidate")
    folds: Sequence[Any] = record["folds"]
    return (
        f"model=auto chose {what} among {among}, by {metric.in_a_sentence} on {counted(len(folds), 'fold')} that this "
        "report does not use."
    )


def _blend(record: Numbers, metric: Metric, level: str) -> str:
    blend = record["blend"]
    if blend is None:
        return ""
    entry = blend["difference"]
    between = f", {level} interval {metric.difference_interval(entry)}" if bounds(entry) else ""
    gap = f"difference in {metric.in_a_sentence} {metric.difference(point(entry))}{between}"
    measured = f"on folds that neither was chosen on ({gap})"
    if blend["chosen"]:
        return f"Blends were better than single candidates by more than a standard error {measured}."
    return (
        f"The best blend, of {_members(blend['members'])}, is left out: not better by more than a standard error "
        f"{measured}."
    )


def _optimism(record: Numbers, metric: Metric) -> str:
    flattered = record["optimism"]
    value, nested = (as_float((flattered or {}).get(name)) for name in ("value", "nested"))
    if value is None or nested is None:
        return "One fold is too few to tell how much choosing flatters the value on it." if flattered is None else ""
    gain = (value - nested) * (1 if metric.higher_is_better else -1)
    on = f"On {counted(int(flattered['folds']), 'fold')}, its {metric.in_a_sentence} was {metric.write(value)}"
    honest = f"{metric.write(nested)} if each fold is tested with what the other folds would choose"
    free = "The metrics of this report are free of that, as their folds were not used to choose."
    if gain > ROUNDING:
        size = metric.difference(gain).lstrip("+")
        return f"{on}, but {honest}: choosing makes the value look better by {size}. {free}"
    return f"{on}, and {honest}: choosing hardly flatters the value."


def _untried(record: Numbers) -> str:
    late = [row["name"] for row in record["candidates"] if row["status"] == "no time"]
    stopped = any(row["status"] == "finished" and row["reason"] for row in record["candidates"])
    if not late and not stopped:
        return ""
    who = "" if stopped else f" of {joined(late)}"
    return f"There was no time for further folds{who}: a larger fit.minutes would try more."
