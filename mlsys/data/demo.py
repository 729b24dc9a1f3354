"""Look-alike tables of a freemium CRM: simulated accounts, their weekly usage, and who among them became a customer.

Usage comes before the outcome here, as it does in life: every account first gets a trial history, then a weekly hazard
of converting that its own history drives, and converters go on with the heavier usage of a customer. A model can
therefore learn only from what was visible in time, and summing an account's whole history leaks the answer.

The shares and spreads below were set by eye so that the tables resemble a real snapshot; no real row is in here.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlsys.errors import ConfigError, Problem
from mlsys.runs.logistic import sigmoid

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")
SCRATCH = ".demo-"  # what the folders of unfinished tables begin with
MIN_EVENTS = 2_000  # fewer, and some runs would have hardly a customer

_FIRST_MONDAY = np.datetime64("2019-01-07", "D")
_WEEKS = 82  # the last stamp is 2020-07-27
_SIMULATED = 86  # weeks: usage of August 2020 brings customers, but is not in the tables any more
_HOLIDAYS = (50, 51)  # the stamps 2019-12-23 and 2019-12-30
_FIRST_CLOSE, _LAST_CLOSE = 8, 589  # days after the first Monday: 2019-01-15 and 2020-08-18
_BLOCK = 2_000  # accounts that share one random stream; changing it changes every byte
_ROW_GROUP = 1 << 18  # rows

# Per product: log odds of touching it in an active week, share of the team on it, log of actions per user, its spread.
_APPEAL = np.array([2.7, -0.7, -0.6, -2.3], np.float32)
_SHARE = np.array([1, 0.8, 0.9, 0.45], np.float32)
_PACE = np.array([1.9, 1.4, 1.9, 0.8], np.float32)
_BURST = np.array([1.6, 1.6, 1.5, 0.9], np.float32)

_UNRANKED = 16_000_001
_EMPLOYEE_RANGES = (
    *("1", "2 to 5", "6 to 10", "11 to 25", "26 to 50"),
    *("51 to 200", "201 to 1000", "1001 to 10000", "10,001 or more"),
)
_EMPLOYEE_WEIGHTS = (0.13, 0.23, 0.205, 0.08, 0.12, 0.085, 0.07, 0.07, 0.01)
_RANKED = (0.06, 0.17, 0.36, 0.42, 0.5, 0.63, 0.78, 0.78, 0.82)  # share with an Alexa rank, by employee range
# Two naming schemes meet in the one column: a form's fixed list, and what people typed. The number is a weight.
_INDUSTRIES = {
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
_INDUSTRY_WEIGHTS = np.array(list(_INDUSTRIES.values())) / sum(_INDUSTRIES.values())

_CUSTOMERS, _NONCUSTOMERS, _USAGE = "customers.parquet", "noncustomers.parquet", "usage_actions.parquet"
_FIRMOGRAPHICS = [
    ("ALEXA_RANK", pa.int64()),
    ("EMPLOYEE_RANGE", pa.string()),
    ("INDUSTRY", pa.string()),
    ("id", pa.int64()),
]
_COUNTS = [f"{kind}_{product}" for kind in ("ACTIONS", "USERS") for product in PRODUCTS]
# What DuckDB reads from the real CSV files.
SCHEMAS = {
    _CUSTOMERS: pa.schema([("CLOSEDATE", pa.date32()), ("MRR", pa.float64()), *_FIRMOGRAPHICS]),
    _NONCUSTOMERS: pa.schema(_FIRMOGRAPHICS),
    _USAGE: pa.schema(
        [("WHEN_TIMESTAMP", pa.timestamp("us")), *((name, pa.int64()) for name in _COUNTS), ("id", pa.int64())]
    ),
}


@dataclass(frozen=True)
class DemoSummary:
    """What `generate` wrote.

    Attributes
    ----------
    accounts : int
        Different ids, customers included.
    customers : int
        Accounts that converted by 2020-08-18.
    events : int
        Usage rows: one per account and week with a row.
    files : tuple of Path
        customers.parquet, noncustomers.parquet and usage_actions.parquet.
    """

    accounts: int
    customers: int
    events: int
    files: tuple[Path, ...]


def generate(
    folder: Path,
    *,
    events: int = 40_000,
    seed: int = 0,
    chunk_accounts: int = 20_000,
    progress: Callable[[int], None] | None = None,
) -> DemoSummary:
    """Simulate accounts until they have the wanted number of usage rows, and write the three tables as Parquet.

    Memory does not grow with ``events``. The same seed and events give the same bytes (with the same library versions,
    on the same kind of machine), and a larger table starts with the accounts of a smaller one. The files get their
    names only when all three are complete, usage_actions.parquet last; a killed run can leave a folder ``.demo-*``;
    from the cache, the next run that wants demo tables removes it.

    Parameters
    ----------
    folder : Path
        Where the tables go; made if absent. Earlier tables in it are replaced.
    events : int
        Usage rows wanted, at least 2,000; less than one account's rows (82) more are written.
    seed : int
        Not negative.
    chunk_accounts : int
        Accounts held in memory between two writes (in whole blocks of 2,000); does not change the files.
    progress : callable, optional
        Called after each chunk with the usage rows written so far.

    Returns
    -------
    DemoSummary
        Counts, and where the files are.

    Raises
    ------
    ConfigError
        When ``events``, ``seed`` or ``chunk_accounts`` is too small.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = generate(Path(folder), events=5_000, seed=1)
    >>> [path.name for path in summary.files]
    ['customers.parquet', 'noncustomers.parquet', 'usage_actions.parquet']
    >>> 5_000 <= summary.events < 5_082
    True
    """
    _check(events, seed, chunk_accounts)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as scratch:
        with _Tables(Path(scratch)) as tables:
            for blocks in _batched(_blocks(events, seed), max(1, chunk_accounts // _BLOCK)):
                tables.write(blocks)
                if progress:
                    progress(tables.rows[_USAGE])
        files = tuple((Path(scratch) / name).replace(folder / name) for name in SCHEMAS)
    summary = DemoSummary(tables.accounts, tables.rows[_CUSTOMERS], tables.rows[_USAGE], files)
    logger.info("Demo data in %s: %s", folder, summary)
    return summary


def _check(events: int, seed: int, chunk_accounts: int) -> None:
    least = {"events": (events, MIN_EVENTS), "seed": (seed, 0), "chunk_accounts": (chunk_accounts, 1)}
    problems = [
        Problem(name, f"{got:,}", f"a whole number from {allowed:,}")
        for name, (got, allowed) in least.items()
        if got < allowed
    ]
    if problems:
        raise ConfigError(
            "The size of the demo data", problems, "Raise what is too small; 40,000 events are the default."
        )


# ---------------------------------------------------------------------------------------------------------- accounts


@dataclass(frozen=True)
class _Companies:
    """Who the accounts of a block are; all arrays have shape (accounts,)."""

    size: Ints  # index into _EMPLOYEE_RANGES
    ranked: Bools
    zeal: Floats  # how well the product fits them, standard normal; nobody sees it
    team: Floats  # users that the trial can win
    affinity: Floats  # (products, accounts): chance that an active week touches the product
    intensity: Floats  # log of actions per user, beside the product's own


def _companies(rng: np.random.Generator) -> _Companies:
    size = rng.choice(len(_EMPLOYEE_RANGES), _BLOCK, p=_EMPLOYEE_WEIGHTS)
    ranked = _uniform(rng, _BLOCK) < np.take(_RANKED, size)
    zeal, spread, intensity = _normal(rng, 3, _BLOCK)
    team = np.exp(0.1 + 0.06 * np.minimum(size, 5) + 0.45 * zeal + 0.85 * spread).astype(np.float32)
    taste = _normal(rng, len(PRODUCTS), _BLOCK)
    affinity = sigmoid(_APPEAL[:, None] + 0.6 * zeal + 1.7 * taste)
    return _Companies(size, ranked, zeal, np.maximum(team, 1), affinity, -0.3 + 0.3 * zeal + 0.8 * intensity)


# ------------------------------------------------------------------------------------------------------------- usage


@dataclass(frozen=True)
class _Usage:
    """Account-weeks, sorted by account, then week; all arrays have one entry per row."""

    owner: Ints  # position of the account in its block
    week: Ints  # weeks since the first Monday
    counts: NDArray[np.int32]  # (kind, product, rows): actions, then users

    def where(self, keep: Bools) -> _Usage:
        return _Usage(self.owner[keep], self.week[keep], self.counts[:, :, keep])

    def merged(self, other: _Usage) -> _Usage:
        owner, week = np.concatenate([self.owner, other.owner]), np.concatenate([self.week, other.week])
        order = np.argsort(owner * _WEEKS + week, kind="stable")
        counts = np.concatenate([self.counts, other.counts], axis=2)
        return _Usage(owner[order], week[order], counts[:, :, order])


def _trial(rng: np.random.Generator, companies: _Companies) -> _Usage:
    """Use the free product: a third never do, half drop it within a few weeks, some grow a team on it."""
    zeal = companies.zeal
    signup = np.floor(rng.uniform(-22, _SIMULATED, _BLOCK)).astype(np.int64)  # some were there before the data start
    length = np.exp(0.7 + 1.0 * zeal + 1.8 * _normal(rng, _BLOCK))
    silent = _uniform(rng, _BLOCK) < sigmoid(-1.5 - 0.4 * zeal)
    owner, step = _ragged(np.where(silent, 0, 1 + np.minimum(length, 100)).astype(np.int64))

    steady = sigmoid(0.5 + 0.4 * zeal + 0.8 * _normal(rng, _BLOCK))[owner]
    pause = 2 + 5 * rng.standard_exponential(owner.size, dtype=np.float32)
    gap = np.where(_uniform(rng, owner.size) < steady, 1, pause).astype(np.int64)
    gap[step == 0] = 0
    elapsed = np.cumsum(gap)
    week = signup[owner] + elapsed - elapsed[np.arange(owner.size) - step]
    keep = (week >= 0) & (week < _SIMULATED)
    owner, step, week = owner[keep], step[keep], week[keep]

    adopted = 1 - np.exp(-step.astype(np.float32) / 5)  # colleagues join over the first weeks
    team = 1 + (companies.team[owner] - 1) * adopted
    awake = sigmoid(-0.3 + 0.9 * zeal + 0.6 * _normal(rng, _BLOCK))[owner]
    return _work(rng, companies, owner, week, team, awake)


def _paid(rng: np.random.Generator, companies: _Companies, close: Ints) -> _Usage:
    """Use the product as a customer from the week after closing: more people, nearly every week, for longer."""
    first = np.where(close >= 0, np.minimum(close // 7 + 1, _WEEKS), _WEEKS)
    last = np.minimum(_WEEKS, first + rng.exponential(150, _BLOCK)).astype(np.int64)
    owner, step = _ragged(last - first)
    keep = _uniform(rng, owner.size) < 0.9
    owner, step = owner[keep], step[keep]
    week = first[owner] + step
    growth = (0.8 + 2 * _uniform(rng, _BLOCK))[owner] * (1 - 0.4 * np.exp(-step.astype(np.float32) / 8))
    awake = np.full(owner.size, 0.92, np.float32)
    return _work(rng, companies, owner, week, 1 + companies.team[owner] * growth, awake)


def _work(
    rng: np.random.Generator, companies: _Companies, owner: Ints, week: Ints, team: Floats, awake: Floats
) -> _Usage:
    """Draw users and actions per product for account-weeks with a given team and chance of doing anything at all."""
    holiday = np.isin(week, _HOLIDAYS)
    present = ~holiday | (_uniform(rng, owner.size) < 0.85)
    owner, week, team, awake, holiday = owner[present], week[present], team[present], awake[present], holiday[present]

    active = np.flatnonzero(_uniform(rng, owner.size) < awake)
    product, position = np.nonzero(_uniform(rng, len(PRODUCTS), active.size) < companies.affinity[:, owner[active]])
    row = active[position]
    people = team * np.exp(0.25 * _normal(rng, owner.size))
    share = _SHARE[product] * (1 - 0.5 * _uniform(rng, row.size))
    users = np.maximum(1, np.rint(people[row] * share))
    burst = _PACE[product] + _BURST[product] * _normal(rng, row.size)
    per_user = np.exp(np.minimum(burst + companies.intensity[owner[row]], 6.5) - holiday[row])

    counts = np.zeros((2, len(PRODUCTS), owner.size), np.int32)
    counts[0, product, row] = np.maximum(users * per_user, users)
    counts[1, product, row] = users
    return _Usage(owner, week, counts)


# -------------------------------------------------------------------------------------------------------- conversion


def _closing(rng: np.random.Generator, companies: _Companies, trial: _Usage) -> Ints:
    """Draw the day on which each account of the block converts, counted from the first Monday; -1 is never.

    The weekly hazard rises with the team of the latest four weeks, its growth on the four before, and the breadth of
    products; a little with the company's size and rank, and with chance. Some convert with no usage to tell it.
    """
    users = np.asarray(trial.counts[1].max(axis=0), np.float32)
    products = np.asarray((trial.counts[1] > 0).sum(axis=0), np.float32)
    recent = _latest(users, trial, weeks=4)
    before = _latest(users, trial, weeks=8, skip=4)
    breadth = _latest(products, trial, weeks=4)
    known = 0.1 * np.minimum(companies.size, 6) + 0.5 * companies.ranked + 0.8 * _normal(rng, _BLOCK)
    score = 1.6 * np.log1p(recent) + 0.4 * (np.log1p(recent) - np.log1p(before)) + 0.25 * breadth + known[trial.owner]
    hazard = np.minimum(0.08, 0.0005 * np.exp(score)) * (recent > 0)
    won = _uniform(rng, hazard.size) < hazard
    # Sales take their time: the paper is signed some days after the week that decided it.
    day = 7 * trial.week + 4 + rng.exponential(28, hazard.size).astype(np.int64)

    close = np.full(_BLOCK, np.iinfo(np.int64).max)
    np.minimum.at(close, trial.owner[won], day[won])
    unheralded = _uniform(rng, _BLOCK) < 0.007
    close[unheralded] = np.minimum(close, rng.integers(_FIRST_CLOSE, _LAST_CLOSE + 1, _BLOCK))[unheralded]
    return np.where(close <= _LAST_CLOSE, np.maximum(close, _FIRST_CLOSE), -1)


def _latest(values: Floats, usage: _Usage, *, weeks: int, skip: int = 0) -> Floats:
    """Take the maximum over an account's rows that are ``skip`` to ``weeks - 1`` weeks old, 0 without any."""
    latest = np.zeros_like(values) if skip else values.copy()
    for back in range(1, weeks):
        age = usage.week[back:] - usage.week[:-back]
        near = (usage.owner[back:] == usage.owner[:-back]) & (age >= skip) & (age < weeks)
        np.maximum(latest[back:], values[:-back] * near, out=latest[back:])
    return latest


