"""Starts the embedded server, keeps it going, and ends it in order; `tfb2d serve` calls `run`."""

import contextlib
import gc
import logging
import os
import resource
import signal
import threading
import time
from typing import Any

from tfb2d.serving.lean import give_back_memory
from tfb2d.serving.server.api import Api
from tfb2d.serving.server.batching import Batcher
from tfb2d.serving.server.configuration import Prepared, from_proto
from tfb2d.serving.server.errors import StatusError
from tfb2d.serving.server.grpc_server import make_server
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.http_server import HttpServer
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.models import ModelManager
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.request_log import RequestLogs
from tfb2d.serving.server.rest import Rest
from tfb2d.serving.server.servable import Servable
from tfb2d.serving.server.textprotos import read_text_proto
from tfb2d.serving.server.transport import Transport
from tfb2d.serving.server.warmup import warm_up

_log = logging.getLogger(__name__)


class EmbeddedServer:
    """Serves models by the flags and the files that `configuration.prepare` read; `start` returns when it serves."""

    def __init__(self, options: Options, prepared: Prepared) -> None:
        self._options = options
        self._prepared = prepared
        self.metrics = Metrics()
        self._batcher = None if prepared.batching is None else Batcher(prepared.batching, self.metrics.batched)
        self._request_logs = RequestLogs(options, self.metrics)
        self.models = ModelManager(options, self._load, self._request_logs.configure)
        self._api = Api(self.models, self.metrics, self._request_logs)
        self._health = Health()
        self._stopped = threading.Event()
        self._grpc: Transport | None = None
        self._http: HttpServer | None = None

    def _load(self, name: str, version: int, folder: str, base: str) -> Servable:
        _log.info("Loading servable version {name: %s version: %d} from %s", name, version, folder)
        started = time.perf_counter()
        with contextlib.ExitStack() as stack:
            stack.callback(self.metrics.loads.add, folder, "fail")
            servable = Servable(folder, base, self._options, self._batcher)
            stack.callback(servable.close)
            if self._options.enable_model_warmup:
                warm_up(servable, folder, self._options.num_request_iterations_for_warmup, self.metrics)
            stack.pop_all()  # nothing failed
        self.metrics.loads.add(folder, "success")
        self.metrics.load_latency.add(folder, count=int((time.perf_counter() - started) * 1e6))
        give_back_memory()
        gc.freeze()  # what a model brought stays: collections need not walk it, and pauses stay short
        return servable

    def start(self) -> None:
        """Loads the models, then opens the ports; raises StatusError for a model, FlagError for a port."""
        threading.Thread(target=self.models.watch, name="poll", daemon=True).start()
        self.models.configure(self._prepared.models, starting=True)
        if self._stopped.is_set():
            return
        options = self._options
        self._grpc = make_server(self._api, options, self._health, self._prepared.credentials)
        self._grpc.start()
        if options.rest_api_port:
            self._http = HttpServer(options, Rest(self._api, options, self._prepared.monitoring_path).handle)
            self._http.start()
            _log.info("Exporting HTTP/REST API at:%s:%d ...", options.host, options.rest_api_port)
        _log.info("Running gRPC ModelServer at %s:%d ...", options.host, options.port)
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            threading.Thread(target=self._watch_config, name="config", daemon=True).start()

    def _watch_config(self) -> None:
        from tensorflow_serving.config import model_server_config_pb2

        path, before = self._options.model_config_file, model_server_config_pb2.ModelServerConfig()
        while not self._stopped.wait(self._options.model_config_file_poll_wait_seconds):
            try:
                config = read_text_proto(path, model_server_config_pb2.ModelServerConfig())
                if config.WhichOneof("config") is None and config == before:
                    continue  # still empty: models that came by HandleReloadConfigRequest stay
                before = config
                self.models.configure(from_proto(config, self.models.settings()), seconds=60.0)
            except StatusError as error:
                now = sorted(self.models.settings())
                _log.error("the model config file was not taken on, %s stay as they are: %s", now, error)

    def request_stop(self, *_: Any) -> None:
        """Lets `wait` return; also a signal handler."""
        self._stopped.set()
        self.models.interrupt()

    def wait(self) -> None:
        """Blocks until `request_stop`."""
        while not self._stopped.wait(1.0):
            pass

    def stop(self) -> None:
        """Takes no new requests, lets those in work end, and writes the logs."""
        grace = self._options.drain_seconds
        self._health.stop()
        if self._http is not None:
            self._http.stop()
        if self._grpc is not None:
            self._grpc.stop(grace)
        if self._http is not None:
            self._http.wait_stopped(grace + 5)
        self.models.stop()
        self._request_logs.close()


def run(options: Options, prepared: Prepared) -> None:
    """Serves until SIGTERM or SIGINT; then ends the process with status 0. Raises as `EmbeddedServer.start` does."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, and 1,024 of them are soon idle
    server = EmbeddedServer(options, prepared)
    signal.signal(signal.SIGTERM, server.request_stop)
    signal.signal(signal.SIGINT, server.request_stop)
    server.start()
    server.wait()
    _log.info("draining: requests in work have %g seconds to end", options.drain_seconds)
    server.stop()
    _log.info("stopped")
    logging.shutdown()
    os._exit(0)  # the interpreter would wait for a model run that outlasts the drain, however long that takes
