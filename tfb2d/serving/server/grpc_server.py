"""The gRPC side: methods by path, bytes in and bytes out, and the limits that keep one client from stopping the others.

The synchronous server is used: a run releases the interpreter's lock, and asyncio's hand-over costs more than it saves. A
thread is taken when a request's headers arrive and waits there for its message, so that the pool is large (clients that
never send it hold nothing but a sleeping thread) and the work itself is bounded apart, by --grpc_max_threads.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError, EncodeError
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tfb2d.serving.server.api import Api, unexpected, where
from tfb2d.serving.server.errors import Code, ServingError, cut_details
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.options import FlagError, Options

_log = logging.getLogger(__name__)
_WAITING_THREADS = 4096
_TURN_SECONDS = 0.05  # a burst just above the limit is served, not refused
_NO_DEADLINE = 1e7  # seconds; gRPC gives a request without one some centuries
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Method = Callable[[Any, float | None], Any]


class _Rpc(NamedTuple):
    parse: Callable[[bytes], Any]
    call: Method
    bounded: bool  # counts for --grpc_max_threads


class _Router(grpc.GenericRpcHandler):
    def __init__(self, rpcs: dict[str, _Rpc], health: Health | None, in_work: int) -> None:
        self._turns = threading.Semaphore(in_work)
        self._handlers = {path: self._unary(rpc) for path, rpc in rpcs.items()}
        if health is not None:
            self._handlers["/grpc.health.v1.Health/Check"] = self._unary(
                _Rpc(health_pb2.HealthCheckRequest.FromString, health.check, False)
            )
            self._handlers["/grpc.health.v1.Health/Watch"] = grpc.unary_stream_rpc_method_handler(health.watch)
        # Streaming, so that the answer does not wait for a message.
        self._unknown = grpc.stream_stream_rpc_method_handler(_unimplemented)

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        return self._handlers.get(handler_call_details.method, self._unknown)

    def _unary(self, rpc: _Rpc) -> grpc.RpcMethodHandler:
        turns = self._turns

        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            if rpc.bounded and not turns.acquire(timeout=_TURN_SECONDS):
                _abort(context, ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))
            try:
                left = context.time_remaining()
                seconds = left if left is not None and left < _NO_DEADLINE else None
                return rpc.call(rpc.parse(data), seconds).SerializeToString()
            except ServingError as error:
                problem = error
            except DecodeError:
                problem = ServingError(Code.INTERNAL, "")
            except EncodeError:
                problem = ServingError(Code.INTERNAL, "the answer is larger than a message can be")
            except Exception as error:
                _log.error("%s", where(error))
                problem = unexpected(error)
            finally:
                if rpc.bounded:
                    turns.release()
            return _abort(context, problem)

        return grpc.unary_unary_rpc_method_handler(answer)


def _abort(context: grpc.ServicerContext, error: ServingError) -> Any:
    context.abort(_CODES[int(error.code)], cut_details(error.message))


def _unimplemented(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
    yield b""


def rpcs(api: Api) -> dict[str, _Rpc]:
    """Path -> RPC, for both services."""
    prediction = "/tensorflow.serving.PredictionService/"
    models = "/tensorflow.serving.ModelService/"
    return {
        prediction + "Predict": _Rpc(predict_pb2.PredictRequest.FromString, api.predict, True),
        prediction + "Classify": _Rpc(classification_pb2.ClassificationRequest.FromString, api.classify, True),
        prediction + "Regress": _Rpc(regression_pb2.RegressionRequest.FromString, api.regress, True),
        prediction + "MultiInference": _Rpc(inference_pb2.MultiInferenceRequest.FromString, api.multi_inference, True),
        prediction + "GetModelMetadata": _Rpc(
            get_model_metadata_pb2.GetModelMetadataRequest.FromString, api.get_model_metadata, True
        ),
        models + "GetModelStatus": _Rpc(
            get_model_status_pb2.GetModelStatusRequest.FromString, api.get_model_status, True
        ),
        models + "HandleReloadConfigRequest": _Rpc(
            model_management_pb2.ReloadConfigRequest.FromString, api.reload_config, False
        ),
    }


def make_server(
    api: Api, options: Options, health: Health | None, credentials: grpc.ServerCredentials | None
) -> grpc.Server:
    """The server, with its ports bound but not started.

    Args:
      api: answers.
      options: ports and limits.
      health: grpc.health.v1, where it is enabled.
      credentials: TLS; None is plain text.

    Raises:
      FlagError: a port cannot be bound.
    """
    limit = -1 if options.max_request_bytes >= 2**31 - 1 else options.max_request_bytes
    settings: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # two servers on one port would each get some of the requests
        ("grpc.keepalive_time_ms", 60_000),  # finds peers that are gone
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        *_channel_arguments(options.grpc_channel_arguments),
    ]
    pool = futures.ThreadPoolExecutor(_WAITING_THREADS, "grpc")
    server = grpc.server(pool, options=settings, maximum_concurrent_rpcs=_WAITING_THREADS)
    server.add_generic_rpc_handlers((_Router(rpcs(api), health, max(1, options.grpc_max_threads)),))
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{host}:{options.port}"
    try:
        if options.port and credentials is not None:
            server.add_secure_port(address, credentials)
        elif options.port:
            server.add_insecure_port(address)
        if options.grpc_socket_path:
            server.add_insecure_port(f"unix:{os.path.abspath(options.grpc_socket_path)}")
    except RuntimeError:
        raise FlagError(
            f"cannot listen on {address}: the port is in use, or this machine has no such address"
        ) from None
    return server


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    pairs = [one.partition("=") for one in text.split(",") if one]
    return [(name, int(value) if value.lstrip("-").isdigit() else value) for name, _, value in pairs]
