"""Answers TensorFlow Serving's REST paths: it turns JSON into the requests that `api` answers, and the answers into JSON.

`http_server` hands it whole requests, in a worker thread.
"""

import json
import logging
import re
import time
from typing import Any
from urllib.parse import unquote

import numpy as np
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import Response
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from tfb2d.serving.server import json_body, rest_parse, tensors
from tfb2d.serving.server.api import Api
from tfb2d.serving.server.errors import Code, StatusError, invalid, unexpected, where
from tfb2d.serving.server.options import Options

_log = logging.getLogger(__name__)
_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_INFER = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(\w+)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.IGNORECASE | re.ASCII)
_HTTP = {  # other codes are 500
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}
_NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
}
_NO_LIMIT = 2**62


class Rest:
    """Answers HTTP requests by `api`; `monitoring_path` is where the metrics are, "" is nowhere."""

    def __init__(self, api: Api, options: Options, monitoring_path: str) -> None:
        self._api = api
        self._seconds = options.rest_api_timeout_in_ms / 1000
        self._max_bytes = options.max_request_bytes
        self._cors = _CORS if options.rest_api_enable_cors_support else {}
        self._monitoring_path = monitoring_path

    def handle(self, request: Request, body: bytes) -> Response:
        """Returns the answer to a request whose body has been read."""
        query = request.scope["query_string"]
        path = request.scope["raw_path"].decode("latin-1")
        target = path + ("?" + query.decode("latin-1") if query else "")
        if self._monitoring_path and path == self._monitoring_path and request.method in ("GET", "HEAD"):
            return _response(200, self._api.metrics.text(), "text/plain")
        if not path.lower().startswith("/v1/"):
            return _response(404, _NOT_FOUND, "text/html")
        if request.method == "OPTIONS":  # a browser's preflight has an origin
            browser = re.match("https?://", request.headers.get("origin", ""))
            return _response(200 if browser else 400, b"", "text/html; charset=ISO-8859-1", self._cors)
        try:
            return _response(200, self._answer(request, target, body), headers=self._cors)
        except Exception as error:
            problem = unexpected(error)
            if isinstance(error, RecursionError):  # in the parser, or in a message that shows the value
                problem = invalid("JSON Parse error: lists or objects are nested too deep")
            elif not isinstance(error, StatusError):
                _log.error("%s", where(error))
            text = json_body.error_body(problem.message)
            return _response(_HTTP.get(problem.code, 500), text, headers=self._cors)

    def _answer(self, request: Request, target: str, body: bytes) -> bytes:
        end = time.monotonic() + self._seconds
        infer = _INFER.fullmatch(target)
        if infer and request.method == "POST" and infer[4] in ("predict", "classify", "regress"):
            if "gzip" in request.headers.get("content-encoding", "").lower():
                body = json_body.uncompress(body, self._max_bytes)
            document = json_body.parse_json(body)
            if infer[4] == "predict":
                return self._predict(document, infer, end)
            return self._examples(document, infer, end)
        status = _STATUS.fullmatch(target)
        if status and request.method == "GET":
            if not status[1]:
                raise invalid("Missing model name in request.")
            return self._metadata(status) if status[4] else self._status(status)
        raise invalid(f"Malformed request: {request.method} {target}")

    def _predict(self, document: dict[str, Any], match: re.Match, end: float) -> bytes:
        request = predict_pb2.PredictRequest()
        _fill_spec(request.model_spec, match)
        name = request.model_spec.signature_name = rest_parse.signature_name(document)
        # The version is held while the body is read: its signature says which types the values have.
        with self._api.models.take(request.model_spec) as version:
            assert version.servable is not None
            definition = version.servable.session.signatures.get(name)
            if definition is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            by_row = rest_parse.fill_predict(request, document, definition.inputs)
        response = self._api.infer("Predict", request, end - time.monotonic(), "REST")
        outputs = {alias: tensors.to_array(proto, alias, _NO_LIMIT, 0) for alias, proto in response.outputs.items()}
        return json_body.predictions(outputs) if by_row else json_body.columns(outputs)

    def _examples(self, document: dict[str, Any], match: re.Match, end: float) -> bytes:
        classify = match[4] == "classify"
        request = classification_pb2.ClassificationRequest() if classify else regression_pb2.RegressionRequest()
        _fill_spec(request.model_spec, match)
        request.model_spec.signature_name = rest_parse.signature_name(document)
        rest_parse.fill_examples(request.input, document)
        answer = self._api.infer("Classify" if classify else "Regress", request, end - time.monotonic(), "REST")
        if not classify:
            return json_body.results([_shortest(item.value) for item in answer.result.regressions])
        rows = [[[item.label, _shortest(item.score)] for item in row.classes] for row in answer.result.classifications]
        return json_body.results(rows)

    def _status(self, match: re.Match) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_spec(request.model_spec, match)
        return _json(_fields(self._api.get_model_status(request)))

    def _metadata(self, match: re.Match) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, match)
        response = self._api.get_model_metadata(request, self._seconds)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = _fields(response.model_spec)
        return _json({"model_spec": spec, "metadata": {"signature_def": _fields(signatures)}})


def _response(
    status: int, body: bytes | str, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> Response:
    return Response(body, status, {**(headers or {}), "Content-Type": content_type})


def _shortest(value: float) -> float:
    """Returns a float32 with no more digits than it needs."""
    return float(str(np.float32(value)))


def _fill_spec(spec: Any, match: re.Match) -> None:
    spec.name = unquote(match[1])
    if match[2]:
        if int(match[2]) >= 2**63:
            raise invalid(f"Failed to convert version: {match[2]} to numeric.")
        spec.version.value = int(match[2])
    elif match[3]:
        spec.version_label = unquote(match[3])


def _fields(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
