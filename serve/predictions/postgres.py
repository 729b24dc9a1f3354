"""Prediction log in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from serve.predictions.errors import LogError, LogUnavailableError, RowRejectedError
from serve.predictions.row import Cells
from serve.predictions.store import SCHEMA_VERSION, PredictionFilter, check_version, foreign_table_error, new_writer_id

if TYPE_CHECKING:
    import psycopg

FETCH_SIZE = 10_000
LOCK = 0x6D6C7379  # advisory lock for creating the tables

# A server that disappears silently is noticed in about ten seconds. Settings in the URL take precedence.
CONNECTION_DEFAULTS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "mlsys serve",
}
STATEMENT_TIMEOUT = 10  # seconds

TABLES = (
    """CREATE TABLE predictions (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text,
        as_of date,
        time timestamptz NOT NULL,
        model text NOT NULL,
        version text NOT NULL,
        probability double precision NOT NULL,
        request_id text NOT NULL,
        shadow boolean NOT NULL,
        features json
    )""",
    "CREATE INDEX predictions_time ON predictions (time)",
    "CREATE TABLE predictions_writers (writer text PRIMARY KEY, batch bigint NOT NULL)",
    "CREATE TABLE predictions_version (version integer NOT NULL)",
    f"INSERT INTO predictions_version VALUES ({SCHEMA_VERSION})",
)
COLUMNS = ", ".join(Cells._fields)
CLAIM_BATCH = """INSERT INTO predictions_writers AS known VALUES (%s, %s)
          ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch WHERE known.batch <> excluded.batch"""


class PostgresStore:
    """Predictions in a PostgreSQL database, in the first schema of the search path.

    Parameters
    ----------
    url : str
        ``postgresql://…``, in the format of libpq.
    name : str
        URL without secrets, for messages.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self.name = name
        self._url = url
        self._writer = new_writer_id()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def open(self) -> None:
        """Connect, and create the tables or check that they belong to mlsys."""
        if self._connection is not None:
            return
        psycopg = _library()
        try:
            self._connection = self._connect()
            if _version(self._connection, self.name) is None:
                with self._connection.transaction():
                    self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                    if _version(self._connection, self.name) is None:
                        for statement in TABLES:
                            self._connection.execute(statement)
        except psycopg.Error as error:
            self.close()
            raise self._failure(error) from error
        except LogError:
            self.close()
            raise

    def write(self, cells: Sequence[Cells], batch: int) -> None:
        """Write rows in one transaction, unless this store has already written the batch with this number."""
        psycopg = _library()
        connection = self._connection
        assert connection is not None
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'")
                if connection.execute(CLAIM_BATCH, (self._writer, batch)).rowcount:
                    with connection.cursor().copy(f"COPY predictions ({COLUMNS}) FROM STDIN") as copy:
                        for row in cells:
                            copy.write_row(row._replace(time=datetime.fromtimestamp(row.time, UTC)))  # type: ignore[arg-type]
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
            raise RowRejectedError(_first_line(error)) from error
        except psycopg.Error as error:
            raise self._failure(error) from error

    def read(self, where: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of the rows in the order of writing."""
        psycopg = _library()
        conditions, values = _conditions(where)
        features = "features::text" if where.features else "NULL"
        columns = f"{COLUMNS.removesuffix(', features')}, {features}".replace("as_of", "as_of::text")
        try:
            with contextlib.closing(self._connect()) as connection:
                if _version(connection, self.name) is None:
                    raise LogError(f"No prediction log in the database {self.name}.")
                with connection.transaction(), connection.cursor("predictions") as cursor:
                    cursor.execute(f"SELECT {columns} FROM predictions WHERE {conditions} ORDER BY number", values)
                    while rows := cursor.fetchmany(FETCH_SIZE):
                        yield rows
        except psycopg.Error as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the connection, even if it is broken."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        library = _library()
        try:
            options = library.conninfo.conninfo_to_dict(self._url)
        except library.ProgrammingError:  # its message has the URL with the password
            raise LogError(f"Invalid PostgreSQL URL {self.name}: check its spelling.") from None
        # No prepared statements: a connection pooler may not support them.
        connection: psycopg.Connection[tuple[Any, ...]] = library.connect(
            **(CONNECTION_DEFAULTS | options), autocommit=True, prepare_threshold=None
        )
        return connection

    def _failure(self, error: psycopg.Error) -> LogUnavailableError:
        return LogUnavailableError(f"{self.name}: {_first_line(error)}")


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        import psycopg
    except ImportError as error:
        raise LogError(
            f"A prediction log in PostgreSQL needs psycopg; run pip install 'mlsys[postgres]' ({error})."
        ) from error
    return psycopg


def _first_line(error: Exception) -> str:
    """Return the first line of an error message: the others contain the row, whose features are private."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> int | None:
    """Return the version of the tables, or None if they do not exist yet."""
    query = "SELECT to_regclass('predictions') IS NOT NULL, to_regclass('predictions_version') IS NOT NULL"
    row = connection.execute(query).fetchone()
    assert row is not None
    has_predictions, has_version = row
    if not has_version:
        if has_predictions:
            raise foreign_table_error(name)
        return None
    version = connection.execute("SELECT max(version) FROM predictions_version").fetchone()
    assert version is not None
    check_version(version[0], name)
    return int(version[0])


def _conditions(where: PredictionFilter) -> tuple[str, list[Any]]:
    conditions: dict[str, Any] = {
        "time >= to_timestamp(%s)": where.since,
        "time < to_timestamp(%s)": where.until,
        "model = %s": where.model,
        "version = %s": where.version,
        "shadow = %s": where.shadow,
    }
    used = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(used) or "true", list(used.values())
