"""Builds the panel of generated tables with mlsys, in a process of its own, and prints what it cost as JSON.

    python -m benchmarks.panels.here FOLDER --as-ofs 13 [--rivals FOLDER] [--memory-gb 8]

Each as-of's features go to a Parquet file that the next one replaces, so that the disk holds one of them. With
`--rivals`, the checked tables, the as-ofs and all features are left there, for others to do the same and be compared.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from mlsys import features
from mlsys.data.config import EventsData
from mlsys.data.load import check_source, open_source, panel_request
from mlsys.data.partitions import PartitionBuilder
from mlsys.features import Block, EventBlock
from mlsys.memory import peak_memory_mb

ROOT = Path(__file__).parents[2]


class Clock:
    """Seconds of the clock, and of all cores together, since the last call."""

    def __init__(self) -> None:
        self._now = (time.perf_counter(), time.process_time())

    def __call__(self) -> tuple[float, float]:
        before, self._now = self._now, (time.perf_counter(), time.process_time())
        return self._now[0] - before[0], self._now[1] - before[1]


def usage_blocks() -> list[Block]:
    """Return the blocks of ``features=usage`` that aggregate events."""
    given = yaml.safe_load((ROOT / "conf" / "features" / "usage.yaml").read_text(encoding="utf-8"))["blocks"].values()
    blocks = [getattr(features, block.pop("_target_").rpartition(".")[2])(**block) for block in given]
    return [block for block in blocks if isinstance(block, EventBlock)]


def measure(folder: Path, as_ofs: int, memory_gb: float, rivals: Path | None) -> dict[str, Any]:
    """Return seconds and memory of opening the tables, of all as-ofs, and of adding the last one to the others."""
    given = yaml.safe_load((ROOT / "conf" / "data" / "hubspot.yaml").read_text(encoding="utf-8"))
    changes = {"dir": str(folder), "memory_gb": memory_gb, "cache_dir": str(folder)}
    data = EventsData.model_validate(given | changes | {"spine": {"dates": [], "every_days": 7}})
    blocks, clock = usage_blocks(), Clock()
    raw = check_source(data, blocks)
    source, _ = open_source(data, raw)
    request = panel_request(data, blocks, source)
    if len(request.as_ofs) < as_ofs:
        raise SystemExit(f"The tables have {len(request.as_ofs)} weekly as-ofs, fewer than {as_ofs}.")
    request = replace(request, as_ofs=request.as_ofs[-as_ofs:])
    opened = clock()
    if rivals:
        export(rivals, raw.connection.con, source, request.as_ofs)
        clock()
    builder = PartitionBuilder(raw.connection, source.entities, source.events, request)
    rows = sum(build(builder, as_of, folder, rivals) for as_of in request.as_ofs)
    built = clock()
    builder.close()
    build(builder, request.as_ofs[-1], folder, None)
    return {
        "events": source.event_count,
        "as_ofs": as_ofs,
        "rows": rows,
        "open": opened,
        "build": built,
        "add_one": clock(),
        "peak_mb": peak_memory_mb(),
    }


def build(builder: PartitionBuilder, as_of: date, folder: Path, rivals: Path | None) -> int:
    """Write the features of an as-of to a Parquet file; return its number of rows."""
    batches, rows = builder.build(as_of), 0
    path = rivals / "here" / f"{as_of}.parquet" if rivals else folder / "features.parquet"
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def export(rivals: Path, connection: Any, source: Any, as_ofs: list[date]) -> None:
    """Leave the checked tables and the as-ofs for the rivals."""
    (rivals / "here").mkdir(parents=True)
    days = "DATE '1970-01-01' + {}::INTEGER AS {}"
    columns = f"* EXCLUDE (known_day), {days.format('known_day', 'known')}"
    connection.execute(f"COPY (SELECT {columns} FROM {source.events.get_name()}) TO '{rivals / 'events.parquet'}'")
    columns = f"id, {days.format('outcome_day', 'outcome')}"
    connection.execute(f"COPY (SELECT {columns} FROM {source.entities.get_name()}) TO '{rivals / 'entities.parquet'}'")
    (rivals / "as_ofs.json").write_text(json.dumps([str(day) for day in as_ofs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as-ofs", type=int, required=True)
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--memory-gb", type=float, default=8.0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # what the contracts find is not the matter here
    print(json.dumps(measure(given.folder, given.as_ofs, given.memory_gb, given.rivals)))


if __name__ == "__main__":
    main()
