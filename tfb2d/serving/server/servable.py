"""Holds a loaded version with what answers its requests.

`run` makes it when a version is loaded, `models` keeps it, and `api` hands it the requests of the four inference RPCs.
"""

from pathlib import Path
from typing import Any, NamedTuple

from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from tfb2d.model_folder import ABOUT
from tfb2d.serving.server.batching import Batcher, Observe
from tfb2d.serving.server.batching_parameters import BatchingParameters, read_batching
from tfb2d.serving.server.errors import StatusError, invalid
from tfb2d.serving.server.inference import Inference
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.predict import Predictor
from tfb2d.serving.server.session import Session
from tfb2d.serving.server.steps import Step


class Rpc(NamedTuple):
    """Describes an inference RPC: its messages, and its field in PredictionLog."""

    request: Any
    response: Any
    log: str


RPCS = {
    "Predict": Rpc(predict_pb2.PredictRequest, predict_pb2.PredictResponse, "predict_log"),
    "Classify": Rpc(
        classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse, "classify_log"
    ),
    "Regress": Rpc(regression_pb2.RegressionRequest, regression_pb2.RegressionResponse, "regress_log"),
    "MultiInference": Rpc(
        inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse, "multi_inference_log"
    ),
}


class Servable:
    """Holds a version's session, its predictor and its tf.Example methods.

    Args:
      folder, base: the version's folder, and the model's base path.
      options: flags.
      batcher: the server's batcher; None where batching is off.
      observe: see `Batcher`; of a batcher that the folder brings parameters for.

    Raises:
      StatusError: it cannot be loaded.
    """

    def __init__(
        self, folder: str, base: str, options: Options, batcher: Batcher | None, observe: Observe | None = None
    ) -> None:
        self._own = None  # a batcher of this version alone
        own = Path(folder, "batching_params.pbtxt")
        if batcher is not None and observe and options.enable_per_model_batching_parameters and own.is_file():
            batcher = self._own = Batcher(_own_parameters(own), observe)
        if batcher is not None:
            batcher.parameters.check()
        self.session = Session(folder, options, base)
        self._batcher = batcher
        self.predictor = Predictor(self.session, options, options.join_requests and Path(folder, ABOUT).is_file())
        if batcher is not None:
            self.predictor.run = batcher.wrap(self.session.run)
        self._inference = Inference(self.session, self.predictor.run)

    def answer(self, rpc: str, request: Any, response: Any, seconds: float | None) -> Step[None]:
        """Returns the step that fills the response to a request of an RPC of `RPCS`.

        Raises:
          StatusError: as TensorFlow Serving answers.
        """
        if rpc == "Predict":
            yield from self.predictor.predict(request, response, seconds)
        else:
            self._inference.answer(rpc, request, response, seconds)

    def close(self) -> None:
        """Frees the session."""
        if self._batcher is not None:
            self._batcher.forget(self.session.run)
        if self._own is not None:
            self._own.stop()
        self.session.close()


def _own_parameters(file: Path) -> BatchingParameters:
    try:
        parameters = read_batching(str(file))
        parameters.check()
        return parameters
    except StatusError as error:
        raise invalid(error.message) from None
