"""Makes the raw tables of the simulated accounts, with the gaps and errors of a CRM export.

Missingness is independent of the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlsys.data.demo.process import BLOCK, PRODUCTS, Bools, Companies, Floats, Ints, Usage, normal, simulate, uniform

_FIRST_MONDAY = np.datetime64("2019-01-07", "D")
_UNRANKED = 16_000_001
_EMPLOYEE_RANGES = (
    *("1", "2 to 5", "6 to 10", "11 to 25", "26 to 50"),
    *("51 to 200", "201 to 1000", "1001 to 10000", "10,001 or more"),
)
# The column mixes two naming schemes: a form's fixed list, and free text. The numbers are weights.
INDUSTRIES = {
    "COMPUTER_SOFTWARE": 170, "MARKETING_AND_ADVERTISING": 60, "HIGHER_EDUCATION": 55,
    "INFORMATION_TECHNOLOGY_AND_SERVICES": 45, "REAL_ESTATE": 30, "CONSUMER_SERVICES": 20, "FINANCIAL_SERVICES": 20,
    "EDUCATION_MANAGEMENT": 17, "CONSTRUCTION": 15, "NON_PROFIT_ORGANIZATION_MANAGEMENT": 14,
    "LEISURE_TRAVEL_TOURISM": 14, "MANAGEMENT_CONSULTING": 13, "RETAIL": 12, "INSURANCE": 11, "PUBLISHING": 11,
    "AUTOMOTIVE": 10, "IMPORT_AND_EXPORT": 9, "HEALTH_WELLNESS_AND_FITNESS": 9, "HOSPITAL_HEALTH_CARE": 8,
    "RESTAURANTS": 7, "DESIGN": 7, "TELECOMMUNICATIONS": 6, "FOOD_BEVERAGES": 6, "E_LEARNING": 5, "ACCOUNTING": 5,
    "LEGAL_SERVICES": 4, "OIL_ENERGY": 4, "BIOTECHNOLOGY": 3,
    "Non-Profit/Educational Institution": 45, "Technology - Software": 40, "Other": 33, "Consulting/Advisory": 20,
    "Manufacturing": 16, "Marketing Services": 13, "Education": 10, "Consumer Products": 10,
    "Finance and Insurance": 8, "Healthcare": 6, "Technology - Hardware and Equipment": 5, "eCommerce": 4,
    "Software / IT": 4, "Finance & Insurance": 3, "Business Services - General": 3, "Media & Publishing": 3,
    "Recruiting/Staffing": 3, "SaaS": 2, "real estate": 1,
}  # fmt: skip
_INDUSTRY_WEIGHTS = np.array(list(INDUSTRIES.values())) / sum(INDUSTRIES.values())
# Fraction of accounts without the field.
_NO_RANK, _NO_EMPLOYEE_RANGE, _NO_INDUSTRY = 0.022, 0.10, 0.74

CUSTOMERS, NONCUSTOMERS, USAGE = "customers.parquet", "noncustomers.parquet", "usage_actions.parquet"
_FIRMOGRAPHICS = [
    ("ALEXA_RANK", pa.int64()),
    ("EMPLOYEE_RANGE", pa.string()),
    ("INDUSTRY", pa.string()),
    ("id", pa.int64()),
]
_COUNTS = [f"{kind}_{product}" for kind in ("ACTIONS", "USERS") for product in PRODUCTS]
# The types that DuckDB infers from the real CSV files.
SCHEMAS = {
    CUSTOMERS: pa.schema([("CLOSEDATE", pa.date32()), ("MRR", pa.float64()), *_FIRMOGRAPHICS]),
    NONCUSTOMERS: pa.schema(_FIRMOGRAPHICS),
    USAGE: pa.schema(
        [("WHEN_TIMESTAMP", pa.timestamp("us")), *((name, pa.int64()) for name in _COUNTS), ("id", pa.int64())]
    ),
}


@dataclass(frozen=True)
class AccountBlock:
    """The accounts of one random stream.

    Attributes
    ----------
    accounts : int
        Number of accounts.
    tables : dict of str to pyarrow Table
        The tables, by file name.
    """

    accounts: int
    tables: dict[str, pa.Table]


def make_block(seed: int, index: int, events: int) -> AccountBlock:
    """Simulate block ``index`` and return its tables.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    index : int
        Index of the block, from 0. The first block has every spelling and kind of error, even for few rows.
    events : int
        Number of usage rows requested: the block is cut after the account that reaches it.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    simulation = simulate(rng, every_size=index == 0)
    usage = simulation.usage
    rows = np.cumsum(np.bincount(usage.account, minlength=BLOCK))
    accounts = min(BLOCK, int(np.searchsorted(rows, events)) + 1)
    if accounts < BLOCK:
        usage = usage.where(usage.account < accounts)
    if index == 0:
        _inject_bad_counts(usage)
    first = index * BLOCK + 1
    tables = _account_tables(rng, simulation.companies, simulation.close, first, accounts)
    return AccountBlock(accounts, {**tables, USAGE: _usage_table(usage, first)})


