"""The OpenAPI document: a template, and the run's own fields with type, unit, range, categories and an example."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from serve.models import Served
from serve.source import REGISTRY

Json = dict[str, Any]

TEMPLATE = Path(__file__).with_name("openapi.yaml")
RECIPE = "recipe.json"  # the types as which training read the raw tables


def document(served: Served, *, keys: bool) -> Json:
    """Return the document.

    Parameters
    ----------
    served : Served
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


def title(served: Served) -> str:
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
    inputs = schema["inputs"]
    record: Json = _template()["components"]["schemas"]["Record"]
    return record | {
        "properties": {entry["name"]: _field(entry) for entry in inputs},
        "required": [entry["name"] for entry in inputs],
        "examples": [example_record(schema)],
    }


def example_record(schema: Json) -> Json:
    """Return a record made from the example of each field."""
    return {
        entry["name"]: entry.get("example", None if entry["nullable"] else _sample(entry)) for entry in schema["inputs"]
    }


def _sample(entry: Json) -> object:
    if entry["dtype"] == "string":
        return (entry.get("categories") or [""])[0]
    return entry.get("min", 0.0)


def _field(entry: Json) -> Json:
    kind = "string" if entry["dtype"] == "string" else "number"
    field: Json = {"type": [kind, "null"] if entry["nullable"] else kind}
    field["description"] = _describe(entry)
    if entry.get("unit"):
        field["x-unit"] = entry["unit"]
    for name, key in (
        ("min", "x-training-minimum"),
        ("max", "x-training-maximum"),
        ("categories", "x-training-values"),
    ):
        if entry.get(name) is not None:  # no limits: what training did not see is scored, and warned of
            field[key] = entry[name]
    if "example" in entry:
        field["examples"] = [entry["example"]]
    return field


def _describe(entry: Json) -> str:
    parts = [str(entry.get("description") or entry["name"])]
    if entry.get("unit"):
        parts.append(f"unit: {entry['unit']}")
    if entry.get("min") is not None and entry.get("max") is not None:
        parts.append(f"in training {entry['min']:g} to {entry['max']:g}")
    if entry.get("categories"):
        shown = ", ".join(entry["categories"][:12])
        parts.append(f"in training {shown}{', …' if len(entry['categories']) > 12 else ''}")
    if entry["nullable"]:
        parts.append("may be null")
    return "; ".join(parts)


def _raw_columns(served: Served) -> dict[str, Json]:
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
