"""Which database a URL names."""

from __future__ import annotations

from pathlib import Path

from mlsys.redaction import without_password
from serve.predictions.errors import LogError
from serve.predictions.postgres import PostgresStore
from serve.predictions.sqlite import SqliteStore
from serve.predictions.store import PredictionStore

POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
ADVICE = (
    "Give sqlite:///predictions.db (a file in the working folder), sqlite:////var/lib/mlsys/predictions.db (an "
    "absolute path) or postgresql://user:password@host:5432/database."
)


def store_from_url(url: str | Path, *, durable: bool = False) -> PredictionStore:
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
