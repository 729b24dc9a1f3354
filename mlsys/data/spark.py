"""Spark as an engine: sessions by URL, on this machine or on a cluster."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import ibis

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends import BaseBackend

SPARK = "pyspark"
STANDALONE = "spark://"
KINDS = (STANDALONE, "local", "yarn", "k8s://", "/")  # a path is that of Ibis, of the warehouse
ANSWER_SECONDS = 10


def spark_master(url: str) -> str | None:
    """Return the master that a URL names; None to leave it to Spark's own configuration.

    Examples
    --------
    >>> spark_master("spark://host:7077"), spark_master("pyspark://local[2]"), spark_master("pyspark://")
    ('spark://host:7077', 'local[2]', None)
    """
    return url if url.startswith(STANDALONE) else url.partition("://")[2] or None


def is_master(url: str) -> bool:
    """Whether a URL names a kind of master that Spark has, or none."""
    return (spark_master(url) or "local").startswith(KINDS)


def has_java() -> bool:
    """Whether there is a Java for Spark to run on."""
    return bool(os.environ.get("JAVA_HOME")) or shutil.which("java") is not None


def has_session() -> bool:
    """Whether this process has a Spark session already."""
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


def connect_spark(url: str) -> BaseBackend:
    """Return a connection to the session of this process, which is started on the URL's master if there is none.

    Parameters
    ----------
    url : str
        ``spark://host:7077`` for a standalone cluster; ``pyspark://MASTER`` for any other master, such as
        ``pyspark://local[2]`` or ``pyspark://yarn``; ``pyspark://`` for that of Spark's own configuration, and
        ``pyspark:///FOLDER``, as for Ibis, to set the folder of its warehouse too.

    Raises
    ------
    RuntimeError, OSError
        If the process has a session with another master, or Spark does not start on this one.
    """
    from pyspark.sql import SparkSession

    if url.startswith(f"{SPARK}:///"):
        return ibis.connect(url)
    master, session = spark_master(url), SparkSession.getActiveSession()
    if session is None:
        session = _new_session(master)
    found = session.sparkContext.master
    if master not in (None, found):
        raise RuntimeError(f"this process already has a Spark session on {found}; stop it, or use pyspark://")
    return ibis.pyspark.connect(session)


def spark_table(connection: BaseBackend, rows: pa.Table, name: str) -> ir.Table:
    """Copy rows to Spark as a temporary view."""
    from pyspark.sql import SparkSession

    # As Arrow; Ibis would convert them to Python objects.
    SparkSession.builder.getOrCreate().createDataFrame(rows).createOrReplaceTempView(name)
    return connection.table(name)


def _new_session(master: str | None) -> Any:  # noqa: ANN401 - pyspark may not be installed
    from py4j.protocol import Py4JJavaError
    from pyspark.sql import SparkSession

    if master is not None and master.startswith(STANDALONE):
        _require_answer(master)
    builder = SparkSession.builder.appName("mlsys").config("spark.ui.showConsoleProgress", "false")
    try:
        session = (builder.master(master) if master else builder).getOrCreate()
    except Py4JJavaError as error:  # its own text is a page of Java
        raise RuntimeError(str(error.java_exception.getMessage()).partition("\n")[0]) from error
    context = session.sparkContext
    context.setLogLevel("ERROR")
    if str(context.master).startswith("local"):
        # Spark's own 200 are for clusters: on a machine with two cores, small tables take three times as long.
        session.conf.set("spark.sql.shuffle.partitions", str(4 * context.defaultParallelism))
    return session


def _require_answer(master: str) -> None:
    """Raise OSError if no master of a cluster can be reached; Spark itself tries for a minute and a half."""
    failures = []
    for address in master.removeprefix(STANDALONE).split(","):
        host, _, port = address.partition(":")
        try:
            socket.create_connection((host, int(port or 7077)), timeout=ANSWER_SECONDS).close()
        except (OSError, ValueError) as error:
            failures.append(f"{address}: {error}")
        else:
            return
    raise OSError(f"no Spark master answers ({'; '.join(failures)})")
