"""TensorFlow Serving's REST API on top of `Api`."""

import logging
import re
import time
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from tfb2d.serving.server import rest_format, rest_parse, tensors
from tfb2d.serving.server.api import Api, unexpected
from tfb2d.serving.server.errors import Code, ServingError, invalid, where
from tfb2d.serving.server.http_server import NOT_FOUND_HTML, Request, Response
from tfb2d.serving.server.options import Options

_log = logging.getLogger(__name__)
_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_INFER = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.IGNORECASE | re.ASCII)
_HTTP = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
_NO_LIMIT = 2**62


class Rest:
    """Answers HTTP requests.

    Args:
      api: answers.
      options: deadline, cross-origin support.
      monitoring_path: where the metrics are; "" is nowhere.
    """

    def __init__(self, api: Api, options: Options, monitoring_path: str) -> None:
        self._api = api
        self._seconds = options.rest_api_timeout_in_ms / 1000
        self._cors = options.rest_api_enable_cors_support
        self._monitoring_path = monitoring_path

    def handle(self, request: Request) -> Response:
        """One request."""
        path = request.target.partition("?")[0]
        if self._monitoring_path and path == self._monitoring_path and request.method in ("GET", "HEAD"):
            return Response(200, self._api.metrics.text().encode(), "text/plain")
        if not path.lower().startswith("/v1/models"):
            return Response(404, NOT_FOUND_HTML, "text/html")
        cors = (("Access-Control-Allow-Origin", "*"),) if self._cors else ()
        if self._cors and request.method == "OPTIONS":
            allow = ("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            return Response(200, b"", headers=(*cors, allow, ("Access-Control-Allow-Headers", "Content-Type")))
        try:
            return Response(200, self._answer(request, path), headers=cors)
        except Exception as error:
            problem = unexpected(error)
            if not isinstance(error, ServingError):
                _log.error("%s", where(error))
            return Response(_HTTP.get(problem.code, 500), rest_format.error_body(problem.message), headers=cors)

    def _answer(self, request: Request, path: str) -> bytes:
        started = time.monotonic()
        infer = _INFER.fullmatch(path)
        if infer and request.method == "POST":
            method = infer[4].lower()
            left = self._seconds - (time.monotonic() - started)
            if method == "predict":
                return self._predict(request.body, infer, left)
            return self._examples(request.body, infer, method, left)
        status = _STATUS.fullmatch(path)
        if status and request.method == "GET":
            if not status[1]:
                raise invalid("Missing model name in request.")
            return self._metadata(status) if status[4] else self._status(status)
        raise invalid(f"Malformed request: {request.method} {path}")

    def _predict(self, body: bytes, match: re.Match, seconds: float) -> bytes:
        request = predict_pb2.PredictRequest()
        _fill_spec(request.model_spec, match)
        # The version is held while the body is read: its signature says how.
        version = self._api.models.take(request.model_spec)
        try:
            document = rest_parse.parse_json(body)
            name = rest_parse.signature_name(document)
            assert version.servable is not None
            definition = version.servable.session.signatures.get(name)
            if definition is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            request.model_spec.signature_name = name
            by_row = rest_parse.fill_predict(request, document, definition.inputs)
        finally:
            version.give_back()
        response = self._api.predict(request, seconds, "REST")
        outputs = {alias: tensors.to_array(proto, alias, _NO_LIMIT, 0) for alias, proto in response.outputs.items()}
        return rest_format.predictions(outputs) if by_row else rest_format.columns(outputs)

    def _examples(self, body: bytes, match: re.Match, method: str, seconds: float) -> bytes:
        kind = classification_pb2.ClassificationRequest if method == "classify" else regression_pb2.RegressionRequest
        request = kind()
        _fill_spec(request.model_spec, match)
        document = rest_parse.parse_json(body)
        request.model_spec.signature_name = rest_parse.signature_name(document)
        rest_parse.fill_examples(request.input, document, method)
        if method == "classify":
            return rest_format.classifications(self._api.classify(request, seconds, "REST").result)
        return rest_format.regressions(self._api.regress(request, seconds, "REST").result)

    def _status(self, match: re.Match) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_spec(request.model_spec, match)
        return _json(self._api.get_model_status(request))

    def _metadata(self, match: re.Match) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, match)
        return _json(self._api.get_model_metadata(request, self._seconds))


def _fill_spec(spec: Any, match: re.Match) -> None:
    spec.name = unquote(match[1])
    if match[2]:
        if int(match[2]) >= 2**63:
            raise invalid(f"Failed to convert version: {match[2]} to numeric.")
        spec.version.value = int(match[2])
    elif match[3]:
        spec.version_label = unquote(match[3])


def _json(message: Any) -> bytes:
    text = json_format.MessageToJson(
        message, indent=1, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return (text + "\n").encode()
