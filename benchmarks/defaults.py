"""Every model's defaults compared with tuned plain scripts, on tables of different shapes and the same folds.

    python benchmarks/defaults.py [--quick] [--tables public|generated|NAME…] [--models NAME…] [--folds 3]
    python benchmarks/defaults.py --real PATH     # also the early as-ofs of the real tables

A plain script uses one library alone: it imputes, scales and one-hot encodes where the library needs it, compares a few
settings on a fifth of the training rows, stops boosting early on them, and refits the best one on all training rows.
Its seconds include that comparison. The public tables are in packages that mlsys does not need otherwise:
`pip install --group bench`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from quality.comparison import Folds, Scores, folds_of, ours, plain
from quality.plain import SCRIPTS
from quality.tables import GENERATED, PUBLIC, MissingPackageError, Table

LIMITS = {"ROC-AUC": 0.005, "average precision": 0.01, "time": 3.0}
EARLY = '["2019-08-12","2019-09-09","2019-10-07","2019-11-04","2019-12-02","2019-12-30","2020-01-27"]'
HEADER = f"{'model':24s}{'ROC-AUC':>9s}{'plain':>8s}{'AP':>8s}{'plain':>8s}{'s':>8s}{'plain':>8s}{'ratio':>7s}"


def chosen(options: argparse.Namespace) -> list[Table]:
    known = {table.name: table for table in (*PUBLIC, *GENERATED)}
    groups = {"public": PUBLIC, "generated": GENERATED}
    tables = [table for name in options.tables for table in groups.get(name) or (known[name],)]
    return [table for table in tables if table.quick or not options.quick]


def opened(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Folds]]:
    for table in chosen(options):
        path = folder / f"{table.name}.csv"
        table.read().to_csv(path, index=False)
        yield (
            table.name,
            folds_of(["data=table", f"data.path={path}", "data.target=target", f"split.folds={options.folds}"]),
        )
    if options.real is not None:
        data = ["data=hubspot", f"data.dir={options.real}", f"data.spine.dates={EARLY}"]
        yield "early as-ofs of the real tables", folds_of([*data, "split.folds=7", "split.until=2020-01-27"])


def beyond(mine: Scores, other: Scores) -> list[str]:
    """Say which limits the defaults exceed."""
    behind = {
        "ROC-AUC": other.roc_auc - mine.roc_auc,
        "average precision": other.average_precision - mine.average_precision,
        "time": mine.seconds / other.seconds,
    }
    return [f"{name} {value:.3g} (limit {LIMITS[name]:g})" for name, value in behind.items() if value > LIMITS[name]]


def compare(name: str, table: Folds, models: list[str]) -> list[str]:
    labels = table.loaded.panel.frame["label"]
    print(f"\n{name}: {len(labels):,} rows, {int(labels.sum()):,} positive, {len(table.loaded.panel.features)} columns")
    print(HEADER)
    exceeded = []
    for model in models:
        mine, other = ours(table, [f"model={model}"]), plain(table, model)
        found = beyond(mine, other)
        print(
            f"{model:24s}{mine.roc_auc:9.4f}{other.roc_auc:8.4f}{mine.average_precision:8.4f}"
            f"{other.average_precision:8.4f}{mine.seconds:8.1f}{other.seconds:8.1f}{mine.seconds / other.seconds:7.2f}"
            f"{'  beyond: ' + ', '.join(found) if found else ''}",
            flush=True,
        )
        exceeded += [f"{name}, {model}: {each}" for each in found]
    return exceeded


def main() -> None:
    names = ["public", "generated", *(table.name for table in (*PUBLIC, *GENERATED))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the small tables")
    parser.add_argument(
        "--tables",
        nargs="+",
        default=["public", "generated"],
        choices=names,
        metavar="NAME",
        help=f"any of {', '.join(names)}",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(SCRIPTS),
        choices=list(SCRIPTS),
        metavar="NAME",
        help=f"any of {', '.join(SCRIPTS)}",
    )
    parser.add_argument("--folds", type=int, default=3, help="of each table (3)")
    parser.add_argument(
        "--real", type=Path, metavar="PATH", help="folder of the real tables, to compare on their early as-ofs too"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    exceeded = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, table in opened(options, Path(folder)):
                exceeded += compare(name, table, options.models)
    except MissingPackageError as error:
        sys.exit(str(error))
    print("\nBeyond the limits:" if exceeded else "\nAll within the limits.", *exceeded, sep="\n  ")


if __name__ == "__main__":
    main()
