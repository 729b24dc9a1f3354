"""Where predictions are kept: what a store can do, and which one a URL names."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlsys.redaction import without_password
from serve.predictions.errors import LogError
from serve.predictions.row import Cells

SCHEMA_VERSION = 1
POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
ADVICE = (
    "Give sqlite:///predictions.db (a file in the working folder), sqlite:////var/lib/mlsys/predictions.db (an "
    "absolute path) or postgresql://user:password@host:5432/database."
)


@dataclass(frozen=True)
class Wanted:
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


class Store(Protocol):
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

    def read(self, wanted: Wanted) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in the order in which they were written, by portions; the columns are those of `Cells`."""
        ...

    def close(self) -> None:
        """Close the connection, be it broken."""
        ...


def new_writer() -> str:
    """Return a name under which a store's batches are counted."""
    return secrets.token_hex(8)


def check_version(found: int, name: str) -> None:
    """Refuse tables of a newer version."""
    if found > SCHEMA_VERSION:
        raise LogError(
            f"The prediction log {name} has version {found}; this mlsys reads and writes version {SCHEMA_VERSION}. "
            "Upgrade mlsys, or log to another database. Nothing was changed."
        )


def not_ours(name: str) -> LogError:
    """Return the error for a database in which another program has a table of the same name."""
    return LogError(
        f"{name} already has a table `predictions`, which is no prediction log of mlsys. Log to another database."
    )


def store_of(url: str | Path, *, durable: bool = False) -> Store:
    """Return the store that a URL names; a path is an SQLite file. Nothing is opened.

    Parameters
    ----------
    url : str or Path
        ``sqlite:///FILE`` or ``postgresql://…``.
    durable : bool
        Whether a commit must survive a power failure; in PostgreSQL it does as far as the server is set so.

    Raises
    ------
    LogError
        Where the URL names no database that can be written.

    Examples
    --------
    >>> store_of("sqlite:///predictions.db").name
    'sqlite:///predictions.db'
    >>> store_of("postgresql://ann:secret@db/crm").name
    'postgresql://ann:***@db/crm'
    """
    from serve.predictions.postgres import PostgresStore
    from serve.predictions.sqlite import SqliteStore

    if isinstance(url, Path) or "://" not in url:
        return SqliteStore(Path(url), durable=durable)
    scheme, _, rest = url.partition("://")
    if scheme in POSTGRES:
        return PostgresStore(f"postgresql://{rest}", shown=without_password(url))
    if scheme != "sqlite":
        raise LogError(f"A prediction log cannot be kept in {scheme!r}. {ADVICE}")
    if len(rest) < 2 or not rest.startswith("/") or "?" in rest:
        raise LogError(f"{url} names no file. {ADVICE}")
    return SqliteStore(Path(rest[1:]), durable=durable)
