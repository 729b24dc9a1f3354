"""`mlsys score`: score the rows of a flat table with a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlsys.cli.output import AsJson, print_rows
from mlsys.cli.runs import RunName
from mlsys.errors import DataError, RunError
from mlsys.terminal import Terminal
from mlsys.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from mlsys.data.table import TableRecipe
    from mlsys.runs import Run

DEFAULT_TOP = 10  # rows that are shown


def score(
    run: RunName,
    data: Annotated[Path, typer.Argument(metavar="TABLE", help="A table with the columns of the training table.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the rows, in the table's order, to this CSV file; no cell runs as a formula."
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of rows to show, those with the highest probability (or uplift, if the model has one) first.",
        ),
    ] = DEFAULT_TOP,
    as_json: AsJson = False,
) -> None:
    """Score the rows of a table, read as training read its table.

    The target may be missing. Cells that do not parse are missing, with a warning.

    Example: mlsys score latest leads.csv --out scored.csv
    """
    from mlsys.data.table import read_table
    from mlsys.runs import Run, find_run
    from mlsys.runs.model_outputs import more_names
    from mlsys.spreadsheets import write_csv

    opened = Run.open(find_run(run))
    scored = _scored(opened, read_table(data))
    if out is not None:
        write_csv(scored, out)
    by = "uplift" if "uplift" in more_names(opened.schema) else "probability"
    highest = scored.sort_values(by, ascending=False, kind="stable").head(top)
    rows = [dict(zip(highest.columns, row, strict=True)) for row in highest.itertuples(index=False)]
    print_rows(rows, as_json=as_json, empty="The table has no rows.")
    if not as_json:
        flagged, threshold = int(scored["decision"].sum()), float(opened.threshold["threshold"])
        where = f"; written to {out}" if out is not None else ""
        Terminal().print_line(f"{counted(len(scored), 'row')}: {flagged:,} with {threshold:.1%} or more{where}")


def _scored(run: Run, raw: pd.DataFrame) -> pd.DataFrame:
    """Return the id and time of each row, or else its number, with its probability, decision and other outputs."""
    from mlsys.data.table import apply
    from mlsys.runs.golden import predict
    from mlsys.runs.model_outputs import more_outputs

    recipe = _recipe(run)
    inputs = apply(recipe, raw)
    _check_cells(run, recipe, raw, inputs)
    _, probabilities = predict(run.model, run.calibration, inputs)
    more = more_outputs(run.model, run.calibration, inputs)
    names = [str(run.schema[key]) for key in ("id", "as_of") if run.schema.get(key)]
    keys = raw[[name for name in names if name in raw.columns]]
    if keys.empty:
        keys = keys.assign(row=range(1, len(raw) + 1))
    decisions = probabilities >= float(run.threshold["threshold"])
    return keys.assign(probability=probabilities, decision=decisions, **more)


def _recipe(run: Run) -> TableRecipe:
    from mlsys.data.table import TableRecipe
    from mlsys.runs.recipe_file import read_recipe

    data = read_recipe(run)
    if "columns" not in data:
        raise RunError(
            f"{run.path} was not trained on a flat table but on entities and events. Serve it (python -m serve RUN), "
            "and send raw rows to POST /score, or rows of its inputs to POST /predict/batch."
        )
    return TableRecipe.from_dict(data)


def _check_cells(run: Run, recipe: TableRecipe, raw: pd.DataFrame, inputs: pd.DataFrame) -> None:
    """Refuse missing values where training had none, and treatments of neither arm, as the service does."""
    from mlsys.data.table.values import as_levels
    from mlsys.runs.input_column import input_columns
    from mlsys.runs.inputs import LEAVE_EMPTY, is_refused, refusal

    names = {output: column.name for column in recipe.columns for output in column.outputs}
    missing, refused = [], []
    for column in input_columns(run.schema):
        values, cells = inputs[column.name], raw[names[column.name]]
        empty = values.isna().to_numpy()
        if column.allowed and (wrong := is_refused(column, values) | (empty & (as_levels(cells).codes >= 0))).any():
            refused.append(refusal(column, cells, wrong))
        elif empty.any() and not column.nullable:
            count = counted(int(empty.sum()), "row")
            missing.append(f"  {column.name}: {count}, the first is row {int(empty.argmax()) + 1}")
    parts = []
    if missing:
        parts += ["These inputs are missing or do not parse, but never were in training:", *missing]
        parts += ["Fill or remove these rows; the model never learned what a missing value means here."]
    if refused:
        parts += ["These columns have cells that the model cannot use:", *refused, LEAVE_EMPTY]
    if parts:
        raise DataError("\n".join(parts))
