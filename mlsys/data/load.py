"""Loads the panel of event tables: open, check, build, cache."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from ibis.util import gen_name

from mlsys.data.cache import (
    CacheEntry,
    ColumnTable,
    MakeBatches,
    default_folder,
    get_or_make,
    hash_files,
    open_or_make,
    remove,
)
from mlsys.data.compact import compact_column
from mlsys.data.config import EventsData, SampledData
from mlsys.data.disk_frame import DiskFrame, stored_columns
from mlsys.data.engines import EMBEDDED, connected, engine_problems, place
from mlsys.data.event_dates import read_dates
from mlsys.data.negatives import ON_SAMPLE, NegativeSample, WholeTests, log_sample, sample_of, sampling_key
from mlsys.data.panel import (
    KEYS,
    Panel,
    PanelRequest,
    Times,
    build_labels,
    build_panel,
    panel_frame,
    panel_query,
    row_counts,
)
from mlsys.data.partitions import PartitionBuilder, known_digests
from mlsys.data.rules import last_possible_day
from mlsys.data.scratch import scratch_root
from mlsys.data.sources import (
    RawTables,
    canonical_entities,
    canonical_events,
    column_problems,
    fingerprint,
    floor_day,
    open_tables,
    raw_types,
)
from mlsys.data.spine import EPOCH, as_of_dates, to_day
from mlsys.errors import ConfigError, DataError, Problem, closest
from mlsys.features.base import Block, FeatureInfo, block_problems
from mlsys.redaction import without_password
from mlsys.stages import progress
from mlsys.text import counted, is_or_are

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

logger = logging.getLogger(__name__)


class OpenPiece(Protocol):
    """Returns the columns of an as-of, after making them again if asked."""

    def __call__(self, *, again: bool) -> ColumnTable: ...  # noqa: D102


@dataclass(frozen=True)
class Loaded:
    """A panel and its provenance.

    Attributes
    ----------
    panel : Panel
    fingerprint : str
        SHA-256 of the raw files, or of the panel if the tables are in a database server.
    findings : list of dict
        Violations of the data contracts: table, rule, action, count, message.
    facts : dict
        Summary of the data: end, as-ofs, number of entities and number of events.
    horizon_days : int
        Days after the as-of in which the outcome counts; 0 for a flat table.
    names : dict
        Names of id, as_of, target and positive in the raw tables.
    recipe : dict or None
        What turns raw rows into the panel's columns, besides the config: for a flat table, how each column is read; for
        event tables, the type of each column (:func:`mlsys.data.sources.raw_types`) and the formats of the ``dates``
        that are not written in ISO 8601.
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
    """The checked raw tables in canonical form, from which panels are built."""

    entities: ir.Table
    events: ir.Table
    first_day: int
    end: date
    entity_count: int
    event_count: int


def check_source(data: EventsData, blocks: Sequence[Block], *, threads: int | None = None) -> RawTables:
    """Open the tables, check the config's columns and the blocks' measures and attributes, and read the dates.

    Raises
    ------
    ConfigError
        If names do not exist; all of them are listed.
    DataError
        If dates have two readings and nothing decides.
    """
    raw = open_tables(data, threads=threads)
    problems = column_problems(data, raw)
    problems += block_problems(blocks, data.measure_names, list(data.entities.attributes))
    problems += engine_problems(data.engine)
    activity, measures = data.events.activity.measure, data.measure_names
    if activity not in measures:
        problems.append(
            Problem("data.events.activity.measure", activity, ", ".join(measures), closest(activity, measures))
        )
    if problems:
        raise ConfigError("The data config", problems, "Nothing was run.")
    return read_dates(data, raw)


def with_demo(data: EventsData) -> EventsData:
    """Return the config with ``dir`` set to the demo tables, which are generated if they do not exist yet."""
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
        raise DataError(
            f"Cannot write the demo tables: {error}. Choose another folder with data.cache_dir=…"
        ) from error
    return data.model_copy(update={"dir": str(folder), "demo": None})


def _remove_leftovers(root: Path, pattern: str) -> None:
    """Remove partial demo tables of killed processes; a running process holds its folder's lock."""
    for scratch in root.glob(pattern):
        with contextlib.suppress(Timeout), FileLock(root / f"{scratch.parent.name}.lock", timeout=0):
            shutil.rmtree(scratch, ignore_errors=True)


