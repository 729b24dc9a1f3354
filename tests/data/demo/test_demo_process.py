"""The simulated process is predictable, and the whole history leaks the outcome."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mlsys.data.demo import PRODUCTS, DemoSummary


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def most_users(usage: pa.Table) -> np.ndarray:
    return np.max([column(usage, f"USERS_{product}") for product in PRODUCTS], axis=0)


def rank_auc(score: np.ndarray, label: np.ndarray) -> float:
    """Return the fraction of (positive, negative) pairs that are ranked correctly, with ties counting half."""
    order = np.sort(score[~label])
    below, upto = (np.searchsorted(order, score[label], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / order.size)


def test_time_range(tables: dict[str, pa.Table]) -> None:
    stamps = np.unique(column(tables["usage_actions"], "WHEN_TIMESTAMP")).astype("datetime64[D]")
    assert stamps.tolist() == np.arange("2019-01-07", "2020-07-28", 7, dtype="datetime64[D]").tolist()
    close = column(tables["customers"], "CLOSEDATE")
    assert np.datetime64("2019-01-15") <= close.min()
    assert close.max() <= np.datetime64("2020-08-18")


def test_usage_falls_over_the_holidays(tables: dict[str, pa.Table]) -> None:
    stamps = column(tables["usage_actions"], "WHEN_TIMESTAMP").astype("datetime64[D]")
    actions = np.log1p(column(tables["usage_actions"], "ACTIONS_CRM_CONTACTS"))
    dip = np.isin(stamps, np.array(["2019-12-23", "2019-12-30"], "datetime64[D]"))
    near = np.isin(stamps, np.array(["2019-12-09", "2019-12-16", "2020-01-06", "2020-01-13"], "datetime64[D]"))
    assert actions[dip].sum() / 2 < 0.8 * actions[near].sum() / 4


def test_conversion_rate(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    assert 0.03 < made.customers / made.accounts < 0.05
    close = column(tables["customers"], "CLOSEDATE")
    for start in np.arange("2020-02-24", "2020-07-20", 28, dtype="datetime64[D]"):
        window = (close > start) & (close <= start + 30)
        assert window.sum() >= 10


def test_usage_per_account(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    rows = np.bincount(column(tables["usage_actions"], "id"), minlength=made.accounts + 1)[1:]
    assert 0.2 < (rows == 0).mean() < 0.45
    assert np.median(rows) <= 2
    assert rows.max() > 60


def test_visible_team_size_predicts_conversion(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    usage, close = tables["usage_actions"], np.full(made.accounts + 1, np.datetime64("2100-01-01"))
    close[column(tables["customers"], "id")] = column(tables["customers"], "CLOSEDATE")
    age = np.datetime64("2020-04-27") - column(usage, "WHEN_TIMESTAMP").astype("datetime64[D]")
    recent = (age >= np.timedelta64(7)) & (age < np.timedelta64(35))
    score = np.zeros(made.accounts + 1)
    np.maximum.at(score, column(usage, "id")[recent], most_users(usage)[recent])
    free = (close > np.datetime64("2020-04-27")) & (np.arange(made.accounts + 1) > 0)
    soon = close <= np.datetime64("2020-07-26")
    assert 0.65 < rank_auc(score[free], soon[free]) < 0.95


def test_the_whole_history_leaks_the_outcome(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    usage, paying = tables["usage_actions"], np.zeros(made.accounts + 1, bool)
    paying[column(tables["customers"], "id")] = True
    total = np.bincount(column(usage, "id"), weights=most_users(usage), minlength=paying.size)
    assert rank_auc(total[1:], paying[1:]) > 0.95
