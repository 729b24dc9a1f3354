"""One flat table as a panel: its columns are the features, each row is known when it is given."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from mlsys.data.config import TableData
from mlsys.data.load import Loaded, fingerprint_of
from mlsys.data.panel import KEYS, Panel
from mlsys.data.table import apply, infer_recipe, labelled_rows, read_table, to_label, to_numbers, to_time
from mlsys.data.table.recipe import ColumnReport, TableRecipe
from mlsys.errors import ConfigError, DataError, Problem, closest
from mlsys.features.base import FeatureInfo

log = logging.getLogger(__name__)


def load_table(data: TableData) -> Loaded:
    """Read a flat table and decide what its columns are.

    Returns
    -------
    Loaded
        The panel, whose ``as_of`` is the row's time or NaT, and the recipe that turns raw rows into its columns.

    Raises
    ------
    ConfigError
        Listing every configured column that the table does not have.
    DataError
        Where the table cannot be read, or has one class only.
    """
    raw = read_table(data.path)
    _check_columns(data, list(raw.columns))
    raw = labelled_rows(raw, data.target)
    label, positive = to_label(raw[data.target], positive=data.positive)
    drop = [*data.drop, *([data.value] if data.value else [])]
    recipe = infer_recipe(
        raw, target=data.target, id=data.id, time=data.time, group=data.group, drop=drop, reserved=KEYS
    )
    for report in recipe.report():
        log.info("%-30s %-9s %s; %s", report.name, report.kind, report.reason, report.done)
    inputs = apply(recipe, raw)
    panel = Panel(_frame(data, raw, recipe, label, inputs), tuple(_infos(recipe, inputs)))
    facts: dict[str, Any] = {"as_ofs": [], "entities": int(panel.frame["group"].nunique()), "columns": len(raw.columns)}
    findings = [
        {
            "table": data.path,
            "rule": report.kind,
            "action": "drop",
            "count": len(raw),
            "message": f"{report.name}: {report.done}",
        }
        for report in recipe.report()
        if report.done.startswith("dropped")
    ]
    names = {"id": data.id, "as_of": data.time, "target": data.target, "positive": positive}
    print_of_rows = fingerprint_of(raw.astype(str))
    return Loaded(panel, print_of_rows, findings, facts, names=names, recipe=recipe.to_dict())


def describe_table(data: TableData) -> list[ColumnReport]:
    """Read a flat table and say what each column is taken for, and why."""
    raw = read_table(data.path)
    _check_columns(data, list(raw.columns))
    drop = [*data.drop, *([data.value] if data.value else [])]
    return infer_recipe(
        raw, target=data.target, id=data.id, time=data.time, group=data.group, drop=drop, reserved=KEYS
    ).report()


def _frame(data: TableData, raw: pd.DataFrame, recipe: TableRecipe, label: Any, inputs: pd.DataFrame) -> pd.DataFrame:  # noqa: ANN401
    rows = pd.Series(np.arange(len(raw), dtype=np.int64))
    as_of = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")
    if recipe.time is not None:
        as_of = pd.Series(
            pd.to_datetime(to_time(raw[data.time], recipe.time.date_format).to_numpy()).astype("datetime64[us]")
        )
        if as_of.isna().any():
            raise DataError(
                f"data.time={data.time}: {int(as_of.isna().sum())} of {len(raw)} rows have no readable time. Leave them out, or the column."
            )
    value = _value(data, raw, label)
    ids = raw[data.id].reset_index(drop=True) if data.id else rows
    group = raw[data.group].reset_index(drop=True) if data.group else ids
    keys = pd.DataFrame(
        {
            "id": ids,
            "as_of": as_of,
            "label": np.asarray(label, dtype=np.int8),
            "label_complete": True,
            "value": value,
            "activity": np.nan,
            "group": group.astype(str) if group.dtype == object or group.isna().any() else group,
        }
    )
    return pd.concat([keys, inputs.reset_index(drop=True)], axis=1)


def _value(data: TableData, raw: pd.DataFrame, label: Any) -> Any:  # noqa: ANN401
    if data.value is None:
        return np.full(len(raw), np.nan)
    numbers = np.asarray(to_numbers(raw[data.value]), dtype=np.float64)
    return np.where(np.asarray(label) == 1, numbers, np.nan)


def _infos(recipe: TableRecipe, inputs: pd.DataFrame) -> list[FeatureInfo]:
    sources = {output: column for column in recipe.columns for output in column.outputs}
    infos = []
    for name in inputs.columns:
        column = sources[str(name)]
        is_number = pd.api.types.is_float_dtype(inputs[name].dtype)
        infos.append(
            FeatureInfo(
                str(name), "number" if is_number else "category", f"{column.name}: {column.reason}", column.unit or None
            )
        )
    return infos


def _check_columns(data: TableData, columns: list[str]) -> None:
    named = {"target": data.target, "id": data.id, "time": data.time, "group": data.group, "value": data.value}
    wanted = [(f"data.{key}", name) for key, name in named.items() if name] + [
        ("data.drop", name) for name in data.drop
    ]
    problems = [
        Problem(key, name, "a column of the table: " + ", ".join(columns[:40]), closest(name, columns))
        for key, name in wanted
        if name not in columns
    ]
    if problems:
        raise ConfigError("The data config", problems, "Nothing was run.")
