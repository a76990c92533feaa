"""What can be refused before TensorFlow is imported: a wrong flag's answer comes at once."""

from typing import NamedTuple

import grpc

from tfb2d.serving.server import tls
from tfb2d.serving.server.batching import BatchingParameters
from tfb2d.serving.server.configuration import ModelSettings, check_labels, read_configuration
from tfb2d.serving.server.errors import invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.textprotos import read_text_proto


class Prepared(NamedTuple):
    """The files that the flags name, read."""

    models: list[ModelSettings]
    batching: BatchingParameters | None  # None: batching is off
    monitoring_path: str  # "" is nowhere
    credentials: grpc.ServerCredentials | None  # None: plain text


def prepare(options: Options) -> Prepared:
    """Reads and checks the files that the flags name.

    Raises:
      StatusError: one cannot be used.
    """
    models = read_configuration(options)
    for model in models:
        check_labels(model, set(), {}, options)
    return Prepared(
        models,
        read_batching(options.batching_parameters_file) if options.enable_batching else None,
        _monitoring_path(options),
        tls.server_credentials(options.ssl_config_file) if options.ssl_config_file else None,
    )


def read_batching(path: str) -> BatchingParameters:
    """Reads a BatchingParameters file; "" gives the defaults.

    Raises:
      StatusError: it cannot be read.
    """
    if not path:
        return BatchingParameters()
    return BatchingParameters.from_proto(read_text_proto(path, "BatchingParameters"))


def _monitoring_path(options: Options) -> str:
    if not options.monitoring_config_file:
        return ""
    config = read_text_proto(options.monitoring_config_file, "MonitoringConfig").prometheus_config
    if config.enable and not options.rest_api_port:
        raise invalid("--monitoring_config_file needs a --rest_api_port to answer on")
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else ""
