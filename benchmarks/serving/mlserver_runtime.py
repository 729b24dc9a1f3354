"""The pipeline behind MLServer, as a runtime of its own: its scikit-learn runtime takes arrays of one type only."""

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
