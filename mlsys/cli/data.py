"""`mlsys data`: generate, validate and describe raw tables, and print the panel's query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from mlsys.cli.output import AsJson, print_json, print_rows
from mlsys.terminal import Terminal

if TYPE_CHECKING:
    from mlsys.data.config import EventsData

app = typer.Typer(
    no_args_is_help=True,
    help="Generate, validate and describe raw tables; print the panel's query.",
    rich_markup_mode=None,
)
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="OVERRIDE…", help="Config overrides as for training, e.g. data=hubspot data.dir=PATH."),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        help="A folder with more config options, as for training.", metavar="FOLDER", exists=True, file_okay=False
    ),
]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write the three Parquet files to.")],
    events: Annotated[int, typer.Option(help="Number of usage rows, up to 100,000,000.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed and size give the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Generate synthetic raw tables.

    Example: mlsys data demo --out demo --events 1000000
    """
    from dataclasses import asdict

    from mlsys.data.demo import generate

    with Progress(console=Terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("events", total=events)
        summary = generate(out, events=events, seed=seed, progress=lambda done: progress.update(task, completed=done))
    rows = {key: str(value) if key == "files" else value for key, value in asdict(summary).items()}
    if as_json:
        print_json(rows)
    else:
        print_rows([rows | {"files": str(out)}], as_json=False, empty="")


@app.command()
def validate(overrides: Overrides = None, config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """Validate raw tables against their contract.

    Exit code 1 if a rule set to `error` is violated.

    Example: mlsys data validate data=hubspot data.dir=PATH
    """
    from mlsys.data.contracts import check_tables
    from mlsys.data.load import check_source

    config = _events_config(overrides, config_dir)
    checked = check_tables(config, check_source(config, ()))
    rows = [finding.to_dict() for finding in checked.findings]
    print_rows(rows, as_json=as_json, empty="No violations.")


@app.command()
def describe(overrides: Overrides = None, config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """Describe the columns: their values and how they are used.

    Example: mlsys data describe data=table data.path=leads.csv data.target=won
    """
    from dataclasses import asdict

    from mlsys.compose import compose_config
    from mlsys.data.config import TableData

    config = compose_config(overrides or [], config_dir=config_dir).data
    if isinstance(config, TableData):
        from mlsys.data.flat import describe_table

        rows = [asdict(report) for report in describe_table(config)]
    else:
        from mlsys.data.describe import describe_tables
        from mlsys.data.load import check_source

        config = _events_config(overrides, config_dir)
        rows = [asdict(summary) for summary in describe_tables(config, check_source(config, ()))]
    print_rows(rows, as_json=as_json, empty="The tables have no columns.")


@app.command()
def sql(
    overrides: Overrides = None,
    dialect: Annotated[
        str, typer.Option(help="The database, as Ibis calls it: snowflake, bigquery, postgres, pyspark, …")
    ] = "duckdb",
    config_dir: ConfigDir = None,
) -> None:
    """Print the query that a database runs for the panel.

    The tables are opened to learn their types and as-ofs; no connection to the database is needed. The query reads
    them as if no row broke a rule. Blocks that join tables by themselves are left out.

    Example: mlsys data sql data=hubspot data.dir=PATH --dialect snowflake
    """
    from mlsys.compose import compose_config
    from mlsys.config import build
    from mlsys.data.load import check_source, open_source, panel_request
    from mlsys.data.panel_sql import panel_sql

    config = _events_config(overrides, config_dir)
    nodes = compose_config(overrides or [], config_dir=config_dir).features.blocks
    blocks = [build(node, f"features.blocks.{name}") for name, node in nodes.items() if node is not None]
    raw = check_source(config, blocks)
    request = panel_request(config, blocks, open_source(config, raw)[0])
    typer.echo(panel_sql(config, raw, request, dialect))


def _events_config(overrides: list[str] | None, config_dir: Path | None) -> EventsData:
    from mlsys.compose import compose_config
    from mlsys.data.config import TableData
    from mlsys.data.load import with_demo
    from mlsys.errors import ConfigError, Problem

    config = compose_config(overrides or [], config_dir=config_dir).data
    if isinstance(config, TableData):
        problem = Problem("data", "table", "demo, hubspot or sql: a flat table has no contract", "demo")
        raise ConfigError("The config", [problem], "`mlsys data describe` shows how a flat table's columns are used.")
    return with_demo(config)
