"""The panel as a data scientist writes it with pandas: a loop over as-ofs, a group-by for each window.

    python benchmarks/panels/pandas_loop.py FOLDER

Reads what `here.py` left in the folder, writes a file for each as-of to FOLDER/pandas, and prints its cost as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

PRODUCTS = ["contacts", "companies", "deals", "email"]
KINDS = ["actions", "users"]
COLUMNS = [f"{kind}_{product}" for kind in KINDS for product in PRODUCTS]
WINDOWS = {"7d": 7, "28d": 28, "84d": 84, "all": 100_000}


def features(events: pd.DataFrame, accounts: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return one row per account that has not converted by the as-of, from the events known by then."""
    known = events[events["known"] <= as_of]
    rows = accounts[accounts["outcome"].isna() | (accounts["outcome"] > as_of)][["id"]].set_index("id").sort_index()
    for window, days in WINDOWS.items():
        recent = known[known["known"] > as_of - pd.Timedelta(days=days)]
        grouped = recent.groupby("id")
        for kind in KINDS:
            rows[f"{kind}_sum_{window}"] = grouped[kind].sum()
            rows[f"{kind}_max_{window}"] = grouped[kind].max()
            rows[f"{kind}_active_{window}"] = recent[recent[kind] > 0].groupby("id").size()
        if window != "7d":
            for column in COLUMNS:
                rows[f"{column}_sum_{window}"] = grouped[column].sum()
        if window == "28d":
            rows["activity"] = grouped["users"].max()
    rows = rows.fillna(0.0)
    for column in ["actions", *(f"actions_{product}" for product in PRODUCTS)]:
        rows[f"{column}_recency"] = (as_of - known[known[column] > 0].groupby("id")["known"].max()).dt.days
    rows["tenure"] = (as_of - known[known["actions"] > 0].groupby("id")["known"].min()).dt.days
    for kind in KINDS:
        recent, both = rows[f"{kind}_sum_28d"], rows[f"{kind}_sum_84d"]
        rows[f"{kind}_trend"] = np.log1p(recent) - np.log1p((both - recent) * 28 / 56)
    total = rows["actions_sum_84d"].replace(0, np.nan)
    for product in PRODUCTS:
        rows[f"actions_{product}_share"] = rows[f"actions_{product}_sum_84d"] / total
    rows["products_used"] = (rows[[f"actions_{product}_sum_84d" for product in PRODUCTS]] > 0).sum(axis=1)
    rows["actions_per_user"] = rows["actions_sum_28d"] / rows["users_sum_28d"].replace(0, np.nan)
    return rows.reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    as_ofs = json.loads((given.folder / "as_ofs.json").read_text())
    (given.folder / "pandas").mkdir()
    start, cores = time.perf_counter(), time.process_time()
    events, accounts = (pd.read_parquet(given.folder / f"{name}.parquet") for name in ("events", "entities"))
    events["known"], accounts["outcome"] = pd.to_datetime(events["known"]), pd.to_datetime(accounts["outcome"])
    events["actions"] = events[[f"actions_{product}" for product in PRODUCTS]].sum(axis=1)
    events["users"] = events[[f"users_{product}" for product in PRODUCTS]].max(axis=1)
    rows = 0
    for as_of in as_ofs:
        table = features(events, accounts, pd.Timestamp(as_of))
        table.to_parquet(given.folder / "pandas" / f"{as_of}.parquet", compression="zstd")
        rows += len(table)
    cost = (time.perf_counter() - start, time.process_time() - cores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"rows": rows, "build": cost, "peak_mb": peak}))


if __name__ == "__main__":
    main()
