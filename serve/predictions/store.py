"""What a database of predictions can do."""

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
    """Which predictions to read.

    Attributes
    ----------
    since, until : float or None
        Seconds since 1970: made from then on, before then.
    model, version : str or None
        Of this model, of this version.
    shadow : bool or None
        Silent ones only, answered ones only, or both (None).
    features : bool
        Whether to read the inputs too.
    """

    since: float | None = None
    until: float | None = None
    model: str | None = None
    version: str | None = None
    shadow: bool | None = False
    features: bool = False


class PredictionStore(Protocol):
    """A database with predictions, used by one thread.

    Attributes
    ----------
    name : str
        For people; without any secret.
    """

    name: str

    def open(self) -> None:
        """Connect, and make the tables or check that they are ours; nothing where it is open already.

        Raises
        ------
        LogUnavailable
            Where a later attempt may succeed.
        LogError
            Where none will, before somebody changes something.
        """
        ...

    def write(self, cells: Sequence[Cells], batch: int) -> None:
        """Write rows in one transaction; nothing where the batch that this store wrote last has this number.

        The number makes a batch safe to repeat where the connection broke during the commit, which leaves open whether
        it took place.

        Raises
        ------
        LogUnavailable
            Where a later attempt may succeed.
        RowRefusedError
            Where none will.
        """
        ...

    def read(self, wanted: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in the order in which they were written, by portions; the columns are those of `Cells`."""
        ...

    def close(self) -> None:
        """Close the connection, be it broken."""
        ...


def new_writer_id() -> str:
    """Return a name under which a store's batches are counted."""
    return secrets.token_hex(8)


def check_version(found: int, name: str) -> None:
    """Refuse tables of a newer version."""
    if found > SCHEMA_VERSION:
        raise LogError(
            f"The prediction log {name} has version {found}; this mlsys reads and writes version {SCHEMA_VERSION}. "
            "Upgrade mlsys, or log to another database. Nothing was changed."
        )


def foreign_table_error(name: str) -> LogError:
    """Return the error for a database in which another program has a table of the same name."""
    return LogError(
        f"{name} already has a table `predictions`, which is no prediction log of mlsys. Log to another database."
    )
