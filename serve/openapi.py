"""OpenAPI document: a template completed with the run's fields, their units, ranges, categories and examples."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mlsys.runs.input_column import InputColumn, input_columns
from mlsys.runs.recipe_file import read_recipe
from serve.identifiers import EARLIEST, MAX_ID_LENGTH
from serve.model_reference import REGISTRY
from serve.openapi_raw import with_raw_columns
from serve.scoring.date_words import is_counted
from serve.served_models import LoadedModel

Json = dict[str, Any]

TEMPLATE = Path(__file__).with_name("openapi.yaml")
ALWAYS_POSSIBLE = {
    status: {"$ref": f"#/components/responses/{name}"}
    for status, name in (
        ("400", "BadRequest"),
        ("408", "Timeout"),
        ("421", "WrongHost"),
        ("431", "HeadersTooLarge"),
        ("500", "Internal"),
    )
}


def document(model: LoadedModel, *, keys: bool) -> Json:
    """Return the OpenAPI document of a model.

    Parameters
    ----------
    model : LoadedModel
    keys : bool
        Whether requests need an API key.
    """
    scorer = model.scorer
    openapi = _template()
    values = {
        "title": title(model),
        "version": model.resolved.version,
        "target": scorer.schema.get("target", "the target"),
        "threshold": f"{scorer.threshold:.4g}",
    }
    openapi["info"] = {key: text.format_map(values) for key, text in openapi["info"].items()}
    schemas = openapi["components"]["schemas"]
    schemas["Record"] = record_schema(model.schema)
    if scorer.inputs.raw is not None:
        schemas["Record"] = with_raw_columns(schemas["Record"], scorer.inputs.raw, scorer.run.manifest.created)
    for answer in (schemas["Prediction"], schemas["Predictions"]["properties"]["predictions"]["items"]):
        _add_outputs(answer, scorer.schema)
    for table, rows in _raw_rows(model).items():
        schemas["Entities"]["properties"][table]["items"] = rows
    for path in openapi["paths"].values():
        for operation in path.values():
            operation["responses"] = dict(sorted({**operation["responses"], **ALWAYS_POSSIBLE}.items()))
    if not keys:
        del openapi["components"]["securitySchemes"], openapi["security"]
    return openapi


def _add_outputs(answer: Json, schema: Json) -> None:
    """Add what the model gives beside the probability to the JSON Schema of an answer."""
    for output in schema.get("outputs", ()):
        answer["properties"][output["name"]] = {
            "type": "number",
            "minimum": output["minimum"],
            "maximum": output["maximum"],
            "description": output["description"],
        }
        answer["required"].append(output["name"])


def _template() -> Json:
    """Return a copy of the template that the caller may change."""
    return copy.deepcopy(_read_template())


@functools.cache
def _read_template() -> Json:
    template: Json = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    return template


def title(model: LoadedModel) -> str:
    """Return the display name of a model: its registered name and version, else the title of its card."""
    if model.resolved.reference.startswith(REGISTRY):
        return f"{model.resolved.name} {model.resolved.version}"
    heading = model.scorer.run.card.partition("\n")[0]
    return heading.removeprefix("# ").removeprefix("Model card: ") or model.resolved.name


def record_schema(schema: Json) -> Json:
    """Return the JSON Schema of a record.

    Parameters
    ----------
    schema : dict
        Contents of the run's schema.json.

    Examples
    --------
    >>> schema = {"inputs": [{"name": "users", "dtype": "float64", "nullable": True, "min": 0, "example": 3.0}]}
    >>> record_schema(schema)["properties"]["users"]["type"]
    ['number', 'null']
    """
    columns = input_columns(schema)
    record: Json = _template()["components"]["schemas"]["Record"]
    return record | {
        "properties": {column.name: _field(column) for column in columns},
        "required": [column.name for column in columns],
        "examples": [example_record(schema)],
    }


def example_record(schema: Json) -> Json:
    """Return a record with the example value of each field."""
    return {column.name: column.example for column in input_columns(schema)}


def _field(column: InputColumn) -> Json:
    kind = "number" if column.number else "string"
    field: Json = {"type": [kind, "null"] if column.nullable else kind, "description": _describe(column)}
    if column.unit:
        field["x-unit"] = column.unit
    # No limits: values outside the training range are scored with a warning.
    if column.has_range:
        field |= {"x-training-minimum": column.low, "x-training-maximum": column.high}
    if column.listed:
        field["x-training-values"] = list(column.listed)
    return field | {"examples": [column.example]}


def _describe(column: InputColumn) -> str:
    parts = [column.title]
    if column.unit:
        parts.append(f"unit: {column.unit}")
    if column.allowed:
        return "; ".join([*parts, f"must be {column.expected}"])
    if column.has_range:
        parts.append(f"in training {column.low:g} to {column.high:g}")
    if column.listed:
        parts.append(f"in training {', '.join(column.listed[:12])}{', …' if len(column.listed) > 12 else ''}")
    if column.nullable:
        parts.append("may be null")
    return "; ".join(parts)


def _raw_rows(model: LoadedModel) -> dict[str, Json]:
    """Return the JSON Schema of the rows of each raw table; empty if the run was trained on a flat table."""
    run = model.scorer.run
    recipe = read_recipe(run)
    dates: dict[str, dict[str, list[str]]] = {}
    for key, formats in recipe.get("dates", {}).items():
        table, _, meaning = key.partition(".")
        dates.setdefault(table, {})[meaning] = formats
    tables = {name: recipe[name] for name in ("entities", "events") if name in recipe}  # absent for a flat table
    return {
        name: {
            "type": "object",
            "properties": {
                column: _raw_column(kind, (run.config.get("data") or {}).get(name) or {}, column, dates.get(name, {}))
                for column, kind in columns.items()
            },
            "required": list(columns),
            "additionalProperties": False,
        }
        for name, columns in tables.items()
    }


def _raw_column(kind: str, table: Json, column: str, dates: Mapping[str, list[str]]) -> Json:
    """Return the JSON Schema of a raw column; ids and times of events may not be null.

    Times that training read from numbers, by ``dates``, may be numbers.
    """
    schema = _raw_type(kind)
    names = {name: table.get(name) for name in ("time", "created")}
    names |= {f"attributes.{name}": source for name, source in (table.get("attributes") or {}).items()}
    formats = [pattern for name, source in names.items() if source == column for pattern in dates.get(name, ())]
    if any(map(is_counted, formats)):
        return schema | {"type": ["string", "number"] + ["null"] * (column != table.get("time"))}
    if column == table.get("id"):
        return schema | ({"maxLength": MAX_ID_LENGTH, "pattern": r"\S"} if schema["type"] == "string" else {})
    return schema if column == table.get("time") else schema | {"type": [schema["type"], "null"]}


def _raw_type(kind: str) -> Json:
    if "int" in kind:
        return {"type": "integer"}
    if kind.startswith(("float", "decimal")):
        return {"type": "number"}
    if kind.startswith(("timestamp", "date")):
        return {"type": "string", "description": f"Date or time from {EARLIEST} on, such as 2020-02-24T08:30:00Z."}
    return {"type": "boolean" if kind == "boolean" else "string"}
