"""The same pipeline in other model servers; BENCH_RUN is the run directory.

python benchmarks/serving/peers.py mlflow FOLDER      # saves it as an MLflow model
python benchmarks/serving/peers.py ray PORT           # serves it with Ray Serve
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def pipeline():
    from mlsys.runs.model_io import load_model

    return load_model(Path(os.environ["BENCH_RUN"]))


def save_for_mlflow(folder: str) -> None:
    import mlflow.sklearn

    mlflow.sklearn.save_model(
        pipeline(), folder, serialization_format="cloudpickle", pip_requirements=[], pyfunc_predict_fn="predict_proba"
    )


def serve_with_ray(port: str) -> None:
    import signal

    import pandas as pd
    import ray
    from ray import serve
    from starlette.requests import Request

    @serve.deployment(num_replicas=1)
    class Model:
        def __init__(self) -> None:
            self.model = pipeline()

        async def __call__(self, request: Request) -> dict:
            frame = pd.DataFrame([await request.json()])
            return {"probability": float(self.model.predict_proba(frame)[0, 1])}

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Model.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    {"mlflow": save_for_mlflow, "ray": serve_with_ray}[sys.argv[1]](sys.argv[2])
