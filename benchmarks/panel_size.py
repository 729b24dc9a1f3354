"""What a panel costs as it grows, and beside pandas, polars and Featuretools on the same tables.

    python benchmarks/panel_size.py [--events 250000] [--as-ofs 13] [--plot benchmarks/panel_size.svg]
    python benchmarks/panel_size.py --small                                # a minute
    python benchmarks/panel_size.py --only 16000000:4 [--memory-gb 8]      # events and weekly as-ofs of one size

The tables are generated; accounts grow with the events. Each size runs in its own process: the tables are opened and
checked, and the features of each weekly as-of are written to Parquet. Seconds are those of all cores, of which other
work on the machine changes less than of the clock's, which stand beside them. All rivals start from the checked tables
and write the same files; their numbers are compared. Featuretools runs on the first accounts, twice as many each time,
until it takes half a minute or has all; its cost per row is that of the last time. Exit code 1 if a limit is missed;
with `--small`, only the limit of growth counts, as what is done once weighs too much for the others.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.panels import rivals
from benchmarks.panels.drawing import draw
from mlsys.data.demo import generate

PER_DOUBLING, ADD_ONE = 2.2, 1 / 20
AT_LEAST = {"pandas": 10.0, "polars": None, "featuretools": 50.0}


class Sizes:
    """Measures sizes, generating the tables of each number of events once."""

    def __init__(self, folder: Path, memory_gb: float) -> None:
        self._folder, self._memory_gb = folder, memory_gb

    def measure(self, events: int, as_ofs: int, *more: str) -> dict[str, Any]:
        """Return the cost of one size, and print it."""
        folder = self._folder / str(events)
        if not folder.exists():
            generate(folder, events=events)
        command = [sys.executable, "-m", "benchmarks.panels.here", str(folder), "--as-ofs", str(as_ofs)]
        found = rivals.run([*command, "--memory-gb", str(self._memory_gb), *more])
        show(found)
        return found


def show(found: dict[str, Any]) -> None:
    clocks = [f"{found[part][1]:9.2f} ({found[part][0]:.2f})" for part in ("open", "build", "add_one")]
    size = f"{found['events']:12,}{found['as_ofs']:8}{found['rows']:13,}"
    print(size + "".join(f"{one:>20}" for one in clocks) + f"{found['peak_mb']:9,.0f} MB", flush=True)


def growth(what: str, measured: Sequence[dict[str, Any]], key: str) -> bool:
    """Print how the cost grew with each doubling; return whether that is within the limit."""
    first, last = measured[0], measured[-1]
    doublings = math.log2(last[key] / first[key])
    total = [one["open"][1] + one["build"][1] for one in (first, last)]
    ratio = (total[1] / total[0]) ** (1 / doublings)
    memory = last["peak_mb"] / first["peak_mb"]
    print(
        f"  each doubling of the {what}: {ratio:.2f} times the seconds of all cores (limit {PER_DOUBLING}); "
        f"{2**doublings:.0f} times the {what}: {memory:.1f} times the memory"
    )
    return ratio <= PER_DOUBLING


def compare(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Print how many times as long a rival takes for a row; return whether that is within the limit."""
    times = [theirs["build"][each] / theirs["rows"] / (ours["build"][each] / ours["rows"]) for each in (1, 0)]
    limit = AT_LEAST[name]
    print(
        f"  {name}: {times[0]:.2f} times the seconds of all cores for a row, {times[1]:.2f} times those of the clock "
        f"({'no limit' if limit is None else f'limit at least {limit:g}'}); {theirs['rows']:,} rows with the same "
        f"numbers in {theirs['build'][0]:.1f} s, {theirs['peak_mb']:,.0f} MB",
        flush=True,
    )
    return limit is None or times[0] >= limit


def featuretools(folder: Path, python: str, accounts: int, enough_seconds: float) -> dict[str, Any]:
    """Return the cost for the most accounts that Featuretools still had time for, doubled from the given number."""
    while True:
        found = rivals.measure("featuretools", folder, python, accounts=accounts)
        if found["build"][0] > enough_seconds / 2 or found["accounts"] < accounts:
            return found
        accounts *= 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=250_000, help="of the smallest tables (250000)")
    parser.add_argument("--as-ofs", type=int, default=13, help="the fewest weekly as-ofs (13)")
    parser.add_argument("--small", action="store_true", help="20,000 events, 3 as-ofs")
    parser.add_argument("--only", metavar="EVENTS:AS_OFS", help="measure this size alone")
    parser.add_argument("--memory-gb", type=float, default=8.0, help="data.memory_gb (8)")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw cost against size")
    parser.add_argument("--python", nargs="+", default=[], metavar="RIVAL=PATH", help="a rival's own environment")
    parser.add_argument("--folder", type=Path, help="for the generated tables (default: a temporary one)")
    given = parser.parse_args()
    pythons = dict(pair.split("=", 1) for pair in given.python)
    if given.small:
        given.events, given.as_ofs = 20_000, 3
    others = [] if given.only else rivals.usable(pythons)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        sizes = Sizes(Path(folder), given.memory_gb)
        print(f"{'events':>12}{'as-ofs':>8}{'rows':>13}{'open':>20}{'all as-ofs':>20}{'one alone':>20}{'peak':>12}")
        print("of all cores, and (of the clock), in seconds", flush=True)
        if given.only:
            events, as_ofs = (int(number) for number in given.only.split(":"))
            sizes.measure(events, as_ofs)
            return 0
        by_events = [sizes.measure(given.events * times, given.as_ofs) for times in (1, 4, 16)]
        met = [growth("events", by_events, "events")]
        by_as_ofs = [by_events[0], *(sizes.measure(given.events, given.as_ofs * times) for times in (2, 4))]
        met.append(growth("as-ofs", by_as_ofs, "as_ofs"))
        one = by_as_ofs[-1]["add_one"][1] / by_as_ofs[-1]["build"][1]
        print(f"  one as-of more than the cached ones: {one:.3f} of building all {given.as_ofs * 4} (limit {ADD_ONE})")
        met.append(one <= ADD_ONE or given.small)
        export = Path(folder) / "rivals"
        ours = sizes.measure(given.events, given.as_ofs, "--rivals", str(export))
        for name in others:
            python = pythons.get(name, sys.executable)
            if name == "featuretools":
                theirs = featuretools(export, python, *((50, 4.0) if given.small else (500, 30.0)))
            else:
                theirs = rivals.measure(name, export, python)
            met.append(compare(name, ours, theirs) or given.small)
    if given.plot:
        draw(by_events, by_as_ofs, given.plot)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
