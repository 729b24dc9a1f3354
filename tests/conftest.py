"""Shared by all tests: an isolated environment and one small CRM as raw tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

CONF = Path(__file__).parents[1] / "conf"
PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")
TABLES = ("customers", "noncustomers", "usage_actions")


def pytest_configure(config: pytest.Config) -> None:
    # Ibis 12 still calls a method by the name that it had before DuckDB 2.
    config.addinivalue_line("filterwarnings", "ignore:fetch_arrow_table:DeprecationWarning")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cache, environment override or Hydra state of the user or of an earlier test reaches a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in [name for name in os.environ if name.startswith("MLSYS__")]:
        monkeypatch.delenv(name)
    _clear_hydra()
    yield
    _clear_hydra()


def _clear_hydra() -> None:
    import sys

    if "hydra" in sys.modules:  # most tests never import it
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig

        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


@dataclass(frozen=True)
class Crm:
    """Raw tables of a small CRM in a folder, and how to name them to the config.

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
    """300 accounts over 60 weeks, 45 of them converters whose teams grow before they convert, and some dirt."""
    folder = tmp_path_factory.mktemp("crm")
    frames = crm_tables()
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return Crm(folder, frames)


def crm_tables(accounts: int = 300, customers: int = 45, weeks: int = 60, seed: int = 5) -> dict[str, pd.DataFrame]:
    """Simulate the raw tables; ids start at 1, the customers come first."""
    rng = np.random.default_rng(seed)
    monday = np.datetime64("2019-01-07")
    close = np.full(accounts, 10_000)
    spread = np.linspace(60, 7 * weeks - 5, customers)  # so that every fold has some
    close[:customers] = rng.permutation(np.round(spread) + rng.integers(-4, 5, customers))
    owner, week = (axis.ravel() for axis in np.meshgrid(np.arange(accounts), np.arange(weeks), indexing="ij"))
    paying = 7 * week > close[owner]
    warm = (close[owner] - 7 * week < 70) & ~paying
    used = rng.random(owner.size) < np.where(paying, 0.8, np.where(warm, 0.6, 0.12))
    owner, week, warm, paying = owner[used], week[used], warm[used], paying[used]
    people = 1 + rng.poisson(np.where(paying, 6, np.where(warm, 3, 0.6)))
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
