"""Whether two runs can be compared, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlsys.data.config import file_of
from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.rows import Alignment, Shared
from mlsys.evaluation.formats import count
from mlsys.runs.config_diff import flatten

Level = Literal["reference", "fully", "partly", "no"]

# What decides who counts as positive.
LABEL_KEYS = (
    "data.horizon_days",
    "data.entities.id",
    "data.outcome.table",
    "data.outcome.id",
    "data.outcome.time",
    "data.target",
    "data.positive",
)
# What decides how much a model may know of a row: others make the scores unequal, not the rows.
KNOWLEDGE_KEYS = ("data.events.available_after_days", "data.end")


@dataclass(frozen=True)
class Comparability:
    """Whether a run can be compared with the reference.

    Attributes
    ----------
    level : {"reference", "fully", "partly", "no"}
        "partly": on the rows that both scored, which are not all; "no": differences would mean nothing.
    reasons : tuple of str
        Why it is not "fully", and what else to mind.
    shared : Shared or None
        The rows on which they are compared.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    shared: Shared | None = None


def check_comparable(
    candidates: list[Candidate], number: int, alignment: Alignment | None, place: Mapping[int, int]
) -> Comparability:
    """Say whether a run can be compared with the first one.

    Parameters
    ----------
    candidates : list of Candidate
    number : int
        Which of them.
    alignment : Alignment or None
        Of the rows of those that have predictions.
    place : mapping of int to int
        Where in the alignment a candidate is.

    Returns
    -------
    Comparability
    """
    reference, other = candidates[0], candidates[number]
    if number == 0:
        return Comparability("reference")
    reasons = list(_other_data(reference, other))
    reasons += [] if kind_of_data(reference) != kind_of_data(other) else other_label(reference, other)
    if alignment is None or 0 not in place or number not in place:
        return Comparability(
            "no", (*reasons, "only its numbers are known, not its predictions, so no row can be compared")
        )
    shared = alignment.shared(place[0], place[number])
    assert reference.predictions is not None
    assert other.predictions is not None
    if not reasons:
        reasons = list(_other_rows(reference.predictions, other.predictions, shared))
        if not reasons and not alignment.is_certain(place[0], place[number]):
            reasons = ["ids are repeated and the rows differ, so it cannot be told which rows are the same"]
    if reasons:
        return Comparability("no", tuple(reasons))
    notes = tuple(_notes(reference, other))
    part = _part(reference.predictions, other.predictions, shared)
    return Comparability("partly" if part else "fully", (*part, *notes), shared)


def _other_data(reference: Candidate, other: Candidate) -> Iterator[str]:
    if kind_of_data(reference) != kind_of_data(other):
        yield f"other data: {kind_of_data(other)}, not {kind_of_data(reference)}"
        return
    ours, theirs = reference.fingerprint, other.fingerprint
    if ours != theirs and not (_on_server(reference.config) and _on_server(other.config)):
        yield f"other data: fingerprint {_start(theirs)}, not {_start(ours)}"


def kind_of_data(candidate: Candidate) -> str:
    """Say what kind of data a run was made from."""
    kind = (candidate.config.get("data") or {}).get("kind", "unknown")
    return {"events": "entities with events", "table": "a flat table"}.get(kind, str(kind))


def _on_server(config: Mapping[str, Any]) -> bool:
    """Return whether the raw tables are in a server: the fingerprint is then that of the panel, features included."""
    url = (config.get("data") or {}).get("url")
    return bool(url) and file_of(str(url)) is None


def other_label(reference: Candidate, other: Candidate) -> Iterator[str]:
    """Say in which settings two runs differ that decide who counts as positive."""
    ours, theirs = flatten(reference.config), flatten(other.config)
    for key in LABEL_KEYS:
        if ours.get(key) != theirs.get(key):
            yield f"another label: {key} is {theirs.get(key)}, not {ours.get(key)}"


def _other_rows(ours: pd.DataFrame, theirs: pd.DataFrame, shared: Shared) -> Iterator[str]:
    if not len(shared):
        yield f"no rows in common: it was tested on {_tested(theirs)}, not on {_tested(ours)}"
        return
    first, second = ours.iloc[shared.first], theirs.iloc[shared.second]
    unequal = int((first["label"].to_numpy() != second["label"].to_numpy()).sum())
    if unequal:
        yield f"another label: {count(unequal)} of {count(len(shared))} shared rows have the other outcome"
    folds = np.column_stack([first["fold"].to_numpy(), second["fold"].to_numpy()])
    pairs = len(np.unique(folds, axis=0))
    if pairs > min(len(np.unique(folds[:, 0])), len(np.unique(folds[:, 1]))):
        yield "other folds: rows that were tested together in one are in several folds of the other"


def _part(ours: pd.DataFrame, theirs: pd.DataFrame, shared: Shared) -> tuple[str, ...]:
    """Say on which part of the rows they are compared; nothing if that is all."""
    if len(shared) == len(ours) == len(theirs):
        return ()
    folds = ours["fold"].iloc[shared.first].nunique()
    return (
        f"compared on the {count(len(shared))} rows that both scored, in {folds} of {ours['fold'].nunique()} folds; "
        f"it has {count(len(theirs))} in {theirs['fold'].nunique()}, the reference {count(len(ours))}",
    )


def _notes(reference: Candidate, other: Candidate) -> Iterator[str]:
    if reference.fingerprint != other.fingerprint:
        yield "the tables are in a server, so that it cannot be told whether they were the same"
    ours, theirs = flatten(reference.config), flatten(other.config)
    for key in KNOWLEDGE_KEYS:
        if ours.get(key) != theirs.get(key):
            yield f"it may know something else of the same rows: {key} is {theirs.get(key)}, not {ours.get(key)}"


def _tested(rows: pd.DataFrame) -> str:
    days = rows["as_of"].dropna()
    if days.empty:
        return f"{count(len(rows))} other rows"
    first, last = f"{days.min():%Y-%m-%d}", f"{days.max():%Y-%m-%d}"
    return f"as-of {first}" if first == last else f"as-ofs {first} to {last}"


def _start(fingerprint: str | None) -> str:
    return "unknown" if fingerprint is None else fingerprint[:12]
