"""A client generated from an OpenAPI document: a class for each schema, and strict decoding of responses into them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PLAIN = {"string": str, "number": float, "integer": int, "boolean": bool, "null": None}


class Client:
    """Call the operations of a document by their ids; a response that differs from the document raises."""

    def __init__(self, document, ask):
        self._document, self._ask = document, ask
        self._classes: dict[str, Any] = {}
        self._operations = {
            operation["operationId"]: (verb.upper(), path, operation)
            for path, verbs in document["paths"].items()
            for verb, operation in verbs.items()
        }

    def __iter__(self):
        return iter(self._operations)

    def __call__(self, name, body=None, **more):
        """Return the status and the typed content of a response."""
        verb, path, operation = self._operations[name]
        given = {"json": body} if body is not None else {}
        answer = self._ask(verb, path, **given, **more)
        content = self._resolved(operation["responses"][str(answer.status_code)])["content"]
        schema = content[answer.headers["content-type"].partition(";")[0]]["schema"]
        if answer.headers["content-type"] != "application/json":
            return answer.status_code, answer.text
        return answer.status_code, msgspec.json.decode(answer.content, type=self._type(schema, name))

    def _resolved(self, node):
        if "$ref" not in node:
            return node
        found = self._document
        for key in node["$ref"].split("/")[1:]:
            found = found[key]
        return found

    def _type(self, schema, name):
        if "$ref" in schema:
            own = schema["$ref"].rpartition("/")[2]
            if own not in self._classes:
                self._classes[own] = self._type(self._document["components"]["schemas"][own], own)
            return self._classes[own]
        if "const" in schema:
            return Literal[schema["const"]]
        kinds = schema.get("anyOf") or schema["type"]
        if isinstance(kinds, list):
            kinds = [each if isinstance(each, dict) else {**schema, "type": each} for each in kinds]
            union = self._type(kinds[0], name)
            for each in kinds[1:]:
                union = union | self._type(each, name)
            return union
        if kinds == "array":
            return list[self._type(schema["items"], f"{name}Item")]
        return self._object(schema, name) if kinds == "object" else PLAIN[kinds]

    def _object(self, schema, name):
        if "properties" not in schema:
            others = schema.get("additionalProperties", {})
            return dict[str, self._type(others, name) if others else Any]
        fields = []
        for field, each in schema["properties"].items():
            kind = self._type(each, f"{name}_{field}")
            needed = field in schema["required"]
            fields.append((field, kind) if needed else (field, kind | msgspec.UnsetType, msgspec.UNSET))
        closed = schema.get("additionalProperties") is False
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=closed)
