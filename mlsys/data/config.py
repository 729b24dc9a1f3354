"""The data group of the config: where raw tables are and what their columns mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

Action = Literal["error", "drop", "warn"]


# Names that canonical entities and events have beside attributes and measures.
ENTITY_COLUMNS = frozenset({"id", "created_day", "outcome_day", "value", "source", "copy"})
EVENT_COLUMNS = frozenset({"id", "known_day", "until_day", "as_of_day"})


# URLs of these may name a local file; one without a scheme is a path.
FILE_SCHEMES = frozenset({"duckdb", "sqlite", "file", ""})


class Section(BaseModel):
    """A part of the config: every key is known and nothing is changed after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def measure_names(measures: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return each ``kind_product``, then each kind, which stands for the total over its products.

    Examples
    --------
    >>> measure_names({"users": {"deals": "USERS_CRM_DEALS", "email": "USERS_EMAIL"}})
    ('users_deals', 'users_email', 'users')
    """
    return (*(f"{kind}_{name}" for kind, products in measures.items() for name in products), *measures)


def file_of(url: str) -> str | None:
    """Return the path of the local file that a URL names; None for a server.

    Examples
    --------
    >>> file_of("sqlite://exports/crm.db?mode=ro")
    'exports/crm.db'
    >>> file_of("postgres://ann@db:5432/crm") is None
    True
    """
    scheme, _, rest = url.rpartition("://")
    path = rest.partition("?")[0]
    is_file = scheme in FILE_SCHEMES and path and not path.startswith(("md:", "motherduck:"))  # DuckDB's own servers
    return path if is_file else None


def absolute_url(url: str) -> str:
    """Return the URL as it can be opened from any folder: the path of a local file becomes absolute.

    Examples
    --------
    >>> absolute_url("duckdb:///data/crm.duckdb?threads=2")
    'duckdb:///data/crm.duckdb?threads=2'
    """
    path = file_of(url)
    if path is None:
        return url
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + str(Path(path).absolute()) + rest.removeprefix(path)


class EntitiesConfig(Section):
    """Who is scored."""

    tables: Annotated[list[str], Field(min_length=1)]
    id: str
    created: str | None = None
    attributes: dict[str, str] = {}

    @field_validator("attributes")
    @classmethod
    def _free_names(cls, attributes: dict[str, str]) -> dict[str, str]:
        taken = sorted(name for name in attributes if name.casefold() in ENTITY_COLUMNS)
        if taken:
            raise ValueError(f"an attribute cannot be called {', '.join(taken)}: give it another name before the colon")
        return attributes


class OutcomeConfig(Section):
    """What is predicted: when it happened and what it was worth (currency a month)."""

    table: str
    id: str
    time: str
    value: str | None = None


class ActivityConfig(Section):
    """The ranking that any model has to beat: the largest value of one measure in the latest days."""

    measure: str
    days: PositiveInt = 28


class EventsConfig(Section):
    """What entities did; a row is visible from its time plus ``available_after_days`` on."""

    table: str
    id: str
    time: str
    available_after_days: NonNegativeInt = 0
    measures: Annotated[dict[str, Annotated[dict[str, str], Field(min_length=1)]], Field(min_length=1)]
    activity: ActivityConfig

    @field_validator("measures")
    @classmethod
    def _free_names(cls, measures: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        names = [name.casefold() for name in measure_names(measures)]
        taken = sorted({name for name in names if names.count(name) > 1 or name in EVENT_COLUMNS})
        if taken:
            raise ValueError(f"the name {', '.join(taken)} would stand for two columns: rename the kind or the product")
        return measures


class SpineConfig(Section):
    """The as-ofs: the given dates, and every ``every_days`` before the first of them, back to ``start``.

    Without dates the as-ofs run back from the last one whose label window lies within the data.
    """

    dates: list[date] = []
    every_days: PositiveInt = 28
    start: date | None = None


class RulesConfig(Section):
    """What to do with rows that break a rule: stop (error), leave them out (drop) or keep and say so (warn)."""

    missing_columns: Literal["error"] = "error"
    wrong_types: Action = "error"
    missing_ids: Action = "drop"
    duplicate_ids: Action = "warn"
    negative_counts: Action = "drop"
    non_positive_value: Action = "warn"
    users_over_actions: Action = "warn"
    orphan_events: Action = "drop"
    impossible_dates: Action = "drop"


class DemoConfig(Section):
    """How much look-alike data to generate."""

    events: PositiveInt = 12_000
    seed: NonNegativeInt = 0


class CachedData(Section):
    """What every kind of data has."""

    name: str
    cache: bool = True
    cache_dir: Path | None = None
    cache_gb: PositiveFloat = 5.0


class EventsData(CachedData):
    """Entities, their events and their outcomes, each in raw tables."""

    kind: Literal["events"]
    dir: str | None = None
    url: str | None = None
    demo: DemoConfig | None = None
    entities: EntitiesConfig
    outcome: OutcomeConfig
    events: EventsConfig
    spine: SpineConfig = SpineConfig()
    horizon_days: PositiveInt = 30
    end: date | None = None
    rules: RulesConfig = RulesConfig()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("dir", "url", "demo") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of dir, url and demo says where the tables are, got {given or 'none'}")
        return self

    @property
    def measure_names(self) -> tuple[str, ...]:
        """Names of the measures that blocks can use: each ``kind_product`` and each kind's total."""
        return measure_names(self.events.measures)


class TableData(CachedData):
    """One flat table with a target column."""

    kind: Literal["table"]
    path: str
    target: str
    positive: str | int | float | bool | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    value: str | None = None
    drop: list[str] = []

    @property
    def roles(self) -> dict[str, str]:
        """Columns that are no features, by what they are."""
        roles = {"target": self.target, "id": self.id, "time": self.time, "group": self.group, "value": self.value}
        return {role: column for role, column in roles.items() if column}


DataConfig = Annotated[EventsData | TableData, Field(discriminator="kind")]
