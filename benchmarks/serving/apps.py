"""Services to compare with, run by uvicorn: plain FastAPI with pandas, and two that validate and return a constant.

BENCH_RUN is the run directory. All derive their request model from its schema, as our service does.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pydantic
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

RUN = Path(os.environ["BENCH_RUN"])
INPUTS = json.loads((RUN / "schema.json").read_text())["inputs"]


def kind(entry: dict) -> object:
    one = str if entry["dtype"] == "string" else float
    return one | None if entry["nullable"] else one


FIELDS = {entry["name"]: kind(entry) for entry in INPUTS}
Record = pydantic.create_model("Record", **{name: (kind, ...) for name, kind in FIELDS.items()})
Packed = msgspec.defstruct("Packed", list(FIELDS.items()), forbid_unknown_fields=True)


def plain() -> FastAPI:
    """Return a service as in most tutorials."""
    import pandas as pd

    from mlsys.runs.model_io import load_model

    model, app = load_model(RUN), FastAPI()

    @app.post("/predict")
    async def predict(record: Record) -> dict:
        return {"probability": float(model.predict_proba(pd.DataFrame([record.model_dump()]))[0, 1])}

    return app


def constant() -> FastAPI:
    app = FastAPI()

    @app.post("/predict")
    async def predict(record: Record) -> dict:  # noqa: ARG001 - only validated
        return {"probability": 0.5}

    return app


def packed() -> Starlette:
    decode = msgspec.json.Decoder(Packed).decode

    async def predict(request: Request) -> Response:
        decode(await request.body())
        return Response(msgspec.json.encode({"probability": 0.5}), media_type="application/json")

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])
