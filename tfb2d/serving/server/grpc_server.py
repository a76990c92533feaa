"""Names the gRPC methods by path, bytes in and bytes out, and opens their ports.

A `transport` calls them with a request's bytes; they parse it for `api` and serialize the answer.
"""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, EncodeError
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2

from tfb2d.serving.server.api import Api
from tfb2d.serving.server.errors import Code, StatusError, unexpected, where
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.options import CORES, FlagError, Options
from tfb2d.serving.server.servable import RPCS
from tfb2d.serving.server.steps import Step, together
from tfb2d.serving.server.transport import Answer, AnswerTogether, Method, Setup, Transport, in_grpc_words

_log = logging.getLogger(__name__)


def _problem(error: Exception) -> StatusError:
    """Returns what a client reads of an error."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, DecodeError):
        return StatusError(Code.INTERNAL, "")
    if isinstance(error, EncodeError):
        return StatusError(Code.INTERNAL, "the answer is larger than a message can be")
    _log.error("%s", where(error))
    return unexpected(error)


def _answer(message: Any, call: Callable[[Any, float | None], Any]) -> Answer:
    def answer(data: bytes, seconds: float | None) -> bytes:
        try:
            return call(message.FromString(data), seconds).SerializeToString()
        except Exception as error:
            raise _problem(error) from None  # no variable holds it: that would be a cycle with the request in it

    return answer


def _predict_together(api: Api) -> AnswerTogether:
    def step(data: bytes, seconds: float | None) -> Step[bytes]:
        response = yield from api.inferring("Predict", predict_pb2.PredictRequest.FromString(data), seconds)
        return response.SerializeToString()

    def answer(requests: Sequence[tuple[bytes, float | None]]) -> list[bytes | StatusError]:
        answers = together([step(*request) for request in requests])
        return [in_grpc_words(_problem(answer)) if isinstance(answer, Exception) else answer for answer in answers]

    return answer


def methods(api: Api, health: Health, checks: bool) -> dict[str, Method]:
    """Returns the methods of all services, by path; those of health where it is to be checked."""
    prediction = "/tensorflow.serving.PredictionService/"
    models = "/tensorflow.serving.ModelService/"
    answers = {
        prediction + name: _answer(rpc.request, functools.partial(api.infer, name)) for name, rpc in RPCS.items()
    }
    metadata, status = get_model_metadata_pb2.GetModelMetadataRequest, get_model_status_pb2.GetModelStatusRequest
    answers[prediction + "GetModelMetadata"] = _answer(metadata, api.get_model_metadata)
    answers[models + "GetModelStatus"] = _answer(status, api.get_model_status)
    served = {path: Method(answer) for path, answer in answers.items()}
    served[prediction + "Predict"] = Method(answers[prediction + "Predict"], together=_predict_together(api))
    reload = _answer(model_management_pb2.ReloadConfigRequest, api.reload_config)
    served[models + "HandleReloadConfigRequest"] = Method(reload, bounded=False, background=True)
    if checks:
        check, first = (_answer(health_pb2.HealthCheckRequest, call) for call in (health.check, health.first))
        served["/grpc.health.v1.Health/Check"] = Method(check, bounded=False)
        served["/grpc.health.v1.Health/Watch"] = Method(first, bounded=False, stream=health.watch)
    return served


def make_server(api: Api, options: Options, health: Health, credentials: grpc.ServerCredentials | None) -> Transport:
    """Returns the server, not started; without credentials it is plain text. Raises FlagError for a port in use."""
    limit = -1 if options.max_request_bytes >= 2**31 - 1 else options.max_request_bytes
    settings: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # two servers on one port would each get some of the requests
        ("grpc.keepalive_time_ms", 60_000),  # notices peers that have left
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        *_channel_arguments(options.grpc_channel_arguments),
    ]
    in_work = max(1, options.grpc_max_threads)
    # A request that is joined with others waits for its batch, and more have to be in work to fill one.
    workers = in_work if options.enable_batching else CORES + 2
    served = methods(api, health, options.enable_grpc_healthcheck_service)
    server = make_transport(options, Setup(served, in_work, workers, settings, health.forget))
    host = f"[{options.host}]" if ":" in options.host else options.host
    addresses = [(f"{host}:{options.port}", credentials)] if options.port else []
    if options.grpc_socket_path:
        addresses.append((f"unix:{os.path.abspath(options.grpc_socket_path)}", None))
    for address, secured in addresses:
        if not server.bind(address, secured):
            raise FlagError(f"cannot listen on {address}: it is in use, not this machine's, or the certificate is bad")
    return server


def make_transport(options: Options, setup: Setup) -> Transport:
    """Returns the fast transport where it works, else the public one."""
    reason = "--accelerate is off"
    if options.accelerate:
        try:
            from tfb2d.serving.server import fast_transport

            reason = fast_transport.problem()
            if not reason:
                return fast_transport.FastTransport(setup, quick=not options.enable_batching)
        except (ImportError, AttributeError) as error:
            reason = str(error)
    _log.warning("gRPC runs on grpcio's public server, which is slower: %s", reason)
    from tfb2d.serving.server.aio_transport import AioTransport

    return AioTransport(setup)


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    return [(name, int(value) if value.lstrip("-").isdigit() else value) for name, _, value in pairs]
