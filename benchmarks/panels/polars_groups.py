"""The panel as an expert writes it with polars: a lazy group-by for each as-of, all windows in one pass, all cores.

    python benchmarks/panels/polars_groups.py FOLDER

Reads what `here.py` left in the folder, writes a file for each as-of to FOLDER/polars, and prints its cost as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl

PRODUCTS = ["contacts", "companies", "deals", "email"]
KINDS = ["actions", "users"]
COLUMNS = [f"{kind}_{product}" for kind in KINDS for product in PRODUCTS]
WINDOWS = {"7d": 7, "28d": 28, "84d": 84, "all": None}


def aggregates(as_of: date) -> dict[str, pl.Expr]:
    """Return the aggregates over an account's events."""

    def within(column: str, days: int | None) -> pl.Expr:
        recent = pl.col("known") > as_of - timedelta(days=days or 0)
        return pl.col(column).filter(recent) if days else pl.col(column)

    found = {}
    for window, days in WINDOWS.items():
        for kind in KINDS:
            found[f"{kind}_sum_{window}"] = within(kind, days).sum()
            found[f"{kind}_max_{window}"] = within(kind, days).max()
            found[f"{kind}_active_{window}"] = (within(kind, days) > 0).sum()
        if window != "7d":
            found |= {f"{column}_sum_{window}": within(column, days).sum() for column in COLUMNS}
    return found | {"activity": within("users", 28).max()}


def features(events: pl.LazyFrame, accounts: pl.LazyFrame, as_of: date) -> pl.LazyFrame:
    """Return one row per account that has not converted by the as-of, from the events known by then."""
    used = {name: pl.col("known").filter(pl.col(name) > 0) for name in ("actions", *COLUMNS[:4])}
    sums = aggregates(as_of)
    days = {f"{name}_recency": (pl.lit(as_of) - dates.max()).dt.total_days() for name, dates in used.items()}
    days["tenure"] = (pl.lit(as_of) - used["actions"].min()).dt.total_days()
    known = events.filter(pl.col("known") <= as_of).group_by("id").agg(**sums, **days)
    rows = accounts.filter(pl.col("outcome").is_null() | (pl.col("outcome") > as_of)).select("id")
    joined = rows.join(known, on="id", how="left").with_columns(pl.col(list(sums)).fill_null(0))
    growth = {
        f"{kind}_trend": (1 + pl.col(f"{kind}_sum_28d")).log()
        - (1 + (pl.col(f"{kind}_sum_84d") - pl.col(f"{kind}_sum_28d")) * 28 / 56).log()
        for kind in KINDS
    }
    parts = [pl.col(f"actions_{product}_sum_84d") for product in PRODUCTS]
    total, users = pl.col("actions_sum_84d"), pl.col("users_sum_28d")
    shares = {
        f"actions_{product}_share": pl.when(total != 0).then(part / total)
        for product, part in zip(PRODUCTS, parts, strict=True)
    }
    used_products = pl.sum_horizontal([(part > 0).cast(pl.Int64) for part in parts])
    per_user = pl.when(users != 0).then(pl.col("actions_sum_28d") / users)
    return joined.with_columns(**growth, **shares, products_used=used_products, actions_per_user=per_user).sort("id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    as_ofs = [date.fromisoformat(day) for day in json.loads((folder / "as_ofs.json").read_text())]
    (folder / "polars").mkdir()
    start, cores = time.perf_counter(), time.process_time()
    accounts = pl.read_parquet(folder / "entities.parquet").lazy()
    kinds = {kind: [pl.col(f"{kind}_{product}") for product in PRODUCTS] for kind in KINDS}
    events = pl.scan_parquet(folder / "events.parquet").with_columns(
        actions=pl.sum_horizontal(kinds["actions"]), users=pl.max_horizontal(kinds["users"])
    )
    events, rows = events.collect().lazy(), 0
    for as_of in as_ofs:
        table = features(events, accounts, as_of).collect()
        table.write_parquet(folder / "polars" / f"{as_of}.parquet", compression="zstd")
        rows += table.height
    cost = (time.perf_counter() - start, time.process_time() - cores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"rows": rows, "build": cost, "peak_mb": peak}))


if __name__ == "__main__":
    main()
