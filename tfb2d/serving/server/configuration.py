"""Reads which models there are from flags or a ModelServerConfig, and refuses what cannot be, in the official words.

`preflight` calls it at start, `api` and `run` when the configuration changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.textprotos import read_text_proto

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


def read_configuration(options: Options) -> list[ModelSettings]:
    """Returns the models that the flags name.

    Raises:
      StatusError: there are none, or the config file cannot be read.
    """
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
    """Returns the models of a ModelServerConfig.

    Args:
      config: the configuration.
      current: the models there are now, by name.
      remote: whether it came over the network: then it must not have new files written.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    kind = config.WhichOneof("config")
    if kind is None and not current:
        return []  # a file may name no model: they can come by HandleReloadConfigRequest
    if kind != "model_config_list":
        text = (
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
        )
        raise StatusError(Code.FAILED_PRECONDITION, text)
    models = [_settings(model) for model in config.model_config_list.config]
    _check(models, current)
    for model in models if remote else ():
        before = current.get(model.name)
        if model.log is not None and (before is None or before.log != model.log):
            raise invalid(f"The logging_config of model {model.name} can only be changed in --model_config_file")
    return models


def _settings(config: model_server_config_pb2.ModelConfig) -> ModelSettings:
    platform = config.model_platform
    if config.model_type:
        if platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform,"
                f" model name is {config.name}"
            )
        platform = "tensorflow" if config.model_type == model_server_config_pb2.TENSORFLOW else "other"
    if not platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform,"
            f" model name is {config.name}"
        )
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


def _check(models: Iterable[ModelSettings], current: Mapping[str, ModelSettings]) -> None:
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
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
    """Refuses labels that may not be set; at start-up no version is available yet.

    Raises:
      StatusError: FAILED_PRECONDITION.
    """
    if options.force_allow_any_version_labels_for_unavailable_models:
        return
    for label, version in sorted(model.labels.items(), key=lambda item: item[1]):
        unused = current.get(label, version) == version
        allowed = options.allow_version_labels_for_unavailable_models and unused
        if not allowed and version not in available:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {model.name}, which is not currently available for"
                " inference",
            )