def load_events(
    data: EventsData,
    blocks: Sequence[Block],
    raw: RawTables,
    tests: WholeTests = ON_SAMPLE,
    *,
    on_disk: bool = False,
) -> Loaded:
    """Return the panel of event data, from the cache if possible.

    Parameters
    ----------
    data : EventsData
        The data config.
    blocks : sequence of AccountBlock
        The feature blocks.
    raw : RawTables
        As opened by :func:`check_source`.
    tests : WholeTests
        Which as-ofs keep all rows if the negatives are sampled; by default none.
    on_disk : bool
        Whether the panel's frame is a `DiskFrame`; not that of a database server.
    """
    files_hash, scratch = fingerprint(raw), scratch_root(data) if on_disk else None
    with progress("panel"):
        panel, note = _Loading(data, blocks, raw, files_hash, tests, scratch).load()
    for finding in note["findings"]:
        logger.warning("%s", finding["message"])
    log_sample(data.negatives, note["facts"], len(panel.frame))
    names: dict[str, str | None] = {
        "id": data.entities.id,
        "as_of": "as_of",
        "target": f"{data.outcome.time} within {data.horizon_days} days after the as-of",
        "positive": "converts",
    }
    identity = files_hash or frame_fingerprint(panel.frame)
    return Loaded(panel, identity, note["findings"], note["facts"], data.horizon_days, names, note["recipe"])


