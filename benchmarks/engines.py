"""Time of another engine to build the panel beside DuckDB's, on the same generated tables and the same cores.

Run with ``python benchmarks/engines.py [--engine URL] [--events N]``; the engine is Spark on two cores by default,
which needs ``pip install 'mlsys[spark]'``. Both build every as-of from the tables in canonical form; the time to
connect and to copy the tables to the engine is given apart. Exit code 1 if the two panels differ in a bit.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from panel import config, usage_blocks

from mlsys.data.demo import generate
from mlsys.data.engines import connected, place
from mlsys.data.load import Source, check_source, open_source, panel_request
from mlsys.data.panel import PanelRequest
from mlsys.data.partitions import PartitionBuilder


def build(connection: Any, entities: Any, events: Any, request: PanelRequest) -> tuple[pa.Table, float]:
    """Return the features of all as-ofs, and the seconds that they took."""
    start = time.perf_counter()
    builder = PartitionBuilder(connection, entities, events, request)
    features = pa.concat_tables([builder.build(as_of).read_all() for as_of in request.as_ofs])
    builder.close()
    return features, time.perf_counter() - start


def compare(source: Source, request: PanelRequest, duckdb: Any, url: str, repeats: int) -> bool:
    start = time.perf_counter()
    with connected(url, "--engine") as engine:
        ready = time.perf_counter()
        entities, events = place(source.entities, engine), place(source.events, engine)
        placed = time.perf_counter()
        print(f"{url}: {ready - start:.1f} s to connect, {placed - ready:.1f} s to copy the tables")
        print(f"{'round':>6}{'DuckDB':>10}{engine.name:>10}{'ratio':>8}")
        same = True
        for number in range(1, repeats + 1):
            here, seconds = build(duckdb, source.entities, source.events, request)
            there, other = build(engine, entities, events, request)
            same = same and here.equals(there)
            print(f"{number:6}{seconds:9.1f}s{other:9.1f}s{other / seconds:8.1f}")
    print("the same panel, to the last bit" if same else "THE PANELS DIFFER")
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="pyspark://local[2]", help="an Ibis URL")
    parser.add_argument("--events", type=int, default=100_000, help="of the generated tables")
    parser.add_argument("--threads", type=int, default=2, help="of DuckDB")
    parser.add_argument("--repeats", type=int, default=3, help="the first round has the engine's own start in it")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # what the contracts find is not the matter here
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), events=arguments.events)
        data, blocks = config(Path(folder), spine={"dates": []}), usage_blocks()
        raw = check_source(data, blocks, threads=arguments.threads)
        source, _ = open_source(data, raw)
        request = panel_request(data, blocks, source)
        sizes = f"{source.entity_count:,} accounts, {source.event_count:,} events, {len(request.as_ofs)} as-ofs"
        print(f"generated tables: {sizes}, {len(blocks)} feature blocks")
        return 0 if compare(source, request, raw.connection, arguments.engine, arguments.repeats) else 1


if __name__ == "__main__":
    sys.exit(main())
