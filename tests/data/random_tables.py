"""Random tables of a CRM with everything that databases treat differently."""

import numpy as np
import pandas as pd

LETTERS = ["a", "B", "Ä", "_", "é", "你", "😀", "ß"]
SIZES = ["1", "2 to 5", "51 to 200", "10,001 or more", "", " x ", "１２", None]
SECTORS = [
    "COMPUTER_SOFTWARE",
    "Technology - Software",
    "İSTANBUL BANKİNG",
    "Küche",
    "Ban\u212aing",
    "",
    None,
    "\t law\n",
]
RANKS = [16_000_001, 90_000, 2_500_000, 0, None]
PRODUCTS = ["CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL"]


def random_tables(seed: int, accounts: int = 40, events: int = 500) -> dict[str, pd.DataFrame]:
    """Return accounts with ids in several scripts, duplicate rows and odd attributes, customers and their usage.

    Usage has several rows of an account on one day, rows of unknown accounts, rows after the last as-of, fractions of
    all sizes, missing counts, and a product that nobody uses.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"{LETTERS[number % len(LETTERS)]}{number // 3}" for number in range(accounts)], dtype=object)
    rows = pd.DataFrame(
        {
            "id": ids,
            "ALEXA_RANK": pd.Series(rng.choice(RANKS, accounts)).astype("Int64"),
            "EMPLOYEE_RANGE": rng.choice(SIZES, accounts),
            "INDUSTRY": rng.choice(SECTORS, accounts),
        }
    )
    copies = rows.sample(accounts // 4, random_state=seed)
    copies = copies.assign(
        INDUSTRY=rng.choice(["Zeta", "alpha", "Beta", None], len(copies)),
        EMPLOYEE_RANGE=rng.choice(["7", None], len(copies)),
    )
    free, paid = rows.iloc[accounts // 3 :], rows.iloc[: accounts // 3]
    days = pd.to_timedelta(rng.integers(0, 300, len(paid)), "D") + pd.to_timedelta(
        rng.integers(0, 3, len(paid)) * 11, "h"
    )
    paid = paid.assign(
        CLOSEDATE=(pd.Timestamp("2019-06-01") + days).as_unit("us"),
        MRR=rng.choice([10.1, 99.9, -5, 0, np.nan, 19.99], len(paid)),
    )
    days = pd.to_timedelta(rng.integers(0, 60, events) * 7, "D")
    hours = pd.to_timedelta(rng.choice([0, 0, 11], events), "h")
    usage = pd.DataFrame(
        {
            "id": rng.choice([*ids, "nobody"], events),
            "WHEN_TIMESTAMP": (pd.Timestamp("2019-03-04") + days + hours).as_unit("us"),
        }
    )
    for kind in ("ACTIONS", "USERS"):
        for product in PRODUCTS:
            usage[f"{kind}_{product}"] = _counts(kind, product, events, rng)
    return {"customers": paid, "noncustomers": pd.concat([free, copies], ignore_index=True), "usage_actions": usage}


def _counts(kind: str, product: str, size: int, rng: np.random.Generator) -> pd.Series:
    counts = pd.Series(rng.poisson(1.5, size))
    if product == "EMAIL":
        return counts.astype("Int64").where(rng.random(size) > 0.3)
    if kind == "USERS" and product == "CRM_DEALS":
        return pd.Series(0, counts.index)
    if kind == "ACTIONS" and product == "CRM_DEALS":
        return pd.Series(np.round(rng.gamma(1, 100, size), 2) * rng.choice([0, 1, 1e-7, 1e9], size))
    return counts
