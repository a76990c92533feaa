"""The RPCs, as functions of parsed requests; gRPC and REST both come here."""

import logging
import time
from typing import Any

from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tfb2d.serving.server.configuration import from_proto
from tfb2d.serving.server.errors import StatusError, invalid, unexpected
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.models import ModelManager, Version
from tfb2d.serving.server.request_log import RequestLogs
from tfb2d.serving.server.steps import Step, alone

_log = logging.getLogger(__name__)


class Api:
    """The RPCs of the server.

    Args:
      models: the models.
      metrics: takes counts and latencies.
      log: takes sampled requests and answers; None logs nothing.
    """

    def __init__(self, models: ModelManager, metrics: Metrics, log: RequestLogs | None = None) -> None:
        self.models = models
        self.metrics = metrics
        self._log = log

    def predict(self, request: predict_pb2.PredictRequest, seconds: float | None, entry: str = "GRPC") -> Any:
        """Answers Predict.

        Args:
          request: the request.
          seconds: time left; None is no limit.
          entry: "GRPC" or "REST", for the metrics.

        Returns:
          The response.

        Raises:
          StatusError: as TensorFlow Serving answers. So of all methods here.
        """
        return alone(self.predicting(request, seconds, entry))

    def predicting(self, request: predict_pb2.PredictRequest, seconds: float | None, entry: str = "GRPC") -> Step[Any]:
        """Answers Predict as a step, for requests that are there at the same time."""
        return self._infer("Predict", "predict_log", request, request, predict_pb2.PredictResponse(), seconds, entry)

    def classify(
        self, request: classification_pb2.ClassificationRequest, seconds: float | None, entry: str = "GRPC"
    ) -> Any:
        """Answers Classify."""
        response = classification_pb2.ClassificationResponse()
        return alone(self._infer("Classify", "classify_log", request, request, response, seconds, entry))

    def regress(self, request: regression_pb2.RegressionRequest, seconds: float | None, entry: str = "GRPC") -> Any:
        """Answers Regress."""
        response = regression_pb2.RegressionResponse()
        return alone(self._infer("Regress", "regress_log", request, request, response, seconds, entry))

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, seconds: float | None, entry: str = "GRPC"
    ) -> Any:
        """Answers MultiInference. The first task names the model."""
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        if not first.HasField("model_spec"):  # then the answer is about the name, not about the ModelSpec
            first = inference_pb2.InferenceTask()
            first.model_spec.SetInParent()
        response = inference_pb2.MultiInferenceResponse()
        return alone(self._infer("MultiInference", "multi_inference_log", request, first, response, seconds, entry))

    def _infer(
        self, method: str, log: str, request: Any, owner: Any, response: Any, seconds: float | None, entry: str
    ) -> Step[Any]:
        started = time.perf_counter()
        spec = owner.model_spec
        status = "OK"
        try:
            if not owner.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            version = self.models.take(spec)
            try:
                yield from self._fill(method, version, request, response, seconds)
            finally:
                version.give_back()
        except Exception as error:
            status = unexpected(error).code.name
            raise
        finally:
            self.metrics.requests.add(spec.name, status)
        sampled = self._log.sampled(version.name) if self._log is not None else None
        if sampled is not None:
            entry_log = prediction_log_pb2.PredictionLog()
            answer = getattr(entry_log, log)
            answer.request.CopyFrom(request)
            answer.response.CopyFrom(response)
            sampled.put(spec.name, version.number, entry_log)
        api = method.lower() if entry == "REST" else method  # the official server takes it from the URL
        self.metrics.latency.observe((time.perf_counter() - started) * 1e6, spec.name, api, entry)
        return response

    def _fill(self, method: str, version: Version, request: Any, response: Any, seconds: float | None) -> Step[None]:
        servable = version.servable
        assert servable is not None  # a taken version keeps it
        started = time.perf_counter()
        if method == "Predict":
            yield from servable.predictor.predict(request, response, seconds)
        elif method == "MultiInference":
            servable.inference.multi(request, response, seconds)
        elif method == "Classify":
            servable.inference.classify(request, response, seconds)
        else:
            servable.inference.regress(request, response, seconds)
        self.metrics.runtime.observe((time.perf_counter() - started) * 1e6, version.name, method, "TF1")
        if method != "Predict":
            kind = request.input.WhichOneof("kind")
            count = len(getattr(request.input, kind).examples) if kind else 0
            self.metrics.examples.observe(count, version.name)
            self.metrics.examples_total.add(version.name, count=count)
        parts = response.results if method == "MultiInference" else [response]
        for part in parts:
            part.model_spec.name = version.name
            part.model_spec.version.value = version.number

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, seconds: float | None
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers GetModelMetadata: the signatures."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        version = self.models.take(request.model_spec)
        try:
            assert version.servable is not None
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in version.servable.session.signatures.items():
                signatures.signature_def[name].CopyFrom(definition)
                signatures.signature_def[name].ClearField("defaults")  # since TensorFlow Serving 2.20
        finally:
            version.give_back()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        packed = any_pb2.Any()
        packed.Pack(signatures)
        response.metadata["signature_def"].CopyFrom(packed)
        response.model_spec.name = version.name
        response.model_spec.version.value = version.number
        return response

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, seconds: float | None = None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answers GetModelStatus: the versions and their states, highest version first."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        number = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.models.status(spec.name, number):
            added = response.model_version_status.add(version=version.number, state=version.state)
            added.status.SetInParent()
            if version.error is not None:
                added.status.error_code = int(version.error.code)
                added.status.error_message = version.error.message
        return response

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, seconds: float | None
    ) -> model_management_pb2.ReloadConfigResponse:
        """Answers HandleReloadConfigRequest, which blocks until new models serve."""
        try:
            self.apply(request.config, seconds)
        except StatusError as error:
            _log.error("ReloadConfig failed: %s", error)
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def apply(self, config: model_server_config_pb2.ModelServerConfig, seconds: float | None) -> None:
        """Takes on a ModelServerConfig.

        Raises:
          StatusError: it is refused; what was configured before stays.
        """
        if config.WhichOneof("config") != "model_config_list":  # even where none is configured
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
                " supported"
            )
        self.models.configure(from_proto(config, self.models.settings(), remote=True), seconds)
