"""Every engine computes the same panel to the last bit, and engines that cannot be used give clear errors."""

from contextlib import contextmanager

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.util import gen_name

from mlsys.data.backends import Database
from mlsys.data.engines import connect, engine_problems
from mlsys.data.load import check_source, load_events
from mlsys.errors import ConfigError, DataError
from mlsys.features import FeatureInfo, Presence, TableBlock
from tests.data.random_tables import random_tables

# Ibis 12 uses a pandas option that pandas 3 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option is deprecated")

AS_OFS = ["2019-06-03", "2019-09-02", "2019-12-02", "2020-03-02"]
# PySpark's own, and of its sockets to Java
QUIET_SPARK = pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark", "ignore::ResourceWarning")
ON_SPARK = [pytest.mark.slow, QUIET_SPARK]
SPARK_CONFIG = {
    "spark.ui.enabled": "false",
    # Faster for small tables:
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="module")
def spark():
    """The URL of a Spark session on two cores, which lasts as a user's own does."""
    pytest.importorskip("pyspark")
    url = "pyspark://local[2]"
    if problems := engine_problems(url):
        pytest.skip(problems[0].brief)  # no Java
    with pytest.MonkeyPatch.context() as patch:
        settings = " ".join(f"--conf {key}={value}" for key, value in SPARK_CONFIG.items())
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"{settings} pyspark-shell")
        connection = connect(url, "data.engine")
    yield url
    connection.disconnect()


@pytest.fixture
def postgres(postgresql):
    """The URL of a PostgreSQL server."""
    return postgresql.replace("postgresql+psycopg://", "postgres://")


class LateRows(TableBlock):
    """A block that joins by itself."""

    infos = (FeatureInfo("known_rows", "number", "rows known by the as-of"),)

    def table(self, spine, events):
        seen = spine.join(events, [spine.id == events.id, events.known_day <= spine.as_of_day])
        counts = seen.group_by("id", "as_of_day").aggregate(known_rows=seen.count())
        keys = spine.select("id", "as_of_day")
        return keys.left_join(counts, ["id", "as_of_day"]).select("id", "as_of_day", "known_rows")


@pytest.fixture(scope="module")
def load(crm, usage_blocks, tmp_path_factory):
    """Return a function that saves tables as files and loads their panel."""

    everything = [*usage_blocks, Presence(), LateRows()]

    def load_(frames, schema="", blocks=everything, **changes):
        folder = tmp_path_factory.mktemp("tables")
        for name, frame in frames.items():
            pq.write_table(arrow(frame), folder / f"{name}.parquet")
        given = {"dir": str(folder), "cache": False, "spine": {"dates": AS_OFS, "start": AS_OFS[0]}} | changes
        data = in_schema(crm.data(**given), schema)
        raw = check_source(data, blocks, threads=1)
        try:
            return load_events(data, blocks, raw).panel.frame
        finally:
            if raw.connection.name != "pyspark":  # whose session other tests use
                raw.connection.disconnect()

    return load_


def arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize(
    ("engine", "seed"), [("postgres", 0), ("postgres", 1), pytest.param("spark", 2, marks=ON_SPARK)]
)
def test_the_panel_of_files_is_the_same_on_every_engine(engine, seed, load, request):
    frames, sizes = random_tables(seed), []
    for negatives in (1.0, 0.4):
        expected = load(frames, negatives=negatives)
        assert expected["label"].any()
        assert (expected["actions_deals_sum_all"] % 1 > 0).any()
        found = load(frames, negatives=negatives, engine=request.getfixturevalue(engine))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        sizes.append(len(found))
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    ("server", "engine", "negatives"),
    [
        ("postgres", None, 1.0),
        ("postgres", None, 0.4),
        ("postgres", "duckdb://", 0.4),
        pytest.param("spark", None, 1.0, marks=ON_SPARK),
    ],
)
def test_the_panel_of_a_server_is_the_same_there_and_here(server, engine, negatives, load, request):
    frames, url = random_tables(3), request.getfixturevalue(server)
    with stored(frames, url) as schema:
        found = load(frames, schema, dir=None, url=url, engine=engine, negatives=negatives)
    pd.testing.assert_frame_equal(found, load(frames, negatives=negatives), check_exact=True)


