"""Starts the embedded server, keeps it going, and ends it in order."""

import gc
import logging
import signal
import sys
import threading
import time
from typing import Any

from tfb2d.serving.server import tls
from tfb2d.serving.server.api import Api
from tfb2d.serving.server.configuration import from_proto, read_configuration
from tfb2d.serving.server.errors import ServingError, invalid
from tfb2d.serving.server.grpc_server import make_server
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.http_server import HttpServer
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.models import ModelManager
from tfb2d.serving.server.options import FlagError, Options
from tfb2d.serving.server.request_log import RequestLog
from tfb2d.serving.server.rest import Rest
from tfb2d.serving.server.servable import Batchers, Servable
from tfb2d.serving.server.textprotos import read_text_proto
from tfb2d.serving.server.warmup import warm_up

_log = logging.getLogger(__name__)
_FAILED = 255


class EmbeddedServer:
    """The server; `start` returns when it serves.

    Args:
      options: flags.

    Raises:
      ServingError: a file that a flag names cannot be used.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._configuration = read_configuration(options)
        self.metrics = Metrics()
        self._batchers = Batchers(options, self.metrics.batched)
        self._monitoring_path = _monitoring_path(options)
        self._credentials = tls.server_credentials(options.ssl_config_file) if options.ssl_config_file else None
        self.models = ModelManager(options, self._load)
        self._request_log = None
        if options.log_requests:
            tags = options.saved_model_tags.split(",")
            size = options.log_requests_max_mb << 20
            folder, rate = options.log_requests, options.log_requests_rate
            self._request_log = RequestLog(folder, rate, size, tags, self.metrics)
        self._api = Api(self.models, self.metrics, self._request_log)
        self._health = Health() if options.enable_grpc_healthcheck_service else None
        self._stopped = threading.Event()
        self._grpc: Any = None
        self._http: HttpServer | None = None

    def _load(self, name: str, version: int, folder: str, base: str) -> Servable:
        _log.info("Loading servable version {name: %s version: %d} from %s", name, version, folder)
        started = time.perf_counter()
        try:
            batcher, own = self._batchers.for_version(folder)
            servable = Servable(folder, base, self._options, batcher, own)
            try:
                if self._options.enable_model_warmup:
                    warm_up(servable, folder, self._options.num_request_iterations_for_warmup, self.metrics)
            except BaseException:
                servable.close()
                raise
        except Exception:
            self.metrics.loads.add(folder, "fail")
            raise
        self.metrics.loads.add(folder, "success")
        self.metrics.load_latency.add(folder, count=int((time.perf_counter() - started) * 1e6))
        gc.freeze()  # what a model brought stays: collections need not walk it, and pauses stay short
        return servable

    def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises:
          ServingError: a model cannot be loaded.
          FlagError: a port cannot be bound.
        """
        threading.Thread(target=self.models.watch, name="poll", daemon=True).start()
        self.models.configure(self._configuration, starting=True)
        if self._stopped.is_set():
            return
        options = self._options
        self._grpc = make_server(self._api, options, self._health, self._credentials)
        self._grpc.start()
        if options.rest_api_port:
            rest = Rest(self._api, options, self._monitoring_path)
            limit, threads = options.max_request_bytes, options.rest_api_num_threads
            self._http = HttpServer(options.host, options.rest_api_port, rest.handle, threads, limit)
            try:
                self._http.start()
            except OSError as error:
                raise FlagError(f"cannot listen on {options.host}:{options.rest_api_port}: {error.strerror}") from None
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            threading.Thread(target=self._watch_config, name="config", daemon=True).start()

    def _watch_config(self) -> None:
        from tensorflow_serving.config import model_server_config_pb2

        path = self._options.model_config_file
        while not self._stopped.wait(self._options.model_config_file_poll_wait_seconds):
            try:
                config = read_text_proto(path, model_server_config_pb2.ModelServerConfig())
                self.models.configure(from_proto(config, self.models.settings()), seconds=60.0)
            except ServingError as error:
                _log.error("the model config file was not taken on: %s", error)

    def request_stop(self, *_: Any) -> None:
        """Lets `wait` return; also a signal handler."""
        self._stopped.set()
        self.models.interrupt()

    def wait(self) -> None:
        """Blocks until `request_stop`."""
        while not self._stopped.wait(1.0):
            pass

    def stop(self) -> None:
        """Drains: no new requests, those in work end, logs are written."""
        grace = self._options.drain_seconds
        if self._health is not None:
            self._health.stop()
        done = self._grpc.stop(grace) if self._grpc is not None else None
        if self._http is not None:
            self._http.stop(grace)
        if done is not None:
            done.wait(grace + 5)
        self.models.stop()
        if self._request_log is not None:
            self._request_log.close()


def _monitoring_path(options: Options) -> str:
    if not options.monitoring_config_file:
        return ""
    config = read_text_proto(options.monitoring_config_file, "MonitoringConfig").prometheus_config
    if config.enable and not options.rest_api_port:
        raise invalid("--monitoring_config_file needs a --rest_api_port to answer on")
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else ""


def run(options: Options) -> int:
    """Serves until SIGTERM or SIGINT.

    Returns:
      The exit status: 0, or 255 when the server could not start.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s] %(message)s"
    )
    logging.captureWarnings(True)
    _log.info("tfb2d's embedded server: TensorFlow Serving's contract, not the official tensorflow_model_server")
    for name in options.without_effect():
        _log.warning("--%s has no effect in the embedded server", name)
    try:
        server = EmbeddedServer(options)
        signal.signal(signal.SIGTERM, server.request_stop)
        signal.signal(signal.SIGINT, server.request_stop)
        server.start()
    except (ServingError, FlagError) as error:
        shown = error if isinstance(error, ServingError) else f"INVALID_ARGUMENT: {error}"
        print(f"Failed to start server. Error: {shown}", file=sys.stderr, flush=True)
        return _FAILED
    _log.info("Running gRPC ModelServer at %s:%d ...", options.host, options.port)
    if options.rest_api_port:
        _log.info("Exporting HTTP/REST API at:%s:%d ...", options.host, options.rest_api_port)
    server.wait()
    _log.info("draining: requests in work have %g seconds to end", options.drain_seconds)
    server.stop()
    _log.info("stopped")
    return 0
