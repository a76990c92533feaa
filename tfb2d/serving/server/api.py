"""Answers the RPCs, as functions of parsed requests; gRPC and REST both come here.

`models` gives the version that a request names, its `servable` fills the answer, `metrics` and `request_log` take note.
"""

import logging
import time
from typing import Any

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    prediction_log_pb2,
)

from tfb2d.serving.server.configuration import from_proto
from tfb2d.serving.server.errors import StatusError, invalid, unexpected
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.models import ModelManager
from tfb2d.serving.server.request_log import RequestLogs
from tfb2d.serving.server.servable import RPCS
from tfb2d.serving.server.steps import Step, alone
from tfb2d.serving.server.versions import Version

_log = logging.getLogger(__name__)


class Api:
    """Answers the RPCs of the server. Each method raises StatusError, as TensorFlow Serving answers."""

    def __init__(self, models: ModelManager, metrics: Metrics, log: RequestLogs | None = None) -> None:
        self.models = models
        self.metrics = metrics
        self._log = log

    def infer(self, rpc: str, request: Any, seconds: float | None, entry: str = "GRPC") -> Any:
        """Answers an RPC of `RPCS` within `seconds` (None: no limit); `entry` is "GRPC" or "REST", for the metrics."""
        return alone(self.inferring(rpc, request, seconds, entry))

    def inferring(self, rpc: str, request: Any, seconds: float | None, entry: str = "GRPC") -> Step[Any]:
        """Returns `infer` as a step, for requests that are there at the same time."""
        started, status = time.perf_counter(), "OK"
        response = RPCS[rpc].response()
        owner = request
        if rpc == "MultiInference":  # the first task names the model
            owner = inference_pb2.InferenceTask()
            owner.model_spec.SetInParent()  # without a task, the answer is about the name, not about the ModelSpec
            if request.tasks and request.tasks[0].HasField("model_spec"):
                owner = request.tasks[0]
        spec = owner.model_spec
        try:
            if not owner.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            with self.models.take(spec) as version:
                yield from self._fill(rpc, version, request, response, seconds)
        except Exception as error:
            status = unexpected(error).code.name
            raise
        finally:
            self.metrics.requests.add(spec.name, status)
        if self._log is not None and self._log.draws(version.name):
            entry_log = prediction_log_pb2.PredictionLog()
            answer = getattr(entry_log, RPCS[rpc].log)
            answer.request.CopyFrom(request)
            answer.response.CopyFrom(response)
            self._log.put(spec.name, version.number, entry_log)
        api = rpc.lower() if entry == "REST" else rpc  # the official server takes it from the URL
        self.metrics.latency.observe((time.perf_counter() - started) * 1e6, spec.name, api, entry)
        return response

    def _fill(self, rpc: str, version: Version, request: Any, response: Any, seconds: float | None) -> Step[None]:
        servable = version.servable
        assert servable is not None  # a taken version keeps it
        started = time.perf_counter()
        yield from servable.answer(rpc, request, response, seconds)
        self.metrics.runtime.observe((time.perf_counter() - started) * 1e6, version.name, rpc, "TF1")
        if rpc != "Predict":
            kind = request.input.WhichOneof("kind")
            count = len(getattr(request.input, kind).examples) if kind else 0
            self.metrics.examples.observe(count, version.name)
            self.metrics.examples_total.add(version.name, count=count)
        for part in response.results if rpc == "MultiInference" else [response]:
            part.model_spec.name = version.name
            part.model_spec.version.value = version.number

    def get_model_metadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest, _: float | None) -> Any:
        """Answers GetModelMetadata: the signatures."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.models.take(request.model_spec) as version:
            assert version.servable is not None
            for name, definition in version.servable.session.signatures.items():
                signatures.signature_def[name].CopyFrom(definition)
                signatures.signature_def[name].ClearField("defaults")  # since TensorFlow Serving 2.20
        response.metadata["signature_def"].Pack(signatures)
        response.model_spec.name = version.name
        response.model_spec.version.value = version.number
        return response

    def get_model_status(self, request: get_model_status_pb2.GetModelStatusRequest, _: float | None = None) -> Any:
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

    def reload_config(self, request: model_management_pb2.ReloadConfigRequest, seconds: float | None) -> Any:
        """Answers HandleReloadConfigRequest, which blocks until new models serve; what it refuses changes nothing."""
        try:
            if request.config.WhichOneof("config") != "model_config_list":  # even where no model is configured
                only = "Only ModelConfigList is currently supported"
                raise invalid(f"ServerModelConfig type not supported by HandleReloadConfigRequest. {only}")
            self.models.configure(from_proto(request.config, self.models.settings(), remote=True), seconds)
        except StatusError as error:
            _log.error("ReloadConfig failed: %s", error)
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response
