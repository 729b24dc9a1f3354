"""`mlsys config`: what the config may hold."""

from __future__ import annotations

import typer

from mlsys.cli.output import print_json

app = typer.Typer(no_args_is_help=True, help="What the config may hold.", rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Keep `schema` a subcommand even while it is the only one."""


@app.command()
def schema() -> None:
    """Print the JSON schema of the config.

    Example: mlsys config schema > schema.json
    """
    from mlsys.config import TrainConfig

    print_json(TrainConfig.model_json_schema())
