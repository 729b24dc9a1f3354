"""The OpenAPI document: a template, and the run's own fields with type, unit, range, categories and an example."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from mlsys.runs.input_column import InputColumn, input_columns
from serve.model_reference import REGISTRY
from serve.served_models import LoadedModel

Json = dict[str, Any]

TEMPLATE = Path(__file__).with_name("openapi.yaml")
RECIPE = "recipe.json"  # the types as which training read the raw tables


def document(served: LoadedModel, *, keys: bool) -> Json:
    """Return the document.

    Parameters
    ----------
    served : LoadedModel
        The model, whose schema names the fields.
    keys : bool
        Whether requests need an API key.
    """
    scorer = served.scorer
    filled = _template()
    facts = {
        "title": title(served),
        "version": served.target.version,
        "target": scorer.schema.get("target", "the target"),
        "threshold": f"{scorer.threshold:.4g}",
    }
    filled["info"] = {key: text.format_map(facts) for key, text in filled["info"].items()}
    schemas = filled["components"]["schemas"]
    schemas["Record"] = record_schema(served.schema)
    for table, columns in _raw_columns(served).items():
        schemas["Entities"]["properties"][table]["items"]["properties"] = columns
    if not keys:
        del filled["components"]["securitySchemes"], filled["security"]
    return filled


def _template() -> Json:
    """Return a copy of the template."""
    return copy.deepcopy(_read_template())


@functools.cache
def _read_template() -> Json:
    template: Json = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    return template


def title(served: LoadedModel) -> str:
    """Return what people call a model: its registered name and version, else what its card says that it is."""
    if served.target.reference.startswith(REGISTRY):
        return f"{served.target.name} {served.target.version}"
    heading = served.scorer.run.card.partition("\n")[0]
    return heading.removeprefix("# ").removeprefix("Model card: ") or served.target.name


def record_schema(schema: Json) -> Json:
    """Return the JSON Schema of a record.

    Parameters
    ----------
    schema : dict
        Content of a run's schema.json.

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
    """Return a record made from the example of each field."""
    return {column.name: column.example for column in input_columns(schema)}


def _field(column: InputColumn) -> Json:
    kind = "number" if column.number else "string"
    field: Json = {"type": [kind, "null"] if column.nullable else kind, "description": _describe(column)}
    if column.unit:
        field["x-unit"] = column.unit
    # No limits: what training did not see is scored, with a warning.
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


def _raw_columns(served: LoadedModel) -> dict[str, Json]:
    """Return what the columns of raw entities and events hold; empty where the run has no such tables."""
    run = served.scorer.run
    recipe = run.read_json(RECIPE) if RECIPE in run.manifest.files else {}
    return {  # the recipe of a flat table has neither
        table: {name: _raw_type(kind) for name, kind in recipe[table].items()}
        for table in ("entities", "events")
        if table in recipe
    }


def _raw_type(kind: str) -> Json:
    if kind.startswith(("int", "uint", "float", "decimal")):
        return {"type": ["integer" if "int" in kind else "number", "null"]}
    if kind.startswith("timestamp"):
        return {"type": "string", "description": "A moment, such as 2020-02-24T00:00:00."}
    return {"type": "string", "format": "date"} if kind == "date" else {"type": ["string", "null"]}
