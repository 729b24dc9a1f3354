"""Interface of a database of predictions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from serve.predictions.errors import LogError
from serve.predictions.row import Cells

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PredictionFilter:
    """Filter of the predictions to read.

    Attributes
    ----------
    since, until : float or None
        Earliest time (inclusive) and latest time (exclusive), in seconds since 1970.
    model, version : str or None
        Name and version of the model that predicted.
    shadow : bool or None
        Predictions of the shadow (True), of the champion (False), or of both (None).
    features : bool
        Whether to read the model inputs too.
    """

    since: float | None = None
    until: float | None = None
    model: str | None = None
    version: str | None = None
    shadow: bool | None = False
    features: bool = False


class PredictionStore(Protocol):
    """Database of predictions, used by one thread at a time.

    Attributes
    ----------
    name : str
        Name for messages, without secrets.
    """

    name: str

    def open(self) -> None:
        """Connect, and create the tables or check that they belong to mlsys. Does nothing if already open.

        Raises
        ------
        LogUnavailableError
            If a later attempt may succeed.
        LogError
            If no attempt will succeed until the configuration changes.
        """
        ...

    def write(self, cells: Sequence[Cells], batch: int) -> None:
        """Write rows in one transaction, unless this store has already written the batch with this number.

        The number makes it safe to repeat a batch if the connection broke during a commit, when it is unknown whether
        the commit took place.

        Raises
        ------
        LogUnavailableError
            If a later attempt may succeed.
        RowRejectedError
            If no attempt will succeed.
        """
        ...

    def read(self, where: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of the rows in the order of writing; the columns are those of `Cells`."""
        ...

    def close(self) -> None:
        """Close the connection, even if it is broken."""
        ...


def new_writer_id() -> str:
    """Return a random id under which a store numbers its batches."""
    return secrets.token_hex(8)


def check_version(version: int, name: str) -> None:
    """Raise an error if the tables have a newer version."""
    if version > SCHEMA_VERSION:
        raise LogError(
            f"The prediction log {name} has version {version}; this mlsys reads and writes version {SCHEMA_VERSION}. "
            "Upgrade mlsys, or log to another database. Nothing was changed."
        )


def foreign_table_error(name: str) -> LogError:
    """Return the error for a database in which another program owns a table of the same name."""
    return LogError(
        f"{name} already has a table `predictions`, which is not a prediction log of mlsys. Log to another database."
    )
