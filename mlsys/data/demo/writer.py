"""Writes the synthetic tables to Parquet files, block by block."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlsys.data.demo.process import BLOCK
from mlsys.data.demo.tables import CUSTOMERS, SCHEMAS, USAGE, AccountBlock, make_block
from mlsys.errors import ConfigError, Problem
from mlsys.text import counted

logger = logging.getLogger(__name__)

SCRATCH = ".demo-"  # prefix of folders for unfinished tables
MIN_EVENTS = 2_000  # with fewer, some seeds would yield hardly any customers

_ROW_GROUP = 1 << 18  # rows


@dataclass(frozen=True)
class DemoSummary:
    """Summary of the tables that `generate` wrote.

    Attributes
    ----------
    accounts : int
        Number of accounts, including customers.
    customers : int
        Number of accounts that converted by 2020-08-18.
    events : int
        Number of usage rows, at most one per account and week.
    files : tuple of Path
        Paths of customers.parquet, noncustomers.parquet and usage_actions.parquet.
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
    """Simulate accounts up to the requested number of usage rows, and write the three tables as Parquet.

    Memory use does not grow with ``events``. The same seed and number of events give the same bytes (with the same
    library versions and kind of machine), and a larger table starts with the accounts of a smaller one. The files are
    renamed into place once all three are complete, usage_actions.parquet last. A killed process can leave a folder
    ``.demo-*``; in the cache, the next run that uses demo tables removes it.

    Parameters
    ----------
    folder : Path
        Output folder; created if it does not exist. Existing tables are replaced.
    events : int
        Number of usage rows requested, at least 2,000. The last account is kept whole, so there may be up to 81 more.
    seed : int
        Random seed, at least 0.
    chunk_accounts : int
        Number of accounts in memory between writes (in whole blocks of 2,000); does not affect the files.
    progress : callable, optional
        Called after each chunk with the number of usage rows written so far.

    Returns
    -------
    DemoSummary
        Counts, and the paths of the files.

    Raises
    ------
    ConfigError
        If ``events``, ``seed`` or ``chunk_accounts`` is too small.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = generate(Path(folder), events=5_000, seed=1)
    >>> 5_000 <= summary.events < 5_082
    True
    """
    _check(events, seed, chunk_accounts)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as scratch:
        with _TableWriter(Path(scratch)) as tables:
            for blocks in _batched(_blocks(events, seed), max(1, chunk_accounts // BLOCK)):
                tables.write(blocks)
                if progress:
                    progress(tables.rows[USAGE])
        files = tuple((Path(scratch) / name).replace(folder / name) for name in SCHEMAS)
    summary = DemoSummary(tables.accounts, tables.rows[CUSTOMERS], tables.rows[USAGE], files)
    logger.info("demo data: %s, %s", counted(summary.accounts, "account"), counted(summary.customers, "customer"))
    return summary


def _check(events: int, seed: int, chunk_accounts: int) -> None:
    minimums = {"events": (events, MIN_EVENTS), "seed": (seed, 0), "chunk_accounts": (chunk_accounts, 1)}
    problems = [
        Problem(name, f"{got:,}", f"a whole number from {minimum:,}")
        for name, (got, minimum) in minimums.items()
        if got < minimum
    ]
    if problems:
        raise ConfigError(
            "The size of the demo data",
            problems,
            "Increase the values that are too small; the default is 40,000 events.",
        )


def _blocks(events: int, seed: int) -> Iterator[AccountBlock]:
    """Yield blocks until there are ``events`` usage rows; the last block is cut there."""
    for index in itertools.count():
        block = make_block(seed, index, events)
        yield block
        events -= block.tables[USAGE].num_rows
        if events <= 0:
            return


def _batched(blocks: Iterator[AccountBlock], size: int) -> Iterator[list[AccountBlock]]:
    while batch := list(itertools.islice(blocks, size)):
        yield batch


class _TableWriter:
    """The three open files; row groups have a fixed number of rows, regardless of how many are written at a time."""

    def __init__(self, folder: Path) -> None:
        self.accounts = 0
        self.rows = dict.fromkeys(SCHEMAS, 0)
        self._pending = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
        self._writers = {name: pq.ParquetWriter(folder / name, schema) for name, schema in SCHEMAS.items()}

    def __enter__(self) -> _TableWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for name, writer in self._writers.items():
            if kind is None:
                self._flush(name, min_rows=1)
            writer.close()

    def write(self, blocks: Sequence[AccountBlock]) -> None:
        """Append blocks of accounts."""
        self.accounts += sum(block.accounts for block in blocks)
        for name in SCHEMAS:
            new = [block.tables[name] for block in blocks]
            self.rows[name] += sum(table.num_rows for table in new)
            # A single chunk, so that the file's pages do not depend on chunk boundaries.
            self._pending[name] = pa.concat_tables([self._pending[name], *new]).combine_chunks()
            self._flush(name, min_rows=_ROW_GROUP)

    def _flush(self, name: str, min_rows: int) -> None:
        while self._pending[name].num_rows >= min_rows:
            self._writers[name].write_table(self._pending[name].slice(0, _ROW_GROUP))
            self._pending[name] = self._pending[name].slice(_ROW_GROUP)
