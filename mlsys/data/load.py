"""From the data config to a panel: open, check, build, keep."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout
from ibis.util import gen_name

from mlsys.data.cache import default_folder, get_or_make, hash_files
from mlsys.data.config import CachedData, EventsData
from mlsys.data.panel import Panel, PanelRequest, build_panel
from mlsys.data.rules import last_possible_day
from mlsys.data.sources import (
    RawTables,
    canonical_entities,
    canonical_events,
    column_problems,
    day_begun,
    fingerprint,
    open_tables,
    raw_types,
)
from mlsys.data.spine import EPOCH, as_of_dates, to_day
from mlsys.errors import ConfigError, DataError, Problem, closest
from mlsys.features.base import Block, FeatureInfo, block_problems

if TYPE_CHECKING:
    import ibis.expr.types as ir

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A panel and what it was made of.

    Attributes
    ----------
    panel : Panel
    fingerprint : str
        SHA-256 of the raw files, or of the panel where the tables are in a database server.
    findings : list of dict
        What the contracts found: table, rule, action, count, message.
    facts : dict
        Plain facts about the data: end, as-ofs, numbers of entities and events.
    horizon_days : int
        Days after the as-of in which the outcome counts; 0 for a flat table.
    names : dict
        What id, as_of, target and positive are called in the raw tables.
    recipe : dict or None
        What turns raw rows into the panel's columns, besides the config: of a flat table how each column is read, of
        event tables as which type (:func:`mlsys.data.sources.raw_types`).
    """

    panel: Panel
    fingerprint: str
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    horizon_days: int = 0
    names: dict[str, str | None] = field(default_factory=dict)
    recipe: dict[str, Any] | None = None


@dataclass(frozen=True)
class Source:
    """The checked raw tables in canonical form, from which panels are built, and rebuilt by the audit."""

    entities: ir.Table
    events: ir.Table
    first_day: int
    end: date
    entity_count: int
    event_count: int


def check_source(data: EventsData, blocks: Sequence[Block], *, threads: int | None = None) -> RawTables:
    """Open the tables and check names only: columns against the config, blocks against measures and attributes.

    Raises
    ------
    ConfigError
        Listing every name that is not there.
    """
    raw = open_tables(data, threads=threads)
    problems = column_problems(data, raw)
    problems += block_problems(blocks, data.measure_names, list(data.entities.attributes))
    activity, measures = data.events.activity.measure, data.measure_names
    if activity not in measures:
        problems.append(
            Problem("data.events.activity.measure", activity, ", ".join(measures), closest(activity, measures))
        )
    if problems:
        raise ConfigError("The data config", problems, "Nothing was run.")
    return raw


def with_demo(data: EventsData) -> EventsData:
    """Return the config with ``dir`` set to the generated tables, which are made if they are not there yet."""
    if data.demo is None:
        return data
    from mlsys.data import demo

    version = hash_files(sorted(Path(demo.__file__).parent.glob("*.py")))[:8]
    root = (data.cache_dir or default_folder()) / "demo"
    folder = root / f"events-{data.demo.events}-seed-{data.demo.seed}-{version}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root, f"*/{demo.SCRATCH}*")
        with FileLock(root / f"{folder.name}.lock"):
            if not (folder / "usage_actions.parquet").exists():
                logger.info(
                    "generating synthetic demo data, with a few errors for the contracts to find, in %s", folder
                )
                demo.generate(folder, events=data.demo.events, seed=data.demo.seed)
    except OSError as error:
        raise DataError(f"The demo tables cannot be written: {error}. Name another folder: data.cache_dir=…") from error
    return data.model_copy(update={"dir": str(folder), "demo": None})


def _remove_leftovers(root: Path, pattern: str) -> None:
    """Remove what killed processes left of demo tables; a living one holds the lock of its folder."""
    for scratch in root.glob(pattern):
        with contextlib.suppress(Timeout), FileLock(root / f"{scratch.parent.name}.lock", timeout=0):
            shutil.rmtree(scratch, ignore_errors=True)


