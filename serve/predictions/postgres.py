"""A prediction log in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from serve.predictions.errors import LogError, LogUnavailable, RowRefusedError
from serve.predictions.row import Cells
from serve.predictions.store import SCHEMA_VERSION, PredictionFilter, check_version, foreign_table_error, new_writer_id

if TYPE_CHECKING:
    import psycopg

READ_AT_ONCE = 10_000
LOCK = 0x6D6C7379  # of all who make the tables

# A server that is gone without a word is noticed in about ten seconds. What the URL says counts more.
PATIENCE = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "mlsys serve",
}
STATEMENT_SECONDS = 10

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
MARK = """INSERT INTO predictions_writers AS known VALUES (%s, %s)
          ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch WHERE known.batch <> excluded.batch"""


class PostgresStore:
    """Predictions in a PostgreSQL database, in the first schema of the search path.

    Parameters
    ----------
    url : str
        ``postgresql://…``, as libpq takes it.
    shown : str
        The URL without secrets.
    """

    def __init__(self, url: str, *, shown: str) -> None:
        self.name = shown
        self._url = url
        self._writer = new_writer_id()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def open(self) -> None:
        """Connect, and make the tables or check that they are ours."""
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
        """Write rows in one transaction; nothing where the batch that this store wrote last has this number."""
        psycopg = _library()
        connection = self._connection
        assert connection is not None
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
                if connection.execute(MARK, (self._writer, batch)).rowcount:
                    with connection.cursor().copy(f"COPY predictions ({COLUMNS}) FROM STDIN") as copy:
                        for row in cells:
                            copy.write_row(row._replace(time=datetime.fromtimestamp(row.time, UTC)))  # type: ignore[arg-type]
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
            raise RowRefusedError(_said(error)) from error
        except psycopg.Error as error:
            raise self._failure(error) from error

    def read(self, wanted: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in the order in which they were written, by portions."""
        psycopg = _library()
        conditions, values = _conditions(wanted)
        features = "features::text" if wanted.features else "NULL"
        columns = f"{COLUMNS.removesuffix(', features')}, {features}".replace("as_of", "as_of::text")
        try:
            with contextlib.closing(self._connect()) as connection:
                if _version(connection, self.name) is None:
                    raise LogError(f"The database {self.name} has no prediction log.")
                with connection.transaction(), connection.cursor("predictions") as cursor:
                    cursor.execute(f"SELECT {columns} FROM predictions WHERE {conditions} ORDER BY number", values)
                    while rows := cursor.fetchmany(READ_AT_ONCE):
                        yield rows
        except psycopg.Error as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the connection, be it broken."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        library = _library()
        try:
            given = library.conninfo.conninfo_to_dict(self._url)
        except library.ProgrammingError:  # its text shows the URL, with the password
            raise LogError(f"{self.name} is no URL of a PostgreSQL database: check its spelling.") from None
        # Statements are not prepared: a pooler between us and the server may not know them.
        connection: psycopg.Connection[tuple[Any, ...]] = library.connect(
            **(PATIENCE | given), autocommit=True, prepare_threshold=None
        )
        return connection

    def _failure(self, error: psycopg.Error) -> LogUnavailable:
        return LogUnavailable(f"{self.name}: {_said(error)}")


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        import psycopg
    except ImportError as error:
        raise LogError(
            f"A prediction log in PostgreSQL needs psycopg: pip install 'mlsys[postgres]' ({error})."
        ) from error
    return psycopg


def _said(error: Exception) -> str:
    """Return the first line: the others show the row, whose features are nobody's business."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> int | None:
    """Return the version of the tables; None where there are none yet."""
    query = "SELECT to_regclass('predictions') IS NOT NULL, to_regclass('predictions_version') IS NOT NULL"
    row = connection.execute(query).fetchone()
    assert row is not None
    there, ours = row
    if not ours:
        if there:
            raise foreign_table_error(name)
        return None
    found = connection.execute("SELECT max(version) FROM predictions_version").fetchone()
    assert found is not None
    check_version(found[0], name)
    return int(found[0])


def _conditions(wanted: PredictionFilter) -> tuple[str, list[Any]]:
    given: dict[str, Any] = {
        "time >= to_timestamp(%s)": wanted.since,
        "time < to_timestamp(%s)": wanted.until,
        "model = %s": wanted.model,
        "version = %s": wanted.version,
        "shadow = %s": wanted.shadow,
    }
    used = {condition: value for condition, value in given.items() if value is not None}
    return " AND ".join(used) or "true", list(used.values())
