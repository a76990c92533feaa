"""Reads flags' files, before TensorFlow is imported, so that a wrong one's answer comes at once; above all which models
there are. `api` and `run` call it again when the configuration changes. Its refusals have the official words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.textprotos import BatchingParameters, read_batching, read_text_proto

_Policy = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy


@dataclass(frozen=True)
class LogSettings:
    """Holds a model's logging_config: files `<prefix><model>-<time>-...tfrecord`, and the share of requests in them."""

    prefix: str
    rate: float


@dataclass(frozen=True)
class ModelSettings:
    """Holds a model of the configuration."""

    name: str
    base_path: str
    platform: str = "tensorflow"
    policy: Any = field(default_factory=_Policy)
    labels: Mapping[str, int] = field(default_factory=dict)  # label -> version
    log: LogSettings | None = None


class Prepared(NamedTuple):
    """Holds the files that the flags name, read."""

    models: list[ModelSettings]
    batching: BatchingParameters | None  # None: batching is off
    monitoring_path: str  # "" is nowhere
    credentials: grpc.ServerCredentials | None  # None: plain text


def prepare(options: Options) -> Prepared:
    """Reads and checks the files that the flags name."""
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


def read_configuration(options: Options) -> list[ModelSettings]:
    """Returns the models that the flags name."""
    if options.model_config_file:
        config = read_text_proto(options.model_config_file, model_server_config_pb2.ModelServerConfig())
        return from_proto(config, {})
    if not options.model_base_path:
        raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
    settings = ModelSettings(options.model_name, options.model_base_path)
    _check([settings], {})
    return [settings]


def from_proto(
    config: model_server_config_pb2.ModelServerConfig, current: Mapping[str, ModelSettings], remote: bool = False
) -> list[ModelSettings]:
    """Returns the models of a ModelServerConfig that follows on `current`, by name.

    A `remote` one, which came over the network, must not have new files written.
    """
    kind = config.WhichOneof("config")
    if kind is None and not current:
        return []  # a file may name no model: they can come by HandleReloadConfigRequest
    if kind != "model_config_list":
        only = "It is only legal to transition from one ModelConfigList to another."
        raise StatusError(Code.FAILED_PRECONDITION, f"Cannot transition to requested config. {only}")
    models = [_settings(model) for model in config.model_config_list.config]
    _check(models, current)
    for model in models if remote else ():
        before = current.get(model.name)
        if model.log is not None and (before is None or before.log != model.log):
            raise invalid(f"The logging_config of model {model.name} can only be changed in --model_config_file")
    return models


def _settings(config: model_server_config_pb2.ModelConfig) -> ModelSettings:
    platform, kind = config.model_platform, config.model_type
    if bool(platform) == bool(kind):
        neither, nor = ("both", "and") if kind else ("neither", "nor")
        raise invalid(
            f"Illegal setting {neither} ModelServerConfig::model_type (deprecated) {nor}"
            f" ModelServerConfig::model_platform, model name is {config.name}"
        )
    if kind:
        platform = "tensorflow" if kind == model_server_config_pb2.TENSORFLOW else "other"
    labels = dict(config.version_labels)
    log = _log_settings(config) if config.HasField("logging_config") else None
    return ModelSettings(config.name, config.base_path, platform, config.model_version_policy, labels, log)


def _log_settings(config: model_server_config_pb2.ModelConfig) -> LogSettings:
    collector, rate = config.logging_config.log_collector_config, config.logging_config.sampling_config.sampling_rate
    if collector.type not in ("", "tfrecord"):
        raise StatusError(Code.NOT_FOUND, f"Cannot find LogCollector::Factory for type: {collector.type}")
    if not collector.filename_prefix.startswith("/"):
        raise invalid(f"The logging_config of model {config.name} needs an absolute filename_prefix")
    if not 0 <= rate <= 1:
        raise invalid(f"The logging_config of model {config.name} has the sampling_rate {rate}; it is a share")
    return LogSettings(collector.filename_prefix, rate)


def _check(models: Sequence[ModelSettings], current: Mapping[str, ModelSettings]) -> None:
    names = [model.name for model in models]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise invalid(f"Illegal to list model {name} multiple times in config list")
    for model in models:
        before = current.get(model.name)
        if before is not None and before.platform != model.platform:
            raise invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was {before.platform} and new"
                f" platform requested is {model.platform}"
            )
    for model in models:
        if not model.base_path.startswith("/"):
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if model.platform != "tensorflow":
            raise invalid(f"Model {model.name} requests unsupported platform {model.platform}")


def check_labels(model: ModelSettings, available: set[int], current: Mapping[str, int], options: Options) -> None:
    """Refuses labels that may not be set; at start-up no version is available yet."""
    if options.force_allow_any_version_labels_for_unavailable_models:
        return
    for label, version in sorted(model.labels.items(), key=lambda item: item[1]):
        unused = current.get(label, version) == version
        allowed = options.allow_version_labels_for_unavailable_models and unused
        if not allowed and version not in available:
            what = f"Request to assign label to version {version} of model {model.name}"
            raise StatusError(Code.FAILED_PRECONDITION, f"{what}, which is not currently available for inference")
