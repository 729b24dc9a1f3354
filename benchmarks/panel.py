"""Time to build the panel: of the real tables, and how it grows with events and as-ofs beside a plain join.

Run with ``python benchmarks/panel.py [FOLDER]``; the folder of the real tables is ../shared/data/hubspot by default,
and that part is left out where there is none. The plain join takes every event of every (account, as-of) that can see
it and aggregates them with the same expressions; both give the same numbers, which is checked. Exit code 1 if the real
tables take longer than they may.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import yaml

from mlsys import features
from mlsys.data.config import EventsData
from mlsys.data.demo import generate
from mlsys.data.load import check_source, load_events, open_source, panel_request
from mlsys.data.panel import Panel, PanelRequest, build_panel, with_totals
from mlsys.data.sources import canonical_entities, canonical_events
from mlsys.data.spine import build_spine
from mlsys.features import Block, EventBlock, History

ROOT = Path(__file__).parents[1]
LIMIT = 2.0  # seconds, for the real tables


def config(folder: Path, **changes: Any) -> EventsData:
    given = yaml.safe_load((ROOT / "conf" / "data" / "hubspot.yaml").read_text(encoding="utf-8"))
    return EventsData.model_validate(given | {"dir": str(folder), "cache": False} | changes)


def usage_blocks() -> list[Block]:
    given = yaml.safe_load((ROOT / "conf" / "features" / "usage.yaml").read_text(encoding="utf-8"))["blocks"].values()
    return [getattr(features, block.pop("_target_").rpartition(".")[2])(**block) for block in given]


def best(work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the least seconds of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def real_tables(folder: Path) -> bool:
    blocks, data = usage_blocks(), config(folder)

    def without_contracts() -> Panel:
        raw = check_source(data, blocks)
        entities, events = canonical_entities(data, raw), canonical_events(data, raw)
        return build_panel(entities, events, request)

    def everything() -> Panel:
        return load_events(data, blocks, check_source(data, blocks)).panel

    start = time.perf_counter()
    source, _ = open_source(data, check_source(data, blocks))  # imports pandera
    first = time.perf_counter() - start
    request = panel_request(data, blocks, source)
    frame = everything().frame
    excluded, included = best(without_contracts), best(everything)
    start = time.process_time()
    everything()
    cores = time.process_time() - start
    print(f"real tables: {len(frame):,} rows x {frame.shape[1]} columns at {len(request.as_ofs)} as-ofs")
    print(f"  without contracts {excluded:.2f} s, with contracts {included:.2f} s ({cores:.2f} s of all cores)")
    print(f"  at most {LIMIT} s each; the first contracts of a process take {first:.2f} s, as they import pandera")
    return max(excluded, included) <= LIMIT


def plain_join(entities: Any, events: Any, request: PanelRequest) -> pd.DataFrame:
    """Join every spine row with every event that it can see, then aggregate."""
    spine = build_spine(entities, request.as_ofs, horizon_days=request.horizon_days, end=request.end)
    events = with_totals(events, request.products)
    measures = [name for name in events.columns if name not in ("id", "known_day")]
    columns = {}
    for name in measures:
        value, day = events[name], events.known_day
        used = (value > 0).ifelse(day, ibis.null("int64"))
        columns |= {f"{name}__sum": value, f"{name}__max": value, f"{name}__active": (value > 0).ifelse(1, 0)}
        columns |= {f"{name}__last": used, f"{name}__first": used}
    cells = events.select("id", until_day=events.known_day, **columns)
    visible = spine.left_join(cells, [spine.id == cells.id, cells.until_day <= spine.as_of_day]).drop("id_right")
    blocks = [block for block in request.blocks if isinstance(block, EventBlock)]
    history = History(visible, measures, [days for block in blocks for days in block.windows])
    named = {one.name: one.expression.cast("float64") for block in blocks for one in block.features(history)}
    rows = visible.group_by("id", "as_of_day").aggregate(**named).to_pyarrow()
    return rows.sort_by([("as_of_day", "ascending"), ("id", "ascending")]).to_pandas()


def scaling(events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), events=events)
        data = config(Path(folder), spine={"dates": []})
        blocks = [block for block in usage_blocks() if isinstance(block, EventBlock)]
        raw = check_source(data, blocks)
        source, _ = open_source(data, raw)
        request = panel_request(data, blocks, source)
        print(f"\ngenerated tables: {source.entity_count:,} accounts, {source.event_count:,} events")
        print(f"{'events':>12}{'as-ofs':>8}{'spine rows':>12}{'here':>9}{'plain join':>12}{'ratio':>8}")
        measured = [
            measure(raw.connection, source.entities, source.events, times, request, request.as_ofs)
            for times in (1, 4, 16)
        ]
        growth("events", 16, measured[0], measured[-1])
        measured = [
            measure(raw.connection, source.entities, source.events, 4, request, request.as_ofs[-count:])
            for count in (4, 8, 16)
        ]
        growth("as-ofs", 4, measured[0], measured[-1])


def measure(
    connection: Any, entities: Any, events: Any, times: int, request: PanelRequest, as_ofs: Sequence[Any]
) -> tuple[float, float]:
    """Time both ways with each event repeated ``times`` times, each on another day of its week."""
    copies = ibis.memtable({"shift": list(range(times))}, schema={"shift": "int64"})
    many = events.cross_join(copies).mutate(known_day=lambda rows: rows.known_day + rows["shift"] % 7).drop("shift")
    many = connection.create_table(f"many_{times}_{len(as_ofs)}", many, temp=True)
    request = replace(request, as_ofs=list(as_ofs))
    here = build_panel(entities, many, request)
    plain = plain_join(entities, many, request)
    pd.testing.assert_frame_equal(here.inputs, plain[here.names], rtol=1e-9)
    seconds = best(lambda: build_panel(entities, many, request)), best(lambda: plain_join(entities, many, request))
    count = many.count().to_pyarrow().as_py()
    print(
        f"{count:12,}{len(as_ofs):8}{len(plain):12,}{seconds[0]:8.2f}s{seconds[1]:11.2f}s{seconds[1] / seconds[0]:8.1f}"
    )
    return seconds


def growth(what: str, times: int, first: tuple[float, float], last: tuple[float, float]) -> None:
    print(f"  {times} times the {what}: here {last[0] / first[0]:.1f} times the time, plain {last[1] / first[1]:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "hubspot")
    parser.add_argument("--events", type=int, default=40_000, help="of the generated tables")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # what the contracts find is not the matter here
    in_time = True
    if arguments.folder.is_dir():
        in_time = real_tables(arguments.folder)
    else:
        print(f"no real tables at {arguments.folder}")
    scaling(arguments.events)
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