def load_events(data: EventsData, blocks: Sequence[Block], raw: RawTables) -> Loaded:
    """Return the panel of event data, from the cache where it holds it.

    Parameters
    ----------
    data : EventsData
        The data config.
    blocks : sequence of Block
        Feature blocks.
    raw : RawTables
        As opened by :func:`check_source`.
    """
    print_of_files = fingerprint(raw)

    def make() -> tuple[pa.Table, dict[str, Any]]:
        source, findings = open_source(data, raw)
        request = panel_request(data, blocks, source)
        panel = build_panel(source.entities, source.events, request)
        facts = {
            "end": str(source.end),
            "as_ofs": [str(day) for day in request.as_ofs],
            "entities": source.entity_count,
            "events": source.event_count,
        }
        note = {"features": [asdict(info) for info in panel.features], "findings": findings, "facts": facts}
        note["recipe"] = raw_types(data, source.entities, source.events)
        return pa.Table.from_pandas(panel.frame, preserve_index=False), note

    config = data.model_dump(mode="json", exclude={*CachedData.model_fields, "dir", "url", "demo"})
    identities = [block_identity(block) for block in blocks]
    if None in (print_of_files, *identities):
        table, note = make()  # a server's tables, or code in no file: whether they have changed cannot be told
    else:
        table, note = get_or_make(data, {"data": config, "blocks": identities, "files": print_of_files}, make)
    for finding in note["findings"]:
        logger.warning("%s", finding["message"])
    frame = table.to_pandas()
    panel = Panel(frame, tuple(FeatureInfo(**info) for info in note["features"]))
    names: dict[str, str | None] = {
        "id": data.entities.id,
        "as_of": "as_of",
        "target": f"{data.outcome.time} within {data.horizon_days} days after the as-of",
        "positive": "converts",
    }
    identity = print_of_files or fingerprint_of(frame)
    return Loaded(panel, identity, note["findings"], note["facts"], data.horizon_days, names, note["recipe"])


def block_identity(block: Block) -> str | None:
    """Return what decides a block's columns: class, parameters, code; None where some code is in no file."""
    kind = type(block)
    try:
        code = hash_files([Path(inspect.getfile(base)) for base in kind.__mro__ if issubclass(base, Block)])
    except (TypeError, OSError):  # typed at a prompt
        return None
    return f"{kind.__module__}.{kind.__qualname__} {sorted(vars(block).items())} {code}"


def open_source(data: EventsData, raw: RawTables) -> tuple[Source, list[dict[str, Any]]]:
    """Check the contracts and bring the tables into canonical form."""
    from mlsys.data.contracts import check_tables  # a kept panel needs no pandera, which is slow to import

    checked = check_tables(data, raw)
    entities = canonical_entities(data, checked.tables)
    events = canonical_events(data, checked.tables)
    if raw.files:  # embedded: every query reads these, so they are computed once
        # Names of their own, not overwrite=True, whose DROP statement Ibis 12 spells in a way that DuckDB 2 refuses.
        entities = raw.connection.create_table(gen_name("entities"), entities, temp=True)
        events = raw.connection.create_table(gen_name("events"), events, temp=True)
    entity_count = entities.count().to_pyarrow().as_py()
    spans = events.aggregate(first=events.known_day.min(), count=events.count()).to_pyarrow().to_pylist()[0]
    if spans["first"] is None:
        raise DataError(
            f"The table {data.events.table!r} holds no usable event: there is nothing to compute features from."
        )
    source = Source(entities, events, spans["first"], _end(data, checked.tables), entity_count, spans["count"])
    return source, [finding.to_dict() for finding in checked.findings]


def _end(data: EventsData, raw: RawTables) -> date:
    """Return the day of the latest time in the tables, as what is known up to its first moment; never in the future."""
    if data.end:
        return data.end
    times = (raw.events[data.events.time], raw.outcome[data.outcome.time])
    latest = [day for time in times if (day := day_begun(time).max().to_pyarrow().as_py()) is not None]
    return EPOCH + timedelta(days=min(max(latest), to_day(last_possible_day(data))))


def panel_request(data: EventsData, blocks: Sequence[Block], source: Source) -> PanelRequest:
    """Return what to build from the data config: as-ofs, label window, blocks."""
    first = EPOCH + timedelta(days=source.first_day)
    as_ofs = as_of_dates(data.spine, first=first, last=source.end, horizon_days=data.horizon_days)
    late = [str(day) for day in as_ofs if day > source.end]
    if late:
        logger.warning(
            "as-ofs %s lie after the data's end %s: no outcome of theirs is known", ", ".join(late), source.end
        )
    products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
    return PanelRequest(blocks, as_ofs, data.horizon_days, source.end, data.events.activity, products)


def fingerprint_of(frame: pd.DataFrame) -> str:
    """Hash a table's values.

    Returns
    -------
    str
        Hexadecimal SHA-256.
    """
    hashed = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()
