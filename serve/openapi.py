"""OpenAPI document: a template completed with the run's fields, their units, ranges, categories and examples."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from mlsys.runs.input_column import InputColumn, input_columns
from serve.model_reference import REGISTRY
from serve.openapi_raw import with_raw_columns
from serve.served_models import LoadedModel

Json = dict[str, Any]

TEMPLATE = Path(__file__).with_name("openapi.yaml")
RECIPE = "recipe.json"  # column types of the raw tables in training


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
        schemas["Record"] = with_raw_columns(schemas["Record"], scorer.inputs.raw)
    for table, columns in _raw_columns(model).items():
        schemas["Entities"]["properties"][table]["items"]["properties"] = columns
    if not keys:
        del openapi["components"]["securitySchemes"], openapi["security"]
    return openapi


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
    if column.has_range:
        parts.append(f"in training {column.low:g} to {column.high:g}")
    if column.listed:
        parts.append(f"in training {', '.join(column.listed[:12])}{', …' if len(column.listed) > 12 else ''}")
    if column.nullable:
        parts.append("may be null")
    return "; ".join(parts)


def _raw_columns(model: LoadedModel) -> dict[str, Json]:
    """Return the JSON Schema of the raw entity and event columns; empty if the run was trained on a flat table."""
    run = model.scorer.run
    recipe = run.read_json(RECIPE) if RECIPE in run.manifest.files else {}
    return {  # absent from the recipe of a flat table
        table: {name: _raw_type(kind) for name, kind in recipe[table].items()}
        for table in ("entities", "events")
        if table in recipe
    }


def _raw_type(kind: str) -> Json:
    if kind.startswith(("int", "uint", "float", "decimal")):
        return {"type": ["integer" if "int" in kind else "number", "null"]}
    if kind.startswith("timestamp"):
        return {"type": "string", "description": "Timestamp, such as 2020-02-24T00:00:00."}
    return {"type": "string", "format": "date"} if kind == "date" else {"type": ["string", "null"]}
