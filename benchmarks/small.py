"""A small version of every benchmark, one after the other, each with its limit: in ten minutes on two idle cores.

    python benchmarks/small.py [NAME …]      # `make bench`; names such as train or panel_size run those alone

Small versions show that each benchmark still runs and is roughly where it was; the limits are those of the whole ones,
which benchmarks/README.md lists. What starts a process or trains a model once weighs more in a small one. Exit code 1
if a benchmark fails or checks a limit and is beyond it; what it printed says which.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Small:
    """Arguments of a benchmark's small version, where ``{tables}`` is a folder of tables, and the whole one's limit."""

    arguments: str
    limit: str


SMALL = {
    "bootstrap": Small("--rows 1000 --resamples 200 --loop-resamples 5", "2 s for six folds of 5,000 rows"),
    "coverage": Small("--tables 20 --resamples 50 --cases A", ".95 promised"),
    "defaults": Small("--tables generated --quick --models logistic", ".005 ROC-AUC, .01 average precision, 3 times"),
    "engines": Small("--events 3000 --repeats 2", "none for the time; the same panel to the last bit"),
    "external_memory": Small("--rows 30000 --columns 200 --times 0.3", "a tenth of the panel's size; the same scores"),
    "negatives": Small("--tables 3 --resamples 20 --cases A --rows 5000", ".95 promised; no bias"),
    "panel": Small("{tables} --events 10000", "2 s for the real tables"),
    "panel_size": Small("--small", "2.2 times for each doubling; pandas at least 10 times, Featuretools 50"),
    "registry": Small("--kills 8", "no damage, no finished command lost"),
    "runs": Small("--runs 300", "none"),
    "serve": Small(
        "single --models logistic --only mlsys fastapi+pandas --seconds 1",
        "at least 15 times plain FastAPI at 1 connection",
    ),
    "startup": Small("--repeats 2", "2 times"),
    "sweep": Small("idle --trials 4", "5 % idle in long sweeps"),
    "tracking": Small("--repeats 1", "0.15 s for each further run"),
    "train": Small("--data {tables} --repeats 1", "1.5 times"),
    "uplift_coverage": Small("--tables 20 --resamples 50 --cases A", ".95 promised"),
}


def run(name: str, tables: Path) -> str | None:
    """Run a benchmark's small version; return how it failed, or None."""
    arguments = SMALL[name].arguments.format(tables=tables).split()
    print(f"\n=== python benchmarks/{name}.py {SMALL[name].arguments}\n    limit: {SMALL[name].limit}", flush=True)
    start, cores = time.perf_counter(), seconds_of_children()
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    code = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments], env=environment).returncode
    took, cores = time.perf_counter() - start, seconds_of_children() - cores
    print(f"    {took:.0f} s; {cores:.0f} s of all cores", flush=True)
    return f"{name}: exit code {code}" if code else None


def seconds_of_children() -> float:
    """Return the seconds of all cores of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SMALL))
    names = parser.parse_args().names or list(SMALL)
    if unknown := [name for name in names if name not in SMALL]:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(SMALL)}")
    from mlsys.data.demo import generate

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), events=12_000)
        failed = [found for name in names if (found := run(name, Path(folder)))]
    print(f"\n{len(names)} benchmarks, {time.perf_counter() - start:.0f} s")
    if failed:
        sys.exit("Failed or beyond a limit:\n  " + "\n  ".join(failed))


if __name__ == "__main__":
    main()
