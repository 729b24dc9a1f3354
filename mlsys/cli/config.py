"""`mlsys config`: the config schema."""

from __future__ import annotations

import typer

from mlsys.cli.output import print_json

app = typer.Typer(no_args_is_help=True, help="Show the config schema.", rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Make `schema` a subcommand even though it is the only one."""


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config.

    Example: mlsys config schema > schema.json
    """
    from mlsys.config import TrainConfig

    print_json(TrainConfig.model_json_schema())
