"""Whether two runs can be compared, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlsys.data.config import file_of
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.rows import Alignment, SharedRows
from mlsys.evaluation.formats import currency
from mlsys.runs.config_diff import flatten
from mlsys.text import counted

Level = Literal["reference", "fully", "partly", "no"]

# Settings that define which rows are positive.
LABEL_KEYS = (
    "data.horizon_days",
    "data.entities.id",
    "data.outcome.table",
    "data.outcome.id",
    "data.outcome.time",
    "data.target",
    "data.positive",
)
# Settings that define what a model may know about a row: if they differ, rows can still be compared.
KNOWLEDGE_KEYS = ("data.events.available_after_days", "data.end")


@dataclass(frozen=True)
class Comparability:
    """Whether a run can be compared with the reference.

    Attributes
    ----------
    level : {"reference", "fully", "partly", "no"}
        "partly": only on some of the rows, those that both scored; "no": differences would be meaningless.
    reasons : tuple of str
        Why the level is not "fully", and other caveats.
    shared : SharedRows or None
        The rows on which the runs are compared.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    shared: SharedRows | None = None


def check_comparable(
    candidates: list[Candidate], number: int, alignment: Alignment | None, positions: Mapping[int, int]
) -> Comparability:
    """Check whether a run can be compared with the reference.

    Parameters
    ----------
    candidates : list of Candidate
    number : int
        Index of the run among the candidates; the reference is 0.
    alignment : Alignment or None
        Alignment of the candidates that have predictions.
    positions : mapping of int to int
        Position in the alignment by index of the candidate.

    Returns
    -------
    Comparability
    """
    reference, other = candidates[0], candidates[number]
    if number == 0:
        return Comparability("reference")
    reasons = list(_different_data(reference, other))
    reasons += [] if kind_of_data(reference) != kind_of_data(other) else other_label(reference, other)
    if alignment is None or 0 not in positions or number not in positions:
        return Comparability("no", (*reasons, "only metrics are available, no predictions to compare row by row"))
    shared = alignment.shared(positions[0], positions[number])
    assert reference.predictions is not None
    assert other.predictions is not None
    if not reasons:
        reasons = list(_different_rows(reference.predictions, other.predictions, shared))
        if not reasons and not alignment.is_certain(positions[0], positions[number]):
            reasons = ["ids are repeated and the rows differ, so the rows cannot be matched"]
    if reasons:
        return Comparability("no", tuple(reasons))
    notes = tuple(_notes(reference, other))
    partial = _partial_overlap(reference.predictions, other.predictions, shared)
    return Comparability("partly" if partial else "fully", (*partial, *notes), shared)


def _different_data(reference: Candidate, other: Candidate) -> Iterator[str]:
    if kind_of_data(reference) != kind_of_data(other):
        yield f"different data: {kind_of_data(other)}, not {kind_of_data(reference)}"
        return
    ours, theirs = reference.fingerprint, other.fingerprint
    if ours != theirs and not (_on_server(reference.config) and _on_server(other.config)):
        yield f"different data: fingerprint {_short(theirs)}, not {_short(ours)}"


def kind_of_data(candidate: Candidate) -> str:
    """Describe the kind of data of a run."""
    kind = (candidate.config.get("data") or {}).get("kind", "unknown")
    return {"events": "entities with events", "table": "a flat table"}.get(kind, str(kind))


def _on_server(config: Mapping[str, Any]) -> bool:
    """Return whether the raw tables are on a database server; the fingerprint then depends on the features too."""
    url = (config.get("data") or {}).get("url")
    return bool(url) and file_of(str(url)) is None


def other_label(reference: Candidate, other: Candidate) -> Iterator[str]:
    """Yield differences in the settings that define which rows are positive."""
    ours, theirs = flatten(reference.config), flatten(other.config)
    for key in LABEL_KEYS:
        if ours.get(key) != theirs.get(key):
            yield f"different label: {key} is {theirs.get(key)}, not {ours.get(key)}"


def _different_rows(ours: pd.DataFrame, theirs: pd.DataFrame, shared: SharedRows) -> Iterator[str]:
    if not len(shared):
        yield f"no rows in common: tested on {_tested(theirs)}, not on {_tested(ours)}"
        return
    first, second = ours.iloc[shared.first], theirs.iloc[shared.second]
    different = int((first["label"].to_numpy() != second["label"].to_numpy()).sum())
    if different:
        yield f"different label: the outcome differs in {different:,} of {counted(len(shared), 'shared row')}"
    folds = np.column_stack([first["fold"].to_numpy(), second["fold"].to_numpy()])
    pairs = len(np.unique(folds, axis=0))
    if pairs > min(len(np.unique(folds[:, 0])), len(np.unique(folds[:, 1]))):
        yield "different folds: rows of one fold are in several folds of the other run"


def _partial_overlap(ours: pd.DataFrame, theirs: pd.DataFrame, shared: SharedRows) -> tuple[str, ...]:
    """Describe the rows that two runs share; empty if they share all rows."""
    if len(shared) == len(ours) == len(theirs):
        return ()
    folds, all_folds = ours["fold"].iloc[shared.first].nunique(), ours["fold"].nunique()
    other_folds = theirs["fold"].nunique()
    return (
        f"compared on {counted(len(shared), 'row')} that both scored, in {folds} of {counted(all_folds, 'fold')}; own "
        f"test rows: {len(theirs):,} in {counted(other_folds, 'fold')}, reference: {len(ours):,}",
    )


def _notes(reference: Candidate, other: Candidate) -> Iterator[str]:
    if reference.fingerprint != other.fingerprint:
        yield "the tables are on a database server, so whether both runs read the same data is unknown"
    first, second = currency(reference.config), currency(other.config)
    if first != second:
        yield f"revenue is in different currencies: metrics.currency is {second or 'null'}, not {first or 'null'}"
    ours, theirs = flatten(reference.config), flatten(other.config)
    sampled = [SAMPLING_WEIGHT in rows for each in (reference, other) if (rows := each.predictions) is not None]
    keys = ("data.negatives", "data.negatives_seed")
    if any(sampled) and (not all(sampled) or [ours.get(key) for key in keys] != [theirs.get(key) for key in keys]):
        yield "negatives were sampled differently: the rows in both samples are weighted to stand for the others"
    for key in KNOWLEDGE_KEYS:
        if ours.get(key) != theirs.get(key):
            yield f"the same rows may have different features: {key} is {theirs.get(key)}, not {ours.get(key)}"


def _tested(rows: pd.DataFrame) -> str:
    days = rows["as_of"].dropna()
    if days.empty:
        return counted(len(rows), "other row")
    first, last = f"{days.min():%Y-%m-%d}", f"{days.max():%Y-%m-%d}"
    return f"as-of {first}" if first == last else f"as-ofs {first} to {last}"


def _short(fingerprint: str | None) -> str:
    return "unknown" if fingerprint is None else fingerprint[:12]
