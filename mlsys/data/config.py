"""The data group of the config: the location of the raw tables and the meaning of their columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

Action = Literal["error", "drop", "warn"]
DateOrder = Literal["day_first", "month_first", "year_first"]
DecimalMark = Literal["point", "comma"]
Negatives = float | Literal["auto"]
MIN_NEGATIVES = 0.0001


# Column names of canonical entities and events, besides attributes and measures.
ENTITY_COLUMNS = frozenset({"id", "created_day", "outcome_day", "value", "source", "copy"})
EVENT_COLUMNS = frozenset({"id", "known_day", "until_day", "as_of_day"})


_DAY = re.compile(r"\d{4}-\d\d-\d\d([T ]00:00(:00)?)?")

# URLs with these schemes can refer to a local file; a URL without a scheme is a path.
FILE_SCHEMES = frozenset({"duckdb", "sqlite", "file", ""})


class Section(BaseModel):
    """A section of the config: unknown keys are rejected, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def measure_names(measures: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return each ``kind_product``, then each kind, which is the total over its products.

    Examples
    --------
    >>> measure_names({"users": {"deals": "USERS_CRM_DEALS", "email": "USERS_EMAIL"}})
    ('users_deals', 'users_email', 'users')
    """
    return (*(f"{kind}_{name}" for kind, products in measures.items() for name in products), *measures)


def file_of(url: str) -> str | None:
    """Return the path of the local file that a URL refers to; None for a server.

    Examples
    --------
    >>> file_of("sqlite://exports/crm.db?mode=ro")
    'exports/crm.db'
    >>> file_of("postgres://ann@db:5432/crm") is None
    True
    """
    scheme, _, rest = url.rpartition("://")
    path = rest.partition("?")[0]
    is_file = scheme in FILE_SCHEMES and path and not path.startswith(("md:", "motherduck:"))  # DuckDB's hosted service
    return path if is_file else None


def absolute_url(url: str) -> str:
    """Return the URL with an absolute path if it refers to a local file, so that it works from any folder.

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


def _day(value: Any) -> Any:  # noqa: ANN401 - whatever the config has
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise ValueError("a day such as 2020-03-29, without a time or a zone: days start at midnight in UTC")


Day = Annotated[date, BeforeValidator(_day)]


class EntitiesConfig(Section):
    """The entities to score."""

    tables: Annotated[list[str], Field(min_length=1)]
    id: str
    created: str | None = None
    attributes: dict[str, str] = {}

    @field_validator("attributes")
    @classmethod
    def _free_names(cls, attributes: dict[str, str]) -> dict[str, str]:
        taken = sorted(name for name in attributes if name.casefold() in ENTITY_COLUMNS)
        if taken:
            raise ValueError(f"reserved attribute name: {', '.join(taken)}; rename the key before the colon")
        return attributes


class OutcomeConfig(Section):
    """The outcome to predict: when it happened and its value (currency per month)."""

    table: str
    id: str
    time: str
    value: str | None = None


class ActivityConfig(Section):
    """The baseline ranking: the largest value of one measure in the last ``days`` days."""

    measure: str
    days: PositiveInt = 28


class EventsConfig(Section):
    """The events of entities; a row is visible from its time plus ``available_after_days`` on."""

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
            raise ValueError(f"duplicate or reserved measure name: {', '.join(taken)}; rename the kind or the product")
        return measures


class SpineConfig(Section):
    """The as-ofs: the given dates, plus every ``every_days`` before the first of them, back to ``start``.

    Without dates, the as-ofs run back from the last one whose label window lies within the data.
    """

    dates: list[Day] = []
    every_days: PositiveInt = 28
    start: Day | None = None


class RulesConfig(Section):
    """The action for rows that break each rule: error (stop), drop (exclude the rows) or warn (keep the rows).

    Of the rows with the same id, only the most complete one is used, whether ``duplicate_ids`` is drop or warn.
    """

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
    """The size and seed of the synthetic data."""

    events: PositiveInt = 12_000
    seed: NonNegativeInt = 0


class CachedData(Section):
    """Settings common to all kinds of data: a name, the panel cache and the memory limit."""

    name: str
    cache: bool = True
    cache_dir: Path | None = None
    cache_gb: PositiveFloat = 5.0
    memory_gb: PositiveFloat | None = None


class SampledData(CachedData):
    """Settings common to all kinds of data that decide which rows there are.

    ``negatives`` is the fraction of the rows without a conversion that stay, each with a weight for those that do not.
    """

    negatives: Negatives = 1.0
    negatives_seed: NonNegativeInt = 0

    @field_validator("negatives", mode="before")
    @classmethod
    def _fraction(cls, negatives: Any) -> Any:  # noqa: ANN401 - whatever the config has
        is_number = isinstance(negatives, int | float) and not isinstance(negatives, bool)
        if negatives != "auto" and not (is_number and MIN_NEGATIVES <= negatives <= 1):
            raise ValueError(f"auto, or a fraction from {MIN_NEGATIVES} to 1: of the rows without a conversion")
        return negatives


class EventsData(SampledData):
    """Raw tables of entities, their events and their outcomes."""

    kind: Literal["events"]
    dir: str | None = None
    url: str | None = None
    demo: DemoConfig | None = None
    engine: str | None = None
    entities: EntitiesConfig
    outcome: OutcomeConfig
    events: EventsConfig
    spine: SpineConfig = SpineConfig()
    horizon_days: PositiveInt = 30
    end: Day | None = None
    dates: DateOrder | None = None
    rules: RulesConfig = RulesConfig()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [name for name in ("dir", "url", "demo") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"set exactly one of dir, url and demo; got {', '.join(sources) or 'none'}")
        return self

    @property
    def measure_names(self) -> tuple[str, ...]:
        """Names of the measures available to blocks: each ``kind_product`` and each kind's total."""
        return measure_names(self.events.measures)


class TableData(SampledData):
    """One flat table with a target column."""

    kind: Literal["table"]
    path: str
    target: str
    positive: str | int | float | bool | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    value: str | None = None
    treatment: str | None = None
    treated: str | int | float | bool | None = None
    drop: list[str] = []
    dates: DateOrder | None = None
    decimal: DecimalMark | None = None

    @property
    def roles(self) -> dict[str, str]:
        """Columns with a role, which are not features, by role."""
        roles = {"target": self.target, "id": self.id, "time": self.time, "group": self.group, "value": self.value}
        return {role: column for role, column in roles.items() if column}


DataConfig = Annotated[EventsData | TableData, Field(discriminator="kind")]
