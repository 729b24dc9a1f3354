"""Small synthetic raw tables of a shop, and runs on them."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pytest

from mlsys.data.config import EventsData
from mlsys.data.panel import PanelRequest, build_panel
from mlsys.data.rebuild import Rebuild
from mlsys.data.sources import canonical_entities, canonical_events, open_tables
from mlsys.evaluation.audit import AuditSubject
from mlsys.evaluation.splits import Backtest

WEEKS = 30
END = date(2020, 7, 27)


def write_shop(folder, count=60, seed=0):
    """Write accounts, orders and weekly visits; a third of the accounts order once and keep visiting."""
    generator = np.random.default_rng(seed)
    ids = np.arange(count) + 1
    sizes = np.where(generator.random(count) < 0.2, None, generator.integers(1, 500, count).astype(object))
    accounts = pd.DataFrame({"id": ids, "SIZE": sizes, "SECTOR": generator.choice(["retail", "health"], count)})
    buyers = ids[::3]
    days = pd.Timestamp("2020-02-03") + pd.to_timedelta(generator.integers(0, 175, len(buyers)), "D")
    orders = pd.DataFrame({"account": buyers, "DAY": days, "WORTH": generator.integers(10, 99, len(buyers)) * 1.0})
    visits = pd.DataFrame(
        [(account, week) for account in ids for week in range(WEEKS) if generator.random() < 0.4],
        columns=["account", "WEEK"],
    )
    visits["N_WEB"], visits["N_APP"] = generator.integers(0, 20, (2, len(visits)))
    visits["U_WEB"], visits["U_APP"] = generator.integers(0, 4, (2, len(visits)))
    visits["WEEK"] = pd.Timestamp("2020-01-06") + pd.to_timedelta(7 * visits["WEEK"], "D")
    for name, table in {"accounts": accounts, "orders": orders, "visits": visits}.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def shop_config(folder):
    return EventsData.model_validate(
        {
            "kind": "events",
            "name": "shop",
            "dir": str(folder),
            "entities": {"tables": ["accounts"], "id": "id", "attributes": {"size": "SIZE", "sector": "SECTOR"}},
            "outcome": {"table": "orders", "id": "account", "time": "DAY", "value": "WORTH"},
            "events": {
                "table": "visits",
                "id": "account",
                "time": "WEEK",
                "available_after_days": 7,
                "measures": {"actions": {"web": "N_WEB", "app": "N_APP"}, "users": {"web": "U_WEB", "app": "U_APP"}},
                "activity": {"measure": "users"},
            },
        }
    )


@dataclass(frozen=True)
class Shop:
    """Opened tables, and methods that make runs on them."""

    data: EventsData
    raw: object

    def rebuild(self, blocks):
        return Rebuild(self.data, self.raw, blocks, END)

    def panel(self, blocks, as_ofs, horizon_days=None):
        products = {kind: tuple(names) for kind, names in self.data.events.measures.items()}
        days = horizon_days or self.data.horizon_days
        request = PanelRequest(blocks, as_ofs, days, END, self.data.events.activity, products)
        return build_panel(canonical_entities(self.data, self.raw), canonical_events(self.data, self.raw), request)

    def subject(self, blocks, *, as_ofs=None, split=None, horizon_days=None, **changes):
        as_ofs = as_ofs or [day.date() for day in pd.date_range("2020-02-03", periods=6, freq="28D")]
        panel = self.panel(blocks, as_ofs, horizon_days)
        data = self.data.model_copy(update={"horizon_days": horizon_days or self.data.horizon_days})
        folds = (split or Backtest(folds=2, horizon_days=data.horizon_days)).split(panel.frame)
        tested = np.concatenate([fold.test for fold in folds])
        predictions = panel.frame.iloc[tested].assign(score=panel.frame["activity"])
        facts = {"refit": None, "forbidden": {"id": "the entity's id", "DAY": "the outcome's time"}, "seed": 0}
        facts["rebuild"] = Rebuild(data, self.raw, blocks, END)
        return AuditSubject(panel, folds, predictions, data.horizon_days, **facts | changes)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    data = shop_config(folder)
    return Shop(data, open_tables(data, threads=1))
