"""Reads flags as tensorflow_model_server does, and those that only the embedded server has; `tfb2d serve` starts here.

Names and defaults: tensorflow_serving/model_servers/main.cc, 2.21. Values come as `--name=value` (or a bare `--name` for a
switch); an unknown argument is reported and does not stop the server, a value that cannot be read does.
"""

import dataclasses
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from tfb2d.errors import UserError

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
CORES = os.cpu_count() or 1
OWN = "own"  # a flag that the official server does not know
REFUSED = "refused"  # would promise what the embedded server cannot give

# Official flags about accelerators, TFLite and the like: accepted, and named in the log.
# fmt: off
WITHOUT_EFFECT = frozenset((
    "enable_profiler", "flush_filesystem_caches", "num_tflite_interpreters_per_pool",
    "num_tflite_pools", "num_unload_threads", "per_process_gpu_memory_fraction",
    "remove_unused_fields_from_bundle_metagraph", "skip_initialize_tpu", "thread_pool_factory_config_file",
    "xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled",
))
# fmt: on


class FlagError(UserError, ValueError):
    """Says that a flag's value cannot be read or cannot work."""


def _flag(default: typing.Any, text: str, kind: str = "") -> typing.Any:
    return dataclasses.field(default=default, metadata={"help": text, "kind": kind})


@dataclass(frozen=True)
class Options:
    """Holds the flags: a field each, of the same name."""

    port: int = _flag(8500, "TCP port of gRPC; 0 is none")
    rest_api_port: int = _flag(0, "TCP port of REST and monitoring; 0 is none")
    grpc_socket_path: str = _flag("", "Unix socket on which gRPC listens too")
    model_name: str = _flag("default", "name of the model at --model_base_path")
    model_base_path: str = _flag("", "absolute path of the folder that holds numbered version folders")
    model_config_file: str = _flag("", "ModelServerConfig text proto; takes the place of --model_name and its path")
    model_config_file_poll_wait_seconds: int = _flag(0, "reads the config file again so often; 0 is never")
    file_system_poll_wait_seconds: float = _flag(1.0, "looks for versions so often; 0 once; below 0 never")
    max_num_load_retries: int = _flag(5, "tries after a load that failed")
    load_retry_interval_micros: int = _flag(60_000_000, "wait between such tries, microseconds")
    num_load_threads: int = _flag(0, "threads that load models; 0 takes two")
    enable_batching: bool = _flag(False, "batches requests")
    batching_parameters_file: str = _flag("", "BatchingParameters text proto")
    enable_per_model_batching_parameters: bool = _flag(False, "reads batching_params.pbtxt in version folders")
    allow_version_labels_for_unavailable_models: bool = _flag(False, "a new label may name a version not yet loaded")
    force_allow_any_version_labels_for_unavailable_models: bool = _flag(False, "any label may")
    enable_model_warmup: bool = _flag(True, "replays assets.extra/tf_serving_warmup_requests before serving a version")
    num_request_iterations_for_warmup: int = _flag(1, "replays each warm-up request so often")
    monitoring_config_file: str = _flag("", "MonitoringConfig text proto: Prometheus at the REST port")
    ssl_config_file: str = _flag("", "SSLConfig text proto with PEM texts: gRPC over TLS")
    grpc_max_threads: int = _flag(4 * CORES, "gRPC requests in work at once; more are RESOURCE_EXHAUSTED")
    grpc_channel_arguments: str = _flag("", "gRPC channel arguments, name=value[,name=value]")
    rest_api_num_threads: int = _flag(4 * CORES, "REST requests in work at once")
    rest_api_timeout_in_ms: int = _flag(30_000, "deadline of a REST request, milliseconds")
    rest_api_enable_cors_support: bool = _flag(False, "answers browsers of other origins")
    saved_model_tags: str = _flag("serve", "comma-separated tags of the meta graph to load")
    tensorflow_session_parallelism: int = _flag(0, "threads of a session, where the two below are 0; 0 is automatic")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads inside an op; 0 is one")
    tensorflow_inter_op_parallelism: int = _flag(0, "threads over ops; 0 is automatic")
    mixed_precision: str = _flag("", "bfloat16: computes matrix products so, on CPUs with AVX512-BF16 or AMX")
    enable_grpc_healthcheck_service: bool = _flag(False, "grpc.health.v1")
    enable_serialization_as_tensor_content: bool = _flag(False, "answers with tensor_content, not float_val and so on")
    enable_signature_method_name_check: bool = _flag(False, "requires the signature's method_name to fit the RPC")
    version: bool = _flag(False, "prints the version and ends")

    use_alts_credentials: bool = _flag(False, "Google's ALTS", REFUSED)
    platform_config_file: str = _flag("", "PlatformConfigMap text proto", REFUSED)
    prefer_tflite_model: bool = _flag(False, "serves model.tflite", REFUSED)

    embedded: bool = _flag(False, "always the embedded server, never the official one", OWN)
    host: str = _flag("127.0.0.1", "address to listen on; 0.0.0.0 opens the server to the network", OWN)
    docker_image: str = _flag("tensorflow/serving:2.21.0", "official image to run where Docker answers", OWN)
    max_request_bytes: int = _flag(2**31 - 1, "a larger request is refused", OWN)
    max_string_bytes: int = _flag(0, "a longer string in a tensor is refused; 0 is no limit", OWN)
    max_tensor_bytes: int = _flag(
        2**26, "a shape that asks for more than this and than its values fill is refused", OWN
    )
    version_settle_seconds: float = _flag(1.0, "a version folder loads once nothing changed in it for so long", OWN)
    join_requests: bool = _flag(
        True, "requests to a tfb2d student that are there at the same time share a run; none waits for another", OWN
    )
    accelerate: bool = _flag(
        True, "uses private interfaces of grpcio and TensorFlow where they work; without them it is slower", OWN
    )
    drain_seconds: float = _flag(30.0, "after SIGTERM, time for requests in work to end", OWN)
    log_requests: str = _flag("", "folder that takes sampled requests and answers, PredictionLog TFRecords", OWN)
    log_requests_rate: float = _flag(0.1, "share of the requests that is logged", OWN)
    log_requests_max_mb: int = _flag(1024, "logging pauses when the folder holds more", OWN)

    def __post_init__(self) -> None:
        if self.batching_parameters_file and not self.enable_batching:
            raise FlagError(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )
        if self.mixed_precision not in ("", "bfloat16"):
            raise FlagError(f"--mixed_precision is {self.mixed_precision}; it takes bfloat16")
        for name in ("port", "rest_api_port"):
            if not 0 <= getattr(self, name) < 65536:
                raise FlagError(f"--{name} is {getattr(self, name)}; a port is 0 to 65535")
        if not 0 <= self.log_requests_rate <= 1:
            raise FlagError(f"--log_requests_rate is {self.log_requests_rate}; it is a share")
        for spec in FLAGS.values():
            if spec.metadata["kind"] == REFUSED and getattr(self, spec.name) != spec.default:
                raise FlagError(f"--{spec.name} needs the official tensorflow_model_server")


