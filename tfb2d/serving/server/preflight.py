"""Reads the files that the flags name, before TensorFlow is imported: a wrong flag's answer comes at once."""

from typing import NamedTuple

import grpc

from tfb2d.serving.server.batching_parameters import BatchingParameters, read_batching
from tfb2d.serving.server.configuration import ModelSettings, check_labels, read_configuration
from tfb2d.serving.server.errors import invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.textprotos import read_text_proto


class Prepared(NamedTuple):
    """Holds the files that the flags name, read."""

    models: list[ModelSettings]
    batching: BatchingParameters | None  # None: batching is off
    monitoring_path: str  # "" is nowhere
    credentials: grpc.ServerCredentials | None  # None: plain text


def prepare(options: Options) -> Prepared:
    """Reads and checks the files that the flags name.

    Raises:
      StatusError: a file cannot be used.
    """
    models = read_configuration(options)
    for model in models:
        check_labels(model, set(), {}, options)
    batching = read_batching(options.batching_parameters_file) if options.enable_batching else None
    credentials = _credentials(options.ssl_config_file) if options.ssl_config_file else None
    return Prepared(models, batching, _monitoring_path(options), credentials)


def _monitoring_path(options: Options) -> str:
    if not options.monitoring_config_file:
        return ""
    config = read_text_proto(options.monitoring_config_file, "MonitoringConfig").prometheus_config
    if config.enable and not options.rest_api_port:
        raise invalid("--monitoring_config_file needs a --rest_api_port to answer on")
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else ""


def _credentials(path: str) -> grpc.ServerCredentials:
    """Returns the credentials of an SSLConfig file, whose fields hold PEM texts. gRPC offers TLS 1.2 and 1.3 only."""
    config = read_text_proto(path, "SSLConfig")
    if not config.server_key or not config.server_cert:
        raise invalid(f"'{path}' lacks server_key or server_cert")
    if config.client_verify and not config.custom_ca:
        raise invalid(f"'{path}' asks for client_verify without a custom_ca that could verify clients")
    pair = (config.server_key.encode(), config.server_cert.encode())
    ca = config.custom_ca.encode() or None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=config.client_verify)
