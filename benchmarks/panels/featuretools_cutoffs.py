"""Sums, maxima and windows of the panel with Featuretools and its cut-off times, for the first accounts.

    python benchmarks/panels/featuretools_cutoffs.py FOLDER --accounts 500

Reads what `here.py` left in the folder, writes the features of all rows to FOLDER/featuretools.parquet, and prints its
cost as JSON. Recency, tenure, shares and trends are left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from pathlib import Path

import pandas as pd

PRODUCTS = ["contacts", "companies", "deals", "email"]
KINDS = ["actions", "users"]
WINDOWS = {"7d": "7 days", "28d": "28 days", "84d": "84 days", "all": None}


def features(events: pd.DataFrame, accounts: pd.DataFrame, cutoffs: pd.DataFrame) -> pd.DataFrame:
    """Return sums and maxima of each window for each account and as-of."""
    import featuretools

    data = featuretools.EntitySet("accounts")
    data.add_dataframe(accounts[["id"]], "accounts", index="id")
    data.add_dataframe(events, "events", index="row", make_index=True, time_index="known")
    data.add_relationship("accounts", "id", "events", "id")
    columns = []
    for window, days in WINDOWS.items():
        made, _ = featuretools.dfs(
            entityset=data,
            target_dataframe_name="accounts",
            agg_primitives=["sum", "max"],
            trans_primitives=[],
            cutoff_time=cutoffs,
            training_window=days,
            cutoff_time_in_index=True,
        )
        made.columns = [f"{name.split('.')[1][:-1]}_{name[:3].lower()}_{window}" for name in made.columns]
        columns.append(made.fillna(0.0))
    return pd.concat(columns, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accounts", type=int, required=True)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    as_ofs = pd.to_datetime(json.loads((given.folder / "as_ofs.json").read_text()))
    events, accounts = (pd.read_parquet(given.folder / f"{name}.parquet") for name in ("events", "entities"))
    accounts = accounts.sort_values("id").head(given.accounts)
    events = events[events["id"].isin(accounts["id"])].assign(known=pd.to_datetime(events["known"]))
    events["actions"] = events[[f"actions_{product}" for product in PRODUCTS]].sum(axis=1)
    events["users"] = events[[f"users_{product}" for product in PRODUCTS]].max(axis=1)
    outcome = pd.to_datetime(accounts["outcome"])
    pieces = [accounts.loc[outcome.isna() | (outcome > day), ["id"]].assign(time=day) for day in as_ofs]
    cutoffs = pd.concat(pieces, ignore_index=True)
    start, cores = time.perf_counter(), time.process_time()
    table = features(events.reset_index(drop=True), accounts, cutoffs)
    cost = (time.perf_counter() - start, time.process_time() - cores)
    table.reset_index().to_parquet(given.folder / "featuretools.parquet")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"accounts": len(accounts), "rows": len(table), "build": cost, "peak_mb": peak}))


if __name__ == "__main__":
    main()
