"""The pipeline in BentoML: `bentoml serve bento:Model`; BENCH_RUN is the run directory."""

import bentoml
import pandas as pd
from peers import pipeline


@bentoml.service(workers=1)
class Model:
    def __init__(self) -> None:
        self.model = pipeline()

    @bentoml.api
    def predict(self, record: dict) -> dict:
        return {"probability": float(self.model.predict_proba(pd.DataFrame([record]))[0, 1])}