@contextmanager
def stored(frames, url):
    """Keep tables on a server; return what their names begin with, such as the schema and a point."""
    connection = connect(url, "data.url")
    if connection.name == "pyspark":
        for name, frame in frames.items():
            connection._session.createDataFrame(arrow(frame)).createOrReplaceTempView(name)
        yield ""
        return
    schema = gen_name("crm")
    connection.create_database(schema)
    for name, frame in frames.items():
        connection.create_table(name, arrow(frame), database=schema)
    with pytest.raises(DataError, match=r"Table '.*customer' not found in the database, .* Closest: 'customers'"):
        Database(connection, []).table(f"{schema}.customer")
    yield f"{schema}."
    connection.disconnect()


def in_schema(data, schema):
    """Return the data config with the tables of a schema."""
    entities = data.entities.model_copy(update={"tables": [schema + name for name in data.entities.tables]})
    outcome = data.outcome.model_copy(update={"table": schema + data.outcome.table})
    events = data.events.model_copy(update={"table": schema + data.events.table})
    return data.model_copy(update={"entities": entities, "outcome": outcome, "events": events})


def test_an_engine_builds_only_the_as_ofs_that_are_not_cached(postgres, load, tmp_path, caplog):
    caplog.set_level("INFO")
    cached = {"engine": postgres, "cache": True, "cache_dir": tmp_path, "blocks": [Presence()]}
    frames = random_tables(3)
    load(frames, **cached, spine={"dates": AS_OFS[:3], "start": AS_OFS[0]})
    caplog.clear()
    found = load(frames, **cached)
    assert "panel: 4 as-ofs, 3 of them from the cache" in caplog.text
    pd.testing.assert_frame_equal(found, load(frames, blocks=[Presence()]), check_exact=True)
    caplog.clear()
    load(frames, **cached)
    assert "computed by" not in caplog.text  # nothing was left to compute, so nothing was copied


@pytest.mark.parametrize(
    ("url", "allowed", "nearest"),
    [
        ("pyspak://local", "an Ibis URL such as duckdb://", "pyspark://"),
        ("spark", "an Ibis URL such as duckdb://", "spark://"),
        ("pyspark://locl", "pyspark://local[2], pyspark://yarn", "pyspark://local"),
        ("http://host:8080", "an Ibis URL such as duckdb://", None),
        ("duckdb://crm.duckdb", "duckdb://, which computes the panel in this process", None),
        ("bigquery://project", r"an engine that is installed: run pip install 'ibis-framework[bigquery]'", None),
    ],
)
def test_engines_that_cannot_be_used_are_named_before_the_run(crm, usage_blocks, url, allowed, nearest):
    with pytest.raises(ConfigError) as error:
        check_source(crm.data(engine=url), usage_blocks)
    (problem,) = error.value.problems
    assert (problem.where, problem.got, problem.closest) == ("data.engine", url, nearest)
    assert allowed in problem.allowed


def test_the_extra_of_an_engine_that_is_not_installed(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.delattr(ibis, "pyspark", raising=False)
    monkeypatch.setattr(ibis, "__getattr__", missing)
    assert engine_problems("spark://host:7077")[0].allowed.endswith("run pip install 'mlsys[spark]'")


def test_spark_without_java(monkeypatch, tmp_path):
    pytest.importorskip("pyspark")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "needs Java 17 or 21" in engine_problems("pyspark://local[2]")[0].allowed
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    assert engine_problems("pyspark://local[2]") == []


def test_passwords_of_engines_are_hidden():
    (problem,) = engine_problems("mysql://ann:s3cret@host/crm")
    assert problem.got == "mysql://ann:***@host/crm"


def test_an_engine_that_does_not_answer(load):
    with pytest.raises(DataError, match=r"(?s)Cannot connect to the 'postgres' backend \(data\.engine\)"):
        load(random_tables(0), engine="postgres://ann@localhost:1/crm")


def test_a_spark_cluster_that_does_not_answer(monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setattr(sql.SparkSession, "getActiveSession", lambda: None)  # other tests may have one
    with pytest.raises(DataError, match=r"no Spark master answers \(localhost:1: .*refused; localhost:2: .*refused"):
        connect("spark://localhost:1,localhost:2", "data.engine")


@pytest.mark.slow
@QUIET_SPARK
def test_a_process_has_one_spark_session(spark):
    with pytest.raises(DataError, match=r"already has a Spark session on local\[2\]"):
        connect("spark://host:7077", "data.engine")
    assert connect("pyspark://", "data.engine").name == "pyspark"
