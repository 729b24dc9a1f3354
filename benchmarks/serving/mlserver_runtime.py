"""The pipeline in MLServer, as a custom runtime: its scikit-learn runtime only accepts arrays of one type."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse
from peers import pipeline


class Model(MLModel):
    async def load(self) -> bool:
        self.pipeline = pipeline()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame = self.decode_request(payload, default_codec=PandasCodec)
        answer = NumpyCodec.encode_output("probability", self.pipeline.predict_proba(frame)[:, 1])
        return InferenceResponse(model_name=self.name, outputs=[answer])