FLAGS = {spec.name: spec for spec in dataclasses.fields(Options)}


class Given(typing.NamedTuple):
    """Holds a command line, read."""

    options: Options
    unknown: list[str]  # arguments that no flag takes
    own: list[str]  # names of flags that tensorflow_model_server does not know
    ignored: list[str]  # names of flags that it knows and that do nothing here
    official: list[str]  # arguments less those of `own`


def parse(arguments: Sequence[str]) -> Given:
    """Reads a command line; raises FlagError, in tensorflow_model_server's words, for what cannot be read or work."""
    values: dict[str, typing.Any] = {}
    unknown, own, ignored, official = [], [], [], []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=") if argument.startswith("--") else ("",) * 3
        spec = FLAGS.get(name)
        if spec is not None and spec.metadata["kind"] == OWN:
            own.append(name)
        else:
            official.append(argument)
        if spec is not None and (equals or spec.type is bool):
            values[name] = _value(spec, value if equals else "true")
        elif name in WITHOUT_EFFECT:
            ignored.append(name)
        else:
            unknown.append(argument)
    return Given(Options(**values), unknown, own, ignored, official)


def _value(spec: dataclasses.Field, text: str) -> typing.Any:
    read = _BOOLEANS.__getitem__ if spec.type is bool else typing.cast(type, spec.type)
    try:
        return read(text.lower() if spec.type is bool else text)
    except (ValueError, KeyError):
        raise FlagError(f"Couldn't interpret value {text} for flag {spec.name}.") from None
