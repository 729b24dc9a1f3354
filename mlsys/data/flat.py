"""Loads one flat table as a panel: its columns are the features."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mlsys.data.cache import CacheEntry, get_or_make, hash_files
from mlsys.data.compact import compact_frame
from mlsys.data.config import DecimalMark, SampledData, TableData
from mlsys.data.load import Loaded
from mlsys.data.negatives import ON_SAMPLE, NegativeSample, WholeTests, log_sample, sampling_key
from mlsys.data.panel import KEYS, Panel, Treatment
from mlsys.data.table import apply, infer_recipe, labelled_rows, read_table, to_label, to_numbers, to_time
from mlsys.data.table.delimited import DELIMITER
from mlsys.data.table.recipe import ColumnRecipe, ColumnReport, TableRecipe
from mlsys.data.table.treatment import check_outcomes, find_treatment
from mlsys.data.weight_column import SAMPLING_WEIGHT, TEST_WEIGHT
from mlsys.errors import ConfigError, Problem, closest
from mlsys.features.base import FeatureInfo
from mlsys.text import counted

MARKS: dict[DecimalMark, str] = {"point": ".", "comma": ","}
logger = logging.getLogger(__name__)


def load_table(data: TableData, tests: WholeTests = ON_SAMPLE) -> Loaded:
    """Read a flat table and infer how to use its columns.

    Parameters
    ----------
    data : TableData
    tests : WholeTests
        Whether tests are on all rows if the negatives are sampled; by default not.

    Returns
    -------
    Loaded
        The panel, whose ``as_of`` is the row's time or NaT, and the recipe that converts raw rows into its columns.

    Raises
    ------
    ConfigError
        If the table lacks configured columns; all of them are listed.
    DataError
        If the table cannot be read, has only one class, or the treatment column does not have two values.
    """
    name, _, table_name = data.path.partition("::")
    file = Path(name)
    identity = hash_files([file]) if file.is_file() else ""  # if the file does not exist, reading it raises
    config = data.model_dump(mode="json", exclude={*SampledData.model_fields, "path"})
    key = {"data": config, "table": table_name, "file": identity, **sampling_key(data, tests)}
    table, note = get_or_make(data, key, lambda: _make(data, file.name, tests))
    recipe = TableRecipe.from_dict(note["recipe"])
    for report in recipe.report():
        logger.info("%-30s %-9s %s; %s", report.name, report.kind, report.reason, report.done)
    for report in recipe.report():
        if report.guess:
            logger.warning("%s: %s", report.name, report.guess)
    treatment = None if note["treatment"] is None else Treatment(**note["treatment"])
    log_sample(data.negatives, note["facts"], table.num_rows)
    features = tuple(FeatureInfo(**info) for info in note["features"])
    panel = Panel(compact_frame(table.to_pandas(), [info.name for info in features]), features, treatment)
    names = {"id": data.id, "as_of": data.time, "target": data.target, "positive": note["positive"]}
    return Loaded(panel, identity, note["findings"], note["facts"], names=names, recipe=note["recipe"])


def describe_table(data: TableData) -> list[ColumnReport]:
    """Read a flat table and return how each column is used, and why."""
    raw = read_table(data.path)
    _check_columns(data, list(raw.columns))
    return _infer(data, raw).report()


def _make(data: TableData, file: str, tests: WholeTests) -> CacheEntry:
    raw = read_table(data.path)
    _check_columns(data, list(raw.columns))
    labelled = labelled_rows(raw, data.target)
    label, positive = to_label(labelled[data.target], positive=data.positive)
    recipe = _infer(data, labelled)
    rows, positives = len(labelled), int(label.sum())
    sample = NegativeSample.of(data, tests, positives=positives, rows=rows)
    weights: dict[str, NDArray[np.float64]] = {}
    positions = np.arange(rows)
    if sample is not None:
        positions, weights = sample.of_labels(label, *_keys(data, labelled))
        labelled, label = labelled.iloc[positions], label[positions]
    inputs = apply(recipe, labelled)
    treatment = None
    if data.treatment is not None:
        treatment = find_treatment(labelled[data.treatment], recipe, inputs, treated=data.treated)
        check_outcomes(treatment, inputs, label, treatment_name=data.treatment, target=data.target)
    frame = _frame(data, labelled, recipe, label, inputs, positions, weights)
    configured = [*data.roles.values(), *data.drop]
    note = {
        "features": [asdict(info) for info in _feature_infos(recipe, inputs, treatment)],
        "treatment": None if treatment is None else asdict(treatment),
        "findings": _findings(file, recipe, configured, rows=rows, unlabelled=len(raw) - rows),
        "facts": {
            "as_ofs": [],
            "entities": int(frame["group"].nunique()),
            "columns": len(raw.columns),
            **({} if sample is None else sample.facts(rows=rows, positives=positives)),
        },
        "positive": positive,
        "recipe": recipe.to_dict(),
    }
    return pa.Table.from_pandas(frame, preserve_index=False), note


def _infer(data: TableData, rows: pd.DataFrame) -> TableRecipe:
    return infer_recipe(
        rows,
        target=data.target,
        id=data.id,
        time=data.time,
        group=data.group,
        value=data.value,
        drop=data.drop,
        reserved=(*KEYS, SAMPLING_WEIGHT, TEST_WEIGHT),
        dates=data.dates,
        decimal=data.decimal and MARKS[data.decimal],
        delimiter=rows.attrs.get(DELIMITER, ""),
    )


def _findings(
    file: str, recipe: TableRecipe, configured: Collection[str], *, rows: int, unlabelled: int
) -> list[dict[str, Any]]:
    """Return the columns and rows that were dropped without being configured."""
    dropped = [
        report for report in recipe.report() if report.done.startswith("dropped") and report.name not in configured
    ]
    findings: list[tuple[str, int, str]] = [(report.kind, rows, f"{report.name}: {report.done}") for report in dropped]
    if unlabelled:
        findings.append(("missing_target", unlabelled, f"{counted(unlabelled, 'row')} without a target: dropped"))
    return [
        {"table": file, "rule": rule, "action": "drop", "count": count, "message": message}
        for rule, count, message in findings
    ]


def _keys(data: TableData, raw: pd.DataFrame) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Return what identifies each row in a sample: its id, else all its values; and its time, as in the table."""
    ids = raw[data.id].astype(str) if data.id else pd.util.hash_pandas_object(raw.astype(str), index=False)
    return ids, raw[data.time].astype(str) if data.time else pd.Series("", index=raw.index)


