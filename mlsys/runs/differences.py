"""Differences between two runs whose results should be identical."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlsys.runs.files import MANIFEST
from mlsys.runs.model_io import MODEL_FILE
from mlsys.runs.reader import Run, yaml_value
from mlsys.text import counted

if TYPE_CHECKING:
    import pandas as pd

MAX_LISTED = 20  # differences listed per file
GOLDEN_FILE = "golden.parquet"
ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes
    ----------
    file : str
        File in the run directory.
    where : str
        JSON path, column or property in the file; "" for the whole file.
    first, second : str
        Value in each run.
    note : str
        Size or kind of the difference.
    """

    file: str
    where: str
    first: str
    second: str
    note: str = ""

    def __str__(self) -> str:
        where = f"{self.file} {self.where}".rstrip()
        note = f" ({self.note})" if self.note else ""
        return f"{where}: {self.first} | {self.second}{note}"


def differences(first: Run, second: Run) -> list[Difference]:
    """Compare the results of two runs; returns an empty list if they are identical bit for bit.

    Parameters
    ----------
    first, second : Run
        Two runs of the same config, such as a run and its replay.

    Returns
    -------
    list of Difference
        Differences in each file, and in both models' predictions for the first run's golden rows. They are followed by
        possible explanations from manifest.json: versions, machine, seed, threads, data and commit that differ.

    Notes
    -----
    Files that contain times (train.log, the report, manifest.json) are not compared.
    """
    results = [difference for name in READERS for difference in _file_differences(name, first, second)]
    results += _prediction_differences(first, second)
    return results + list(_explanations(first, second)) if results else []


def _file_differences(name: str, first: Run, second: Run) -> Iterator[Difference]:
    present = [name in run.manifest.files for run in (first, second)]
    if not any(present):
        return
    if not all(present):
        states = ["present" if is_present else ABSENT for is_present in present]
        yield Difference(name, "", states[0], states[1])
        return
    left, right = first.read_bytes(name), second.read_bytes(name)
    if left == right:
        return
    results = list(READERS[name](left, right))
    for where, one, other, note in results[:MAX_LISTED]:
        yield Difference(name, where, one, other, note)
    if len(results) > MAX_LISTED:
        yield Difference(name, "", "…", "…", f"and {len(results) - MAX_LISTED} more")
    if not results:
        yield Difference(name, "", f"{len(left)} bytes", f"{len(right)} bytes", "same values, different formatting")


ValueDifference = tuple[str, str, str, str]


def _json_differences(left: bytes, right: bytes) -> Iterator[ValueDifference]:
    yield from _tree_differences("$", json.loads(left), json.loads(right))


def _yaml_differences(left: bytes, right: bytes) -> Iterator[ValueDifference]:
    yield from _tree_differences("$", yaml_value(left), yaml_value(right))


def _tree_differences(where: str, left: object, right: object) -> Iterator[ValueDifference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            one, other = left.get(key, ABSENT), right.get(key, ABSENT)
            yield from _tree_differences(f"{where}.{key}", one, other)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _tree_differences(f"{where}[{index}]", one, other)
    elif type(left) is not type(right) or left != right:
        by = f"by {abs(left - right):.3g}" if isinstance(left, float) and isinstance(right, float) else ""
        yield where, _abbreviated(left), _abbreviated(right), by


def _abbreviated(value: object) -> str:
    text = ABSENT if value is ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parquet_differences(left: bytes, right: bytes) -> Iterator[ValueDifference]:
    import pandas as pd  # takes half a second, so only import it if files differ

    yield from _table_differences(pd.read_parquet(io.BytesIO(left)), pd.read_parquet(io.BytesIO(right)))


def _table_differences(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[ValueDifference]:
    for name in [*left, *(name for name in right if name not in left)]:
        if name not in left or name not in right:
            states = ["present" if name in frame else ABSENT for frame in (left, right)]
            yield f"column {name}", states[0], states[1], ""
    if list(left) != list(right) and set(left) == set(right):
        yield "columns", ", ".join(map(str, left)), ", ".join(map(str, right)), "different order"
    if len(left) != len(right):
        yield "rows", str(len(left)), str(len(right)), ""
        return
    for name in left.columns.intersection(right.columns):
        yield from _column_differences(f"column {name}", left[name], right[name])


def _column_differences(where: str, left: pd.Series[Any], right: pd.Series[Any]) -> Iterator[ValueDifference]:
    import pandas as pd  # imported late, as above

    if left.dtype != right.dtype:
        yield where, f"dtype {left.dtype}", f"dtype {right.dtype}", ""
        return
    differs = ((left != right) & ~(left.isna() & right.isna())).fillna(True).to_numpy(dtype=bool)
    if not differs.any():
        return
    at = int(differs.argmax())
    note = f"{int(differs.sum())} of {counted(len(differs), 'row')}, first row {at}"
    if pd.api.types.is_numeric_dtype(left) and not pd.api.types.is_bool_dtype(left):
        note += f", by up to {(left[differs] - right[differs]).abs().max():.3g}"
    yield where, str(left.iloc[at]), str(right.iloc[at]), note


def _prediction_differences(first: Run, second: Run) -> list[Difference]:
    """Compare the two models' predictions for the first run's golden rows."""
    if not all(name in run.manifest.files for run in (first, second) for name in (MODEL_FILE, GOLDEN_FILE)):
        return []  # a missing file is listed already; a failed run has neither
    from mlsys.runs.golden import all_outputs, golden_inputs

    inputs = golden_inputs(first)
    tables = [
        all_outputs(run.model, run.calibration, inputs)
        for run in (
            replace(first, any_version=True),
            replace(second, any_version=True),
        )  # predictions show the effect
    ]
    return [
        Difference(MODEL_FILE, f"on golden rows, {where}", *values) for where, *values in _table_differences(*tables)
    ]


def _explanations(first: Run, second: Run) -> Iterator[Difference]:
    names = ("mlsys_version", "python", "platform", "seed", "threads", "data_fingerprint", "packages", "git")
    texts = [json.loads(run.manifest.to_text()) for run in (first, second)]
    left, right = ({name: text[name] for name in names} for text in texts)
    for where, one, other, _ in _tree_differences("$", left, right):
        yield Difference(MANIFEST, where, one, other, "may explain it")


READERS: dict[str, Callable[[bytes, bytes], Iterator[ValueDifference]]] = {
    "metrics.json": _json_differences,
    "predictions.parquet": _parquet_differences,
    "folds.parquet": _parquet_differences,
    GOLDEN_FILE: _parquet_differences,
    "threshold.json": _json_differences,
    "model/calibration.json": _json_differences,
    "audit.json": _json_differences,
    "schema.json": _json_differences,
    "reference.json": _json_differences,
    "config.yaml": _yaml_differences,
}