def _ragged(lengths: Ints) -> tuple[Ints, Ints]:
    """Lay out ``lengths[i]`` rows for each i: whose row each is, and its number within that owner."""
    owner = np.repeat(np.arange(lengths.size), lengths)
    return owner, np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def _uniform(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.random(shape, dtype=np.float32)


# ------------------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class _Block:
    """The accounts of one random stream, as tables to be written."""

    accounts: int
    tables: dict[str, pa.Table]


def _blocks(events: int, seed: int) -> Iterator[_Block]:
    """Simulate block after block until there are ``events`` usage rows; the last block is cut where there are."""
    for index in itertools.count():
        block = _simulate(seed, index, events)
        yield block
        events -= block.tables[_USAGE].num_rows
        if events <= 0:
            return


def _simulate(seed: int, index: int, events: int) -> _Block:
    """Simulate block ``index``; only as many accounts as it takes to reach ``events`` rows."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    companies = _companies(rng)
    if index == 0:  # every spelling, however small the table
        companies.size[: len(_EMPLOYEE_RANGES)] = np.arange(len(_EMPLOYEE_RANGES))
    trial = _trial(rng, companies)
    close = _closing(rng, companies, trial)
    usage = trial.where((trial.week < _WEEKS) & ((close[trial.owner] < 0) | (7 * trial.week <= close[trial.owner])))
    usage = usage.merged(_paid(rng, companies, close))

    rows = np.cumsum(np.bincount(usage.owner, minlength=_BLOCK))
    accounts = min(_BLOCK, int(np.searchsorted(rows, events)) + 1)
    if accounts < _BLOCK:
        usage = usage.where(usage.owner < accounts)
    if index == 0:
        _miscount(usage)
    first = index * _BLOCK + 1
    return _Block(
        accounts, {**_account_tables(rng, companies, close, first, accounts), _USAGE: _usage_table(usage, first)}
    )


def _account_tables(
    rng: np.random.Generator, companies: _Companies, close: Ints, first: int, accounts: int
) -> dict[str, pa.Table]:
    """Describe the accounts at the data's end; how much is known of them differs by outcome, as in the real tables."""
    paying = close >= 0
    rank = np.where(companies.ranked, 13 + 12e6 * _uniform(rng, _BLOCK) ** 3.3, _UNRANKED).astype(np.int64)
    industry = rng.choice(len(_INDUSTRIES), _BLOCK, p=_INDUSTRY_WEIGHTS)
    number = first + np.arange(_BLOCK)
    spared = number <= len(_EMPLOYEE_RANGES)  # they show every spelling, and some appear twice
    no_rank = ~paying & ~spared & (_uniform(rng, _BLOCK) < 0.023)
    no_size = ~spared & (_uniform(rng, _BLOCK) < np.where(paying, 0.01, 0.106))
    no_industry = _uniform(rng, _BLOCK) < np.where(paying, 0.645, 0.745)
    revenue = 150 * companies.team**0.4 * np.exp(0.08 * companies.size + 0.6 * _normal(rng, _BLOCK))
    refunded = _uniform(rng, _BLOCK) < 0.02
    refunded[np.argmax(paying)] |= first == 1  # the first customer of all, so that there is one
    revenue = np.clip(revenue, 32, 10_000) * np.where(refunded, rng.choice([0, -1], _BLOCK), 1)

    everyone = pa.table(
        {
            "CLOSEDATE": _FIRST_MONDAY + close,
            "MRR": revenue.round(2) + 0.0,  # a refund of nothing is 0, not -0
            "ALEXA_RANK": pa.array(rank, mask=no_rank),
            "EMPLOYEE_RANGE": pa.array(_EMPLOYEE_RANGES).take(pa.array(companies.size, mask=no_size)),
            "INDUSTRY": pa.array(list(_INDUSTRIES)).take(pa.array(industry, mask=no_industry)),
            "id": number,
        },
        schema=SCHEMAS[_CUSTOMERS],
    )
    inside = np.arange(_BLOCK) < accounts
    free = everyone.filter(pa.array(inside & ~paying)).select(SCHEMAS[_NONCUSTOMERS].names)
    return {
        _CUSTOMERS: everyone.filter(pa.array(inside & paying)),
        _NONCUSTOMERS: _duplicated(free) if first == 1 else free,
    }


def _usage_table(usage: _Usage, first: int) -> pa.Table:
    stamp = (_FIRST_MONDAY + 7 * usage.week).astype("datetime64[us]")
    counts = usage.counts.reshape(len(_COUNTS), -1)
    return pa.table(
        {"WHEN_TIMESTAMP": stamp, **dict(zip(_COUNTS, counts, strict=True)), "id": first + usage.owner},
        schema=SCHEMAS[_USAGE],
    )


def _duplicated(free: pa.Table) -> pa.Table:
    """Let three free accounts appear twice, once with fewer fields: before the full row, after it, and before it."""
    bare = free.slice(0, 3)
    for column in ("ALEXA_RANK", "INDUSTRY"):
        position = bare.schema.get_field_index(column)
        bare = bare.set_column(position, free.schema.field(column), pa.nulls(3, free.schema.field(column).type))
    return pa.concat_tables([bare.slice(0, 1), free.slice(0, 2), bare.slice(1), free.slice(2)])


def _miscount(usage: _Usage) -> None:
    """Let three rows claim more users of contacts than actions on them."""
    actions, users = usage.counts[:, 0]
    rows = np.flatnonzero((users > 0) & (actions < 5))[:3]
    users[rows] = actions[rows] + 1


# ----------------------------------------------------------------------------------------------------------- writing


class _Tables:
    """The three files being written, in row groups of a fixed number of rows whatever comes at a time."""

    def __init__(self, folder: Path) -> None:
        self.accounts = 0
        self.rows = dict.fromkeys(SCHEMAS, 0)
        self._waiting = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
        self._writers = {name: pq.ParquetWriter(folder / name, schema) for name, schema in SCHEMAS.items()}

    def __enter__(self) -> _Tables:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for name, writer in self._writers.items():
            if kind is None:
                self._flush(name, least=1)
            writer.close()

    def write(self, blocks: Sequence[_Block]) -> None:
        """Append blocks of accounts."""
        self.accounts += sum(block.accounts for block in blocks)
        for name in SCHEMAS:
            new = [block.tables[name] for block in blocks]
            self.rows[name] += sum(table.num_rows for table in new)
            # One chunk, so that the file's pages cannot depend on where the chunks end.
            self._waiting[name] = pa.concat_tables([self._waiting[name], *new]).combine_chunks()
            self._flush(name, least=_ROW_GROUP)

    def _flush(self, name: str, least: int) -> None:
        while self._waiting[name].num_rows >= least:
            self._writers[name].write_table(self._waiting[name].slice(0, _ROW_GROUP))
            self._waiting[name] = self._waiting[name].slice(_ROW_GROUP)


def _batched(blocks: Iterator[_Block], size: int) -> Iterator[list[_Block]]:
    while batch := list(itertools.islice(blocks, size)):
        yield batch