def _frame(
    data: TableData,
    raw: pd.DataFrame,
    recipe: TableRecipe,
    label: NDArray[np.int8],
    inputs: pd.DataFrame,
    positions: NDArray[np.intp],
    weights: dict[str, NDArray[np.float64]],
) -> pd.DataFrame:
    """Return the rows of the panel; without an id, a row has its position in the table."""
    rows = pd.RangeIndex(len(raw))
    as_of = pd.Series(pd.NaT, index=rows)
    if recipe.time is not None:
        as_of = to_time(raw[data.time], recipe.time.date_format).set_axis(rows)
    ids = _identifiers(raw[data.id]) if data.id else pd.Series(positions)
    keys = pd.DataFrame(
        {
            "id": ids,
            "as_of": as_of.astype("datetime64[us]"),
            "label": label,
            "label_complete": True,
            "value": _value(data, raw, label, recipe),
            "activity": np.nan,
            "group": _identifiers(raw[data.group]) if data.group else ids,
            "days_to_outcome": np.nan,
            "days_known": np.nan,
            **weights,
        }
    )
    return pd.concat([keys, inputs.set_axis(rows)], axis="columns")


def _identifiers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return ids or groups, as text if some are missing or types differ; rows without one get a unique value."""
    column = column.reset_index(drop=True)
    if column.dtype != object and not column.isna().any():
        return column
    text = column.convert_dtypes().astype(str)
    return text.where(column.notna(), "row " + column.index.astype(str))


def _value(data: TableData, raw: pd.DataFrame, label: NDArray[np.int8], recipe: TableRecipe) -> NDArray[np.float64]:
    if data.value is None:
        return np.full(len(raw), np.nan)
    decimals = [column.decimal for column in recipe.columns if column.name == data.value and column.kind == "number"]
    decimal = decimals[0] if decimals else data.decimal and MARKS[data.decimal]
    return np.where(label == 1, to_numbers(raw[data.value], decimal=decimal), np.nan)


def _feature_infos(recipe: TableRecipe, inputs: pd.DataFrame, treatment: Treatment | None) -> list[FeatureInfo]:
    sources = {output: column for column in recipe.columns for output in column.outputs}
    infos = []
    for name in inputs.columns:
        column = sources[str(name)]
        is_number = pd.api.types.is_float_dtype(inputs[name].dtype)
        infos.append(
            FeatureInfo(
                str(name),
                "number" if is_number else "category",
                _description(column, treatment if treatment is not None and treatment.column == name else None),
                column.unit or None,
                column.name if column.parts == ("value",) and column.name != name else None,
            )
        )
    return infos


def _description(column: ColumnRecipe, treatment: Treatment | None) -> str:
    if treatment is None:
        return f"{column.name}: {column.reason}"
    return f"{column.name}: treatment, {treatment.names[0]} (treated) or {treatment.names[1]} (control)"


def _check_columns(data: TableData, columns: list[str]) -> None:
    configured = [(f"data.{role}", name) for role, name in data.roles.items()]
    configured += [("data.treatment", data.treatment)] if data.treatment is not None else []
    configured += [("data.drop", name) for name in data.drop]
    problems = [
        Problem(key, name, "a column of the table: " + ", ".join(columns[:40]), closest(name, columns))
        for key, name in configured
        if name not in columns
    ]
    problems += role_problems(data)
    if problems:
        raise ConfigError("The data config", problems, "Nothing was run.")


def role_problems(data: TableData) -> list[Problem]:
    """Return columns of which the config says two things that exclude each other; the table is not needed.

    Parameters
    ----------
    data : TableData

    Examples
    --------
    >>> data = TableData(kind="table", name="leads", path="leads.csv", target="won", treatment="won")
    >>> print(role_problems(data)[0].brief)
    data.treatment: got won, allowed: a column other than data.target: the model needs it as an input
    """
    taken = data.roles | dict.fromkeys(["drop"] if data.treatment in data.drop else [], data.treatment)
    return [
        Problem("data.treatment", str(column), f"a column other than data.{role}: the model needs it as an input")
        for role, column in taken.items()
        if column == data.treatment
    ]