@dataclass(frozen=True)
class _Loading:
    """Loads a panel in parts, each from the cache if possible: the labels, and the features of each as-of."""

    data: EventsData
    blocks: Sequence[Block]
    raw: RawTables
    files_hash: str | None
    tests: WholeTests
    scratch: Path | None

    def load(self) -> tuple[Panel, dict[str, Any]]:
        """Return the panel and the metadata that is stored with its labels."""
        with self._engines:
            return self._in_one_query() if self.files_hash is None else self._in_pieces()

    def _in_pieces(self) -> tuple[Panel, dict[str, Any]]:
        """Return the panel of files from labels and one piece per as-of."""
        key = {"data": self._config, "files": self.files_hash, **sampling_key(self.data, self.tests)}
        labels, note = self._cached(key, self._labels)
        as_ofs, sample = [date.fromisoformat(day) for day in note["facts"]["as_ofs"]], sample_of(note["facts"])
        built: list[date] = []

        def make(as_of: date) -> pa.RecordBatchReader:
            built.append(as_of)
            return self._builder.build(as_of)

        config = {name: value for name, value in self._config.items() if name not in ("spine", "horizon_days", "end")}
        pieces = []
        config["engine"] = self.data.engine and self.data.engine.partition("://")[0]
        with progress("panel", len(as_ofs), "as-ofs") as advance:
            for as_of in as_ofs:
                key = {"data": config, "as_of": str(as_of), "known": note["known"][str(as_of)]}
                if sample is not None:
                    key["rows"] = f"{sample} {_rows_digest(labels, as_of)}"
                pieces.append(Piece(partial(self._opened_piece, key, partial(make, as_of))))
                advance()
        if built:
            self._builder.close()
        logger.info("panel: %s, %d of them from the cache", counted(len(as_ofs), "as-of"), len(as_ofs) - len(built))
        return _joined(labels, pieces, note, self.scratch), note

    def _opened_piece(self, parts: Mapping[str, object], make: MakeBatches, *, again: bool) -> ColumnTable:
        identities = self._identities
        if identities is None:
            table: ColumnTable = make().read_all()
            return table
        key = {**parts, "blocks": identities}
        if again:
            remove(self.data, key)
        return open_or_make(self.data, key, make)

    def _in_one_query(self) -> tuple[Panel, dict[str, Any]]:
        """Return the panel of a database server, whose changes cannot be detected."""
        request, facts = self._sampled
        _, entities, events = self._placed
        panel = build_panel(entities, events, request)
        return panel, self._note(panel.features, facts)

    def _labels(self) -> CacheEntry:
        source, (request, facts) = self._source, self._sampled
        infos = panel_query(source.entities, source.events, request, Times.at(request.as_ofs, request.windows))[1]
        known = known_digests(source.entities, source.events, request)
        digests = {str(day): known[day] if known else f"{self.files_hash} {request}" for day in request.as_ofs}
        return build_labels(source.entities, request), self._note(infos, facts) | {"known": digests}

    def _note(self, infos: Sequence[FeatureInfo], sample: Mapping[str, Any]) -> dict[str, Any]:
        source = self._source
        facts = {
            "end": str(source.end),
            "as_ofs": [str(day) for day in self._request.as_ofs],
            "entities": source.entity_count,
            "events": source.event_count,
            **sample,
        }
        note = {"features": [asdict(info) for info in infos], "findings": self._opened[1], "facts": facts}
        note["recipe"] = dict[str, Any](raw_types(self.data, source.entities, source.events)) | _date_formats(self.raw)
        return note

    def _cached(self, parts: Mapping[str, object], make: Callable[[], CacheEntry]) -> CacheEntry:
        if self._identities is None:
            return make()
        return get_or_make(self.data, {**parts, "blocks": self._identities}, make, level=logging.DEBUG)

    @cached_property
    def _identities(self) -> list[str] | None:
        """What determines the blocks' columns; None for code without a file, whose changes cannot be detected."""
        identities = [identity for block in self.blocks if (identity := block_identity(block)) is not None]
        return identities if len(identities) == len(self.blocks) else None

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self.data.model_dump(mode="json", exclude={*SampledData.model_fields, "dir", "url", "demo", "engine"})

    @cached_property
    def _opened(self) -> tuple[Source, list[dict[str, Any]]]:
        return open_source(self.data, self.raw)

    @property
    def _source(self) -> Source:
        return self._opened[0]

    @cached_property
    def _request(self) -> PanelRequest:
        return panel_request(self.data, self.blocks, self._source)

    @cached_property
    def _sampled(self) -> tuple[PanelRequest, dict[str, Any]]:
        """The request with its sample of negatives, and what a run records of it."""
        data, request = self.data, self._request
        if data.negatives == 1.0:
            return request, {}
        rows, positives = row_counts(self._source.entities, request)
        sample = NegativeSample.of(data, self.tests, positives=positives, rows=rows, as_ofs=request.as_ofs)
        facts = {} if sample is None else sample.facts(rows=rows, positives=positives)
        return replace(request, sample=sample), facts

    @cached_property
    def _builder(self) -> PartitionBuilder:
        return PartitionBuilder(*self._placed, self._sampled[0])

    @cached_property
    def _engines(self) -> contextlib.ExitStack:
        return contextlib.ExitStack()

    @cached_property
    def _placed(self) -> tuple[BaseBackend, ir.Table, ir.Table]:
        """The engine that computes the panel, and the tables of entities and events that are there."""
        entities, events, engine = self._source.entities, self._source.events, self.data.engine
        if engine is None or engine == self.data.url or (engine == EMBEDDED and self.raw.files):
            return self.raw.connection, entities, events
        connection = self._engines.enter_context(connected(engine, "data.engine"))
        logger.info("panel: computed by %s, to which entities and events are copied", without_password(engine))
        return connection, place(entities, connection), place(events, connection)


def _rows_digest(labels: pa.Table, as_of: date) -> str:
    """Hash the ids of an as-of: which rows a sample keeps also depends on the outcomes."""
    rows = labels.filter(pc.equal(labels["as_of_day"], to_day(as_of)))
    return hashlib.sha256(repr(rows["id"].to_pylist()).encode()).hexdigest()


class Piece:
    """The features of one as-of; a damaged file is made again.

    Parameters
    ----------
    open_ : callable
        Returns its columns; with ``again=True``, after it has been made again.
    """

    def __init__(self, open_: OpenPiece) -> None:
        self._open = open_
        self._columns = open_(again=False)

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return self._columns.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        try:
            return self._columns.column(name)
        except (OSError, pa.ArrowException) as error:
            logger.warning("panel cache: an as-of's file is corrupt (%s); rebuilding it", error)
            self._columns = self._open(again=True)
            return self._columns.column(name)


