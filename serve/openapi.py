"""The OpenAPI document: the run's own fields with type, unit, range, categories and an example."""

from __future__ import annotations

from typing import Any

from mlsys.runs.input_column import InputColumn, input_columns
from serve import media
from serve.models import Served
from serve.source import REGISTRY

Json = dict[str, Any]
RECIPE = "recipe.json"  # as which types training read the raw tables

REFUSALS = {
    "400": "The body or the query cannot be read.",
    "401": "A valid API key is needed.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large, or has too many rows.",
    "415": "The Content-Type is none that is taken here.",
    "422": "Fields are missing, unknown or of another type; `problems` names each.",
    "429": "Too many requests; Retry-After says when to come again.",
    "503": "Too much is under way; Retry-After says when to come again.",
}


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
    text: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": title(served),
            "version": served.target.version,
            "description": (
                f"Probability of: {scorer.schema.get('target', 'the target')}. "
                f"A probability of {scorer.threshold:.4g} or more is a yes."
            ),
        },
        "paths": _paths(),
        "components": {"schemas": _schemas(served)},
    }
    if keys:
        text["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        text["security"] = [{"bearer": []}, {"key": []}]
    return text


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
    columns = input_columns(schema)
    return {
        "type": "object",
        "title": "Record",
        "description": "One record of the model's inputs; all are required.",
        "properties": {column.name: _field(column) for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
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


def _schemas(served: Served) -> Json:
    text, number, nothing = {"type": "string"}, {"type": "number"}, {"type": "null"}
    strings = {"type": "array", "items": text}
    model = {"type": "object", "properties": {"name": text, "version": text, "run": text}}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    prediction = {"probability": probability, "decision": {"type": "boolean"}, "warnings": strings}
    reference = "#/components/schemas/"
    named = {"id": {"type": ["string", "integer", "null"]}, "as_of": {"type": ["string", "null"], "format": "date"}}
    return {
        "Record": record_schema(served.schema),
        "Model": model,
        "Reasons": {
            "type": "object",
            "description": "With explain=true. base, the contributions of top, and other add up to total.",
            "properties": {
                "scale": text,
                "base": number,
                "top": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "field": text,
                            "label": text,
                            "value": {"type": ["number", "string", "null"]},
                            "contribution": number,
                        },
                    },
                },
                "other": number,
                "total": number,
            },
        },
        "Prediction": {
            "type": "object",
            "properties": {
                **prediction,
                "threshold": number,
                "reasons": {"$ref": f"{reference}Reasons"},
                "model": {"$ref": f"{reference}Model"},
                "request_id": text,
            },
            "required": ["probability", "decision", "threshold", "warnings", "model", "request_id"],
        },
        "Batch": {
            "type": "object",
            "properties": {
                "records": {"type": "array", "items": {"$ref": f"{reference}Record"}, "minItems": 1},
                "ids": {
                    "type": "array",
                    "items": {"type": ["string", "integer"]},
                    "description": "One for each record.",
                },
                "as_of": {"type": "string", "format": "date", "description": "The moment of which the inputs speak."},
            },
            "required": ["records"],
            "additionalProperties": False,
        },
        "Predictions": {
            "type": "object",
            "properties": {
                "predictions": {
                    "type": "array",
                    "items": {"type": "object", "properties": {**named, **prediction}, "required": list(prediction)},
                },
                "warnings": strings,
                "threshold": number,
                "model": {"$ref": f"{reference}Model"},
                "request_id": text,
            },
            "required": ["predictions", "warnings", "threshold", "model", "request_id"],
        },
        "Entities": {
            "type": "object",
            "properties": {
                "entities": {"type": "array", "items": _raw_row(served, "entities"), "minItems": 1},
                "events": {"type": "array", "items": _raw_row(served, "events")},
                "as_of": {"type": "string", "format": "date"},
            },
            "required": ["entities", "events", "as_of"],
            "additionalProperties": False,
        },
        "Refusal": {
            "type": "object",
            "properties": {
                "error": text,
                "message": text,
                "problems": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "row": {"type": ["integer", "null"]},
                            "field": text,
                            "got": {},
                            "expected": text,
                            "nearest": {"anyOf": [text, nothing]},
                            "message": text,
                        },
                    },
                },
                "request_id": text,
            },
            "required": ["error", "message", "problems", "request_id"],
        },
    }


