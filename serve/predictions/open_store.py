"""Create the store for the URL of a prediction log."""

from __future__ import annotations

from pathlib import Path

from mlsys.redaction import without_password
from serve.predictions.errors import LogError
from serve.predictions.postgres import PostgresStore
from serve.predictions.sqlite import SqliteStore
from serve.predictions.store import PredictionStore

POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
ADVICE = (
    "Use sqlite:///predictions.db (a file in the working directory), sqlite:////var/lib/mlsys/predictions.db (an "
    "absolute path) or postgresql://user:password@host:5432/database."
)


def store_from_url(url: str | Path, *, durable: bool = False) -> PredictionStore:
    """Return the store for a URL; a path is an SQLite file. Nothing is opened.

    Parameters
    ----------
    url : str or Path
        ``sqlite:///FILE`` or ``postgresql://…``.
    durable : bool
        Whether a commit must survive a power failure; PostgreSQL decides this by its own settings.

    Raises
    ------
    LogError
        If the URL does not name a supported database.

    Examples
    --------
    >>> store_from_url("sqlite:///predictions.db").name
    'sqlite:///predictions.db'
    >>> store_from_url("postgresql://ann:secret@db/crm").name
    'postgresql://ann:***@db/crm'
    """
    if isinstance(url, Path) or "://" not in url:
        return SqliteStore(Path(url), durable=durable)
    scheme, _, rest = url.partition("://")
    if scheme in POSTGRES:
        return PostgresStore(f"postgresql://{rest}", name=without_password(url))
    if scheme != "sqlite":
        raise LogError(f"Unsupported prediction log {scheme!r}. {ADVICE}")
    if len(rest) < 2 or not rest.startswith("/") or "?" in rest:
        raise LogError(f"No file name in {url}. {ADVICE}")
    return SqliteStore(Path(rest[1:]), durable=durable)
