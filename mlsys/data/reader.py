"""Opens the data that the config describes: event tables or a flat table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from mlsys.data.config import DataConfig, EventsData, TableData
from mlsys.data.flat import load_table, role_problems
from mlsys.data.load import Loaded, check_source, load_events, with_demo
from mlsys.data.negatives import ON_SAMPLE, WholeTests
from mlsys.data.rebuild import Rebuild
from mlsys.data.sources import RawTables
from mlsys.errors import ConfigError, Problem
from mlsys.features.base import Block


class Reader(Protocol):
    """Opened data whose names have been checked against the config."""

    def load(self) -> Loaded:
        """Return the panel."""
        ...

    def rebuild(self, loaded: Loaded) -> Rebuild | None:
        """Return an object that rebuilds panel rows with an altered future; None if rows have no events."""
        ...

    def forbidden(self) -> dict[str, str]:
        """Return the raw columns that must not be features, each with the reason."""
        ...


@dataclass(frozen=True)
class EventsReader:
    """Reads entities, events and outcomes."""

    data: EventsData
    blocks: Sequence[Block]
    raw: RawTables
    tests: WholeTests = ON_SAMPLE
    on_disk: bool = False

    def load(self) -> Loaded:
        """Return the panel."""
        return load_events(self.data, self.blocks, self.raw, self.tests, on_disk=self.on_disk)

    def rebuild(self, loaded: Loaded) -> Rebuild | None:
        """Return an object that rebuilds panel rows with an altered future."""
        return Rebuild(self.data, self.raw, self.blocks, date.fromisoformat(loaded.facts["end"]))

    def forbidden(self) -> dict[str, str]:
        """Return the id, outcome and time columns."""
        data = self.data
        columns = {
            data.entities.id: "the entity's id",
            data.outcome.id: "the entity's id",
            data.outcome.time: "the outcome's time",
            data.events.time: "the event's time",
            "days_to_outcome": "the days to the outcome",
            "days_known": "the days of which outcomes are known",
        }
        return columns | ({data.outcome.value: "the outcome's value"} if data.outcome.value else {})


@dataclass(frozen=True)
class TableReader:
    """Reads a flat table."""

    data: TableData
    tests: WholeTests = ON_SAMPLE

    def load(self) -> Loaded:
        """Return the panel."""
        return load_table(self.data, self.tests)

    def rebuild(self, loaded: Loaded) -> Rebuild | None:  # noqa: ARG002 - the Reader protocol
        """Return None: the rows of a flat table have no events."""
        return None

    def forbidden(self) -> dict[str, str]:
        """Return the columns with a role."""
        return {column: f"the table's {role}" for role, column in self.data.roles.items()}


class CachedReader:
    """Reader that loads the panel once, for a process that fits many models on the same data.

    Parameters
    ----------
    reader : Reader
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Return the panel, the same object on every call."""
        if self._loaded is None:
            self._loaded = self._reader.load()
        return self._loaded

    def rebuild(self, loaded: Loaded) -> Rebuild | None:
        """Return an object that rebuilds panel rows with an altered future; None if rows have no events."""
        return self._reader.rebuild(loaded)

    def forbidden(self) -> dict[str, str]:
        """Return the raw columns that must not be features, each with the reason."""
        return self._reader.forbidden()


def open_data(
    data: DataConfig,
    blocks: Sequence[Block],
    *,
    threads: int | None,
    tests: WholeTests = ON_SAMPLE,
    on_disk: bool = False,
) -> Reader:
    """Open the tables and check every name in the config against them before reading any row.

    Parameters
    ----------
    data : DataConfig
    blocks : sequence of Block
    threads : int or None
        Of the database that computes the panel; None: all cores.
    tests : WholeTests
        Which as-ofs keep all rows if the negatives are sampled; by default none.
    on_disk : bool
        Whether the panel of event data stays on disk; see :func:`mlsys.data.load.load_events`.

    Raises
    ------
    ConfigError
        If columns, measures or attributes do not exist; all of them are listed.
    DataError
        If a table cannot be opened.
    """
    if isinstance(data, TableData):
        if blocks:
            names = ", ".join(type(block).__name__ for block in blocks)
            raise ConfigError(
                "The config",
                [Problem("features", names, "none: a flat table's columns are the features", "none")],
                "Set features=none with data=table.",
            )
        if problems := role_problems(data):
            raise ConfigError("The data config", problems, "Nothing was run.")
        return TableReader(data, tests)
    if not blocks:
        raise ConfigError(
            "The config",
            [
                Problem(
                    "features", "no blocks", "at least one block, such as features=usage or features=minimal", "usage"
                )
            ],
            "Event tables have no features of their own.",
        )
    data = with_demo(data)
    return EventsReader(data, blocks, check_source(data, blocks, threads=threads), tests, on_disk)
