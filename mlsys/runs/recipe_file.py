"""Reads recipe.json of a run, and checks it before anything is scored. Does not need pandas."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from mlsys.errors import RunError
from mlsys.runs.files import RECIPE_VERSION
from mlsys.runs.reader import Run

RECIPE = "recipe.json"
ColumnKind = Literal["number", "boolean", "category", "date", "text", "id", "constant", "target", "group", "time"]
# Fields of a column in the recipe of a flat table, with their JSON types.
FIELDS: dict[str, type] = {
    **dict.fromkeys(("name", "kind", "reason", "dropped", "decimal", "unit", "date_format", "guess"), str),
    **dict.fromkeys(("parts", "outputs", "true", "false"), list),
    "fold_case": bool,
}
REQUIRED = ("name", "kind", "reason")
# Date formats that are not strptime's; see mlsys.data.table.moments.
SPECIAL_FORMATS = frozenset({"ISO8601", "%Y-Q%q", "%G-W%V", "excel", "unix_s", "unix_ms", "unix_us", "unix_ns"})


def read_recipe(run: Run) -> dict[str, Any]:
    """Return a run's recipe; empty if it has none.

    Raises
    ------
    RunError
        If a field is missing, unknown or of the wrong type, or a date format is none.
    """
    if RECIPE not in run.manifest.files:
        return {}
    recipe: Any = run.read_json(RECIPE)
    if isinstance(recipe, dict) and recipe.get("version", RECIPE_VERSION) != RECIPE_VERSION:
        return recipe  # which its readers refuse
    problem = recipe_problem(recipe)
    if problem:
        raise RunError(f"{run.path}: {RECIPE} is corrupt: {problem}. Restore it from an intact run, or train again.")
    return dict(recipe)


def recipe_problem(recipe: object) -> str:
    """Return what is wrong with the content of recipe.json; "" if nothing is.

    Examples
    --------
    >>> recipe_problem({"columns": [{"name": "size", "kind": "colour", "reason": ""}]})
    "columns[0].kind is 'colour', not one of number, boolean, category, date, text, id, constant, target, group, time"
    >>> recipe_problem({"entities": {}, "events": {}, "dates": {"events.time": ["%d/%m/%Y"]}})
    ''
    """
    if not isinstance(recipe, dict):
        return f"it is a {type(recipe).__name__}, not an object"
    if "version" in recipe and "columns" not in recipe:
        return "columns is missing"
    columns, dates = recipe.get("columns", []), recipe.get("dates", {})
    if not isinstance(columns, list) or not isinstance(dates, dict):
        return "columns is not a list" if isinstance(dates, dict) else "dates is not an object"
    problems = [_column_problem(f"columns[{index}]", column) for index, column in enumerate(columns)]
    for name, formats in dates.items():
        if not isinstance(formats, list) or not all(map(_is_date_format, formats)):
            problems.append(f"dates[{name!r}] is {formats!r}, not a list of date formats")
    return next(filter(None, problems), "")


def _column_problem(place: str, column: object) -> str:
    if not isinstance(column, dict):
        return f"{place} is not an object"
    for name in REQUIRED:
        if name not in column:
            return f"{place}.{name} is missing"
    for name, value in column.items():
        if name not in FIELDS:
            return f"{place}.{name} is unknown; the fields are {', '.join(FIELDS)}"
        is_text = not isinstance(value, list) or all(isinstance(each, str) for each in value)
        if not isinstance(value, FIELDS[name]) or not is_text:
            return (
                f"{place}.{name} is {value!r}, not a {'list of str' if FIELDS[name] is list else FIELDS[name].__name__}"
            )
    if column["kind"] not in get_args(ColumnKind):
        return f"{place}.kind is {column['kind']!r}, not one of {', '.join(get_args(ColumnKind))}"
    if len(column.get("parts", [])) != len(column.get("outputs", [])):
        return f"{place} has {len(column.get('parts', []))} parts, but {len(column.get('outputs', []))} outputs"
    date_format = column.get("date_format", "ISO8601" if column["kind"] != "date" else "")
    if not _is_date_format(date_format):
        return f"{place}.date_format is {date_format!r}, not a date format"
    return ""


def _is_date_format(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
    if pattern in SPECIAL_FORMATS:
        return True
    known = pattern.partition(" (to ")[0].replace("%Z", "%z")
    try:
        return "%" in known and bool(
            datetime.strptime(datetime(2020, 2, 24).strftime(known.replace("%z", "+0000")), known)
        )
    except ValueError:
        return False