def _account_tables(
    rng: np.random.Generator, companies: Companies, close: Ints, first: int, accounts: int
) -> dict[str, pa.Table]:
    """Return the tables customers and noncustomers; ``first`` is the id of the block's first account."""
    paying = close >= 0
    rank = np.where(companies.ranked, 13 + 12e6 * uniform(rng, BLOCK) ** 3.3, _UNRANKED).astype(np.int64)
    industry = rng.choice(len(INDUSTRIES), BLOCK, p=_INDUSTRY_WEIGHTS)
    number = first + np.arange(BLOCK)
    complete = number <= len(_EMPLOYEE_RANGES)  # these show every spelling, and some appear twice
    no_rank = ~complete & (uniform(rng, BLOCK) < _NO_RANK)
    no_size = ~complete & (uniform(rng, BLOCK) < _NO_EMPLOYEE_RANGE)
    no_industry = uniform(rng, BLOCK) < _NO_INDUSTRY
    everyone = pa.table(
        {
            "CLOSEDATE": _FIRST_MONDAY + close,
            "MRR": _draw_revenue(rng, companies, paying, with_refund=first == 1),
            "ALEXA_RANK": pa.array(rank, mask=no_rank),
            "EMPLOYEE_RANGE": pa.array(_EMPLOYEE_RANGES).take(pa.array(companies.size, mask=no_size)),
            "INDUSTRY": pa.array(list(INDUSTRIES)).take(pa.array(industry, mask=no_industry)),
            "id": number,
        },
        schema=SCHEMAS[CUSTOMERS],
    )
    inside = np.arange(BLOCK) < accounts
    free = everyone.filter(pa.array(inside & ~paying)).select(SCHEMAS[NONCUSTOMERS].names)
    return {
        CUSTOMERS: everyone.filter(pa.array(inside & paying)),
        NONCUSTOMERS: _with_duplicates(free) if first == 1 else free,
    }


def _draw_revenue(rng: np.random.Generator, companies: Companies, paying: Bools, *, with_refund: bool) -> Floats:
    """Draw each account's monthly revenue if it paid; a few refunds make it zero or negative."""
    revenue = 150 * companies.team**0.4 * np.exp(0.08 * companies.size + 0.6 * normal(rng, BLOCK))
    refunded = uniform(rng, BLOCK) < 0.02
    refunded[np.argmax(paying)] |= with_refund  # the first customer, so that there is one
    revenue = np.clip(revenue, 32, 10_000) * np.where(refunded, rng.choice([0, -1], BLOCK), 1)
    return np.asarray(revenue.round(2) + 0.0)  # + 0.0 turns -0 into 0


def _usage_table(usage: Usage, first: int) -> pa.Table:
    stamp = (_FIRST_MONDAY + 7 * usage.week).astype("datetime64[us]")
    counts = usage.counts.reshape(len(_COUNTS), -1)
    return pa.table(
        {"WHEN_TIMESTAMP": stamp, **dict(zip(_COUNTS, counts, strict=True)), "id": first + usage.account},
        schema=SCHEMAS[USAGE],
    )


def _with_duplicates(free: pa.Table) -> pa.Table:
    """Duplicate three accounts with fewer fields: before the full row, after it and before it."""
    bare = free.slice(0, 3)
    for column in ("ALEXA_RANK", "INDUSTRY"):
        position = bare.schema.get_field_index(column)
        bare = bare.set_column(position, free.schema.field(column), pa.nulls(3, free.schema.field(column).type))
    return pa.concat_tables([bare.slice(0, 1), free.slice(0, 2), bare.slice(1), free.slice(2)])


def _inject_bad_counts(usage: Usage) -> None:
    """Make three rows report more users of contacts than actions on contacts."""
    actions, users = usage.counts[:, 0]
    rows = np.flatnonzero((users > 0) & (actions < 5))[:3]
    users[rows] = actions[rows] + 1