def _joined(labels: pa.Table, pieces: Sequence[Piece], note: Mapping[str, Any], scratch: Path | None) -> Panel:
    """Return the panel of labels and features, which have the same rows in the same order.

    With a folder for it, all columns are on disk.
    """

    def parts(name: str) -> list[pa.ChunkedArray]:
        return [piece.column(name) for piece in pieces]

    for key in ("id", "as_of_day"):
        known = pa.chunked_array([chunk for part in parts(key) for chunk in part.chunks], labels[key].type)
        if not labels[key].equals(known):
            raise DataError("The cached features are those of other rows than the labels: delete data.cache_dir.")
    names = [name for name in pieces[0].column_names if name not in labels.column_names]
    columns = ((name, compact_column(parts(name))) for name in names)
    features = dict(columns) if scratch is None else stored_columns(columns, scratch)
    frame = panel_frame(labels, features, note["facts"]["as_ofs"])
    if scratch is not None:
        keys = stored_columns(((name, frame[name].array) for name in KEYS), scratch)
        frame = DiskFrame.sharing({name: keys.get(name, frame[name]) for name in frame.columns}, scratch)
    return Panel(frame, tuple(FeatureInfo(**info) for info in note["features"]))


def _date_formats(raw: RawTables) -> dict[str, dict[str, list[str]]]:
    return {"dates": {key: list(formats) for key, formats in raw.date_formats.items()}} if raw.date_formats else {}


def block_identity(block: Block) -> str | None:
    """Return what determines a block's columns: class, parameters and code; None if its code is not in a file."""
    kind = type(block)
    try:
        code = hash_files([Path(inspect.getfile(base)) for base in kind.__mro__ if issubclass(base, Block)])
    except (TypeError, OSError):  # defined in an interactive session
        return None
    return f"{kind.__module__}.{kind.__qualname__} {sorted(vars(block).items())} {code}"


def open_source(data: EventsData, raw: RawTables) -> tuple[Source, list[dict[str, Any]]]:
    """Check the tables against their contracts and convert them to canonical form."""
    from mlsys.data.contracts import check_tables  # pandera is slow to import, and a cached panel does not need it

    checked = check_tables(data, raw)
    entities = canonical_entities(data, checked.tables)
    events = canonical_events(data, checked.tables)
    if raw.files:  # embedded database: every query reads these tables, so compute them once
        # Unique names instead of overwrite=True: DuckDB 2 rejects the DROP statement that Ibis 12 generates.
        entities = raw.connection.create_table(gen_name("entities"), entities, temp=True)
        events = raw.connection.create_table(gen_name("events"), events, temp=True)
    entity_count = entities.count().to_pyarrow().as_py()
    spans = events.aggregate(first=events.known_day.min(), count=events.count()).to_pyarrow().to_pylist()[0]
    if spans["first"] is None:
        raise DataError(
            f"No usable events in table {data.events.table!r}, so there is nothing to compute features from. Check the "
            "columns under data.events and the actions under data.rules."
        )
    source = Source(entities, events, spans["first"], _end(data, checked.tables), entity_count, spans["count"])
    return source, [finding.to_dict() for finding in checked.findings]


def _end(data: EventsData, raw: RawTables) -> date:
    """Return the day of the latest time in the tables, but never a day in the future."""
    if data.end:
        return data.end
    times = (raw.events[data.events.time], raw.outcome[data.outcome.time])
    latest = [day for time in times if (day := floor_day(time).max().to_pyarrow().as_py()) is not None]
    return EPOCH + timedelta(days=min(max(latest), to_day(last_possible_day(data))))


def panel_request(data: EventsData, blocks: Sequence[Block], source: Source) -> PanelRequest:
    """Return the request for the panel that the data config describes: as-ofs, label window and blocks."""
    first = EPOCH + timedelta(days=source.first_day)
    as_ofs = as_of_dates(data.spine, first=first, last=source.end, horizon_days=data.horizon_days)
    late = [str(day) for day in as_ofs if day > source.end]
    if late:
        logger.warning(
            "%s after the end of the data (%s), so their outcomes are unknown: %s",
            f"{counted(len(late), 'as-of')} {is_or_are(len(late))}",
            source.end,
            ", ".join(late),
        )
    products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
    return PanelRequest(blocks, as_ofs, data.horizon_days, source.end, data.events.activity, products)


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """Hash the values of a data frame.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    hashed = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()
