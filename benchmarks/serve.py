"""Compare the service with other model servers on the same model and rows, and check its own performance targets.

    python benchmarks/serve.py single                 # one record: requests/s and latency, compared with the peers
    python benchmarks/serve.py mixed                  # single records while a 10,000-row batch arrives every 0.5 s
    python benchmarks/serve.py batch                  # 10,000 rows per request, compared with parsing and predict alone
    python benchmarks/serve.py start                  # time to ready, memory, a 100 MB body
    python benchmarks/serve.py soak [--seconds 600]   # 80 % of capacity with reloads and a killed worker
    python benchmarks/serve.py fuzz [--bodies 10000]  # bodies from hypothesis, and schemathesis on the OpenAPI document

The models are trained first, on a synthetic table of 40 columns; --runs DIR keeps them. Peers that are not installed
are skipped with a reason; a peer that needs other package versions may use its own environment:
--python mlserver=DIR/bin/python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from serving import alone, runs, servers

CONNECTIONS = (1, 32)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users do not recompile for each command either


class Targets:
    """Report measurements against their targets, and count the targets missed."""

    def __init__(self) -> None:
        self.missed = 0

    def at_least(self, name: str, value: float, limit: float) -> None:
        self._report(name, value, f"at least {limit:g}", value >= limit)

    def at_most(self, name: str, value: float, limit: float) -> None:
        self._report(name, value, f"at most {limit:g}", value <= limit)

    def _report(self, name: str, value: float, target: str, met: bool) -> None:
        self.missed += not met
        print(f"  {'ok    ' if met else 'MISSED'} {name}: {value:.3g} (target: {target})", flush=True)


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-runs-") as temporary:
        options.runs = (options.runs or Path(temporary)).resolve()
        targets = Targets()
        if options.command == "single":
            single(options, targets)
        else:
            getattr(alone, options.command)(options, targets)
    return min(targets.missed, 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["single", "mixed", "batch", "start", "soak", "fuzz"])
    parser.add_argument("--runs", type=Path, help="folder for the table and the models (default: temporary)")
    parser.add_argument("--models", nargs="+", default=list(runs.MODELS), choices=runs.MODELS)
    parser.add_argument(
        "--only", nargs="+", default=list(servers.SERVERS), choices=servers.SERVERS, help="services to measure"
    )
    parser.add_argument("--python", nargs="+", action="extend", default=[], metavar="PEER=PATH")
    parser.add_argument("--seconds", type=float, help="seconds per measurement; for soak: seconds in total (600)")
    parser.add_argument("--bodies", type=int, default=10_000, help="number of bodies for fuzz")
    options = parser.parse_args()
    options.python = dict(pair.split("=", 1) for pair in options.python)
    return options


def single(options: argparse.Namespace, targets: Targets) -> None:
    """Measure one record per request over 1 and 32 connections."""
    trained = runs.train_all(options.runs, options.models)
    rows = runs.records(options.runs, 64)
    usable = [name for name in options.only if installed(name, options.python.get(name, sys.executable))]
    constants = [name for name in usable if servers.SERVERS[name].constant]
    line("model", "service", *(f"{each}: {what}" for each in CONNECTIONS for what in ("req/s", "p50 ms", "p99 ms")))
    fixed = {name: measure(name, "-", trained[options.models[0]], rows, options) for name in constants}
    for model, run in trained.items():
        found = {name: measure(name, model, run, rows, options) for name in usable if name not in constants}
        check_targets(model, {name: each for name, each in (fixed | found).items() if each}, targets)


def installed(name: str, python: str) -> bool:
    reason = servers.missing(name, python)
    if reason:
        print(f"skipped {name}: {reason}")
    return not reason


def measure(name: str, model: str, run: Path, rows: list[dict], options: argparse.Namespace) -> dict[int, dict] | None:
    server = servers.SERVERS[name]
    bodies = [json.dumps(server.body(row)).encode() for row in rows]
    try:
        with servers.running(name, run, rows[0], python=options.python.get(name, sys.executable)) as service:
            if not server.constant:
                check_prediction(service, run, rows[0])
            servers.result(service.load(bodies, 4, 0.7))  # warm up
            found = {each: servers.result(service.load(bodies, each, options.seconds or 3.0)) for each in CONNECTIONS}
    except RuntimeError as error:
        print(f"skipped {name}: {error}")
        return None
    line(model, name, *(number for each in CONNECTIONS for number in shown(found[each])))
    for each in CONNECTIONS:
        if set(found[each]["statuses"]) != {"200"}:
            print(f"  {name} also returned {found[each]['statuses']}: {found[each]['last']}")
    return found


def line(model: str, name: str, *numbers: str) -> None:
    print(f"{model:<10} {name:<17}", *(f"{number:>10}" for number in numbers), flush=True)


def shown(found: dict) -> tuple[str, str, str]:
    return f"{found['rate']:,.0f}", f"{found['p50'] * 1e3:.3f}", f"{found['p99'] * 1e3:.2f}"


def check_prediction(service: servers.Running, run: Path, row: dict) -> None:
    """Check that a service predicts the same as the run's own model."""
    status, answer = service.post(json.dumps(service.server.body(row)).encode())
    got, expected = service.server.read(json.loads(answer)), alone.own_probability(run, row)
    if status != 200 or abs(got - expected) > 1e-5:
        raise RuntimeError(f"it predicts {got}, but the run's own model {expected}")


def check_targets(model: str, found: dict[str, dict[int, dict]], targets: Targets) -> None:
    if "mlsys" not in found:
        return
    ours = found["mlsys"]
    limits = (
        {"mlflow": (15, None), "fastapi+pandas": (None, None)}
        if model == "catboost"
        else {"mlflow": (40, 100), "fastapi+pandas": (15, None)}
    )
    for name in (name for name in servers.PEERS if name in found):
        for connections, limit in zip(CONNECTIONS, limits.get(name, (None, None)), strict=True):
            ratio = ours[connections]["rate"] / found[name][connections]["rate"]
            what = f"{model}: throughput relative to {name}, connections: {connections}"
            if limit:
                targets.at_least(what, ratio, limit)
            else:
                print(f"         {what}: {ratio:.3g}")
    if "fastapi constant" in found:
        ratio = ours[1]["p50"] / found["fastapi constant"][1]["p50"]
        targets.at_most(f"{model}: p50 relative to a validating constant", ratio, 1.5)


if __name__ == "__main__":
    sys.exit(main())
