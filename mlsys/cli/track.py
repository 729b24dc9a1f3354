"""`mlsys track`: send finished runs to a tracker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from mlsys.cli.output import AsJson, print_rows
from mlsys.terminal import Terminal

if TYPE_CHECKING:
    from mlsys.runs import Run
    from mlsys.tracking import Tracker
    from mlsys.tracking.base import Receipt
    from mlsys.tracking.client import TrackingClient

DEFAULT = "wandb"  # for runs that were trained without a tracker
# The only classes that a run's config may name: the run may come from somebody else, so it must not choose freely.
BUILT_IN = {f"mlsys.tracking.{name}" for name in ("WandbTracker", "MlflowTracker", "MultiTracker")}


def track(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Run directories, sweeps, or `latest`.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="wandb, mlflow, all, or another option in conf/tracking; by default the one in the run's config."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds allowed per run and tracker.")] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Send finished runs to W&B or MLflow.

    The command is idempotent: sending a run again updates it. It uses the tracker settings that the run was trained
    with, or else those in conf/tracking. Exit code 1 if any run could not be sent.

    Example: mlsys track latest --to wandb
    """
    folders = [folder for name in runs for folder in _folders(name)]
    terminal = Terminal(stderr=True)
    rows = []
    with (
        Progress(transient=True, console=terminal, disable=not terminal.is_terminal) as progress,
        _Sender(timeout) as sender,
    ):
        for folder in progress.track(folders, description="runs"):
            rows += [_row(folder, name, receipt) for name, receipt in _send(sender, folder, to)]
    print_rows(rows, as_json=as_json, empty="No finished runs to send.")
    if any(row["state"] == "failed" for row in rows):
        raise typer.Exit(1)


def _send(sender: _Sender, folder: Path, to: str | None) -> Iterator[tuple[str, Receipt]]:
    """Send a run to all its trackers; a run that cannot be opened is reported as failed, and others still go on."""
    from mlsys.errors import RunError
    from mlsys.runs import Run
    from mlsys.tracking.base import Receipt

    try:
        run = Run.open(folder)
    except RunError as error:
        yield to or "", Receipt("failed", reason=" ".join(str(error).split()))
        return
    for tracker in _trackers(run, to):
        yield tracker.name, sender.send(tracker, folder)


def _row(folder: Path, name: str, receipt: Receipt) -> dict[str, str]:
    where = receipt.where if receipt.state == "online" else f"{receipt.where} ({receipt.reason})".strip()
    return {"run": "/".join(folder.parts[-2:]), "to": name, "state": receipt.state, "where": where}


class _Sender:
    """Sends runs through one subprocess per tracker, as in training, with a timeout of its own."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._clients: dict[Tracker, TrackingClient] = {}

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def send(self, tracker: Tracker, folder: Path) -> Receipt:
        """Send one run and return its receipt."""
        from mlsys.tracking.client import TrackingClient

        if tracker not in self._clients:
            self._clients[tracker] = TrackingClient(replace(tracker, finish_timeout=self._timeout))  # type: ignore[type-var]
        client = self._clients[tracker]
        client.start(folder)
        client.finish(folder)
        flushed = client.flush()
        assert flushed is not None
        return flushed[1]


def _folders(name: str) -> list[Path]:
    """Return the run directory with this name, or all finished ones below this folder."""
    from mlsys.errors import RunError
    from mlsys.runs import find_run
    from mlsys.runs.discover import run_folders
    from mlsys.runs.files import MANIFEST

    for folder in (base / name for base in (Path(), Path("outputs"), Path("multirun"))):
        if name != "latest" and folder.is_dir() and not (folder / MANIFEST).is_file():
            found = [run.resolve() for run in run_folders(folder) if (run / MANIFEST).is_file()]
            if not found:
                raise RunError(f"No finished runs in {folder}. `mlsys runs` lists the runs.")
            return found
    return [find_run(name)]


def _trackers(run: Run, to: str | None) -> Iterator[Tracker]:
    """Yield the trackers to send a run to, with the settings that it was trained with where it has any."""
    saved = {tracker.name: tracker for tracker in _saved(run)}
    for tracker in list(saved.values()) if saved and to is None else _configured(to):
        yield _online(saved.get(tracker.name, tracker))


def _saved(run: Run) -> Sequence[Tracker]:
    node = run.config.get("tracking") or {}
    nodes = [node, *(each for each in node.values() if isinstance(each, dict))]
    if not {each.get("_target_") for each in nodes} <= BUILT_IN or "***" in str(
        node
    ):  # passwords are masked in saved configs
        return ()
    return _build(node)


def _configured(option: str | None) -> Sequence[Tracker]:
    from mlsys.compose import compose_config

    config = compose_config([f"tracking={option or DEFAULT}"])
    return _build(config.tracking.model_dump(by_alias=True))


def _build(node: Any) -> Sequence[Tracker]:  # noqa: ANN401 - a config node
    from mlsys.config import build
    from mlsys.model_config import Component
    from mlsys.tracking.base import members

    return members(build(Component.model_validate(node), "tracking"))


def _online(tracker: Tracker) -> Tracker:
    """Return the tracker in online mode: falling back to offline files would leave the run unsent."""
    from mlsys.tracking import WandbTracker

    if isinstance(tracker, WandbTracker) and tracker.mode is None and not os.environ.get("WANDB_MODE"):
        return replace(tracker, mode="online")
    return tracker