def _raw_row(served: Served, table: str) -> Json:
    """Return what a row of a raw table is like; the run says so if its features are computed from such tables."""
    run = served.scorer.run
    if RECIPE not in run.manifest.files:
        return {"type": "object"}
    columns: dict[str, str] = run.read_json(RECIPE)[table]
    return {"type": "object", "properties": {name: _raw_type(kind) for name, kind in columns.items()}}


def _raw_type(kind: str) -> Json:
    if kind.startswith(("int", "uint", "float", "decimal")):
        return {"type": ["integer" if "int" in kind else "number", "null"]}
    if kind.startswith("timestamp"):
        return {"type": "string", "description": "A moment, such as 2020-02-24T00:00:00."}
    return {"type": "string", "format": "date"} if kind == "date" else {"type": ["string", "null"]}


def _paths() -> Json:
    batch = {
        name: {"schema": {"type": "string", "format": "binary"}}
        for name, kind in media.TYPES.items()
        if kind != media.JSON
    }
    explain = _parameter("explain", {"type": "boolean"}, "Add the top reasons.")
    who = _parameter("id", {"type": "string"}, "The entity, for the prediction log.")
    as_of = _parameter(
        "as_of", {"type": "string", "format": "date"}, "The moment of which the inputs speak, for the log."
    )
    return {
        "/predict": {
            "post": {
                "summary": "Score one record",
                "operationId": "predict",
                "parameters": [explain, who, as_of],
                **_exchange("Record", "Prediction"),
            }
        },
        "/predict/batch": {
            "post": {
                "summary": "Score records in JSON, CSV, Parquet or Arrow; answers in kind, or as Accept says",
                "operationId": "predict_batch",
                **_exchange("Batch", "Predictions", batch),
            }
        },
        "/score": {
            "post": {
                "summary": "Score raw entities and events: the features are computed here",
                "operationId": "score",
                **_exchange("Entities", "Predictions"),
            }
        },
        "/model/info": {"get": _get("What is served", "model_info")},
        "/models": {"get": _get("What could be served", "models")},
        "/model/reload": {
            "post": {
                "summary": "Look again where the reference leads, load, check, swap; needs a key of scope admin",
                "operationId": "reload",
                "requestBody": _json({"type": "object", "properties": {"version": {"type": "string"}}})
                | {"required": False},
                "responses": {
                    "200": {"description": "What is served now.", **_json({"type": "object"})},
                    **_refusals("400", "401", "413", "415", "422", "429", "503"),
                    "403": _refusal("A key of scope admin is needed."),
                    "409": _refusal("The new model cannot be served; the old one goes on."),
                },
            }
        },
        "/health": {"get": _get("The process is alive", "health")},
        "/ready": {"get": _get("A model is loaded and has reproduced its golden rows", "ready", "503")},
        "/metrics": {"get": _get("Metrics for Prometheus", "metrics", kind="text/plain")},
    }


def _exchange(sent: str, answered: str, tables: Json | None = None) -> Json:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{sent}"}}, **(tables or {})}
    answer = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answered}"}}, **(tables or {})}
    refusals = _refusals(*REFUSALS)
    if tables or sent == "Entities":
        refusals["406"] = _refusal("Accept names no format that the answer can have.")
    return {
        "requestBody": {"required": True, "content": body},
        "responses": {"200": {"description": "Scored.", "content": answer}, **refusals},
    }


def _get(summary: str, name: str, *refusals: str, kind: str = "application/json") -> Json:
    schema: Json = {"type": "object"} if kind == "application/json" else {"type": "string"}
    answer = {"description": summary, "content": {kind: {"schema": schema}}}
    own = _refusals("401", "429", "503") if name not in ("health", "ready") else _refusals(*refusals)
    return {"summary": summary, "operationId": name, "responses": {"200": answer, **own}}


def _refusals(*statuses: str) -> Json:
    return {status: _refusal(REFUSALS[status]) for status in statuses}


def _refusal(text: str) -> Json:
    return {"description": text, **_json({"$ref": "#/components/schemas/Refusal"})}


def _json(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


def _parameter(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
