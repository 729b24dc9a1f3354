"""The `mlsys` command line."""

from __future__ import annotations

import logging
import sys

import typer

from mlsys.cli import compare, config, data, registry, runs, score, track
from mlsys.errors import ConfigError, MlsysError
from mlsys.text import visible

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Inspect runs, data and models; version models and choose the one that is served. "
    "To train a model, use `python -m mlsys.train`.",
)
app.command("runs")(runs.runs)
app.command("compare")(compare.compare)
app.command("show")(runs.show)
app.command("replay")(runs.replay)
app.command("score")(score.score)
app.command("track")(track.track)
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(registry.app, name="registry")


def main() -> None:
    """Run the command line; exit codes: 0 success, 1 the answer is no or the command failed, 2 wrong usage."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except MlsysError as error:
        sys.stderr.write(f"{visible(str(error))}\n")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
