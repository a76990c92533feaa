"""Reads the text-proto files that flags name, before anything is served; batching's are checked here, too.

The official package lacks the classes of three of them. They are built here, with the fields and numbers of
session_bundle_config.proto, ssl_config.proto and monitoring_config.proto.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.wire import message_classes

_CLASSES = message_classes(
    {
        "Int64Value": {"value": ("int64", 1)},
        "BoolValue": {"value": ("bool", 1)},
        "StringValue": {"value": ("string", 1)},
        "BatchingParameters": {
            "max_batch_size": ("Int64Value", 1),
            "batch_timeout_micros": ("Int64Value", 2),
            "max_enqueued_batches": ("Int64Value", 3),
            "num_batch_threads": ("Int64Value", 4),
            "thread_pool_name": ("StringValue", 5),
            "allowed_batch_sizes": ("int64*", 6),
            "pad_variable_length_inputs": ("bool", 7),
            "enable_large_batch_splitting": ("BoolValue", 8),
            "max_execution_batch_size": ("Int64Value", 9),
        },
        "SSLConfig": {
            "server_key": ("string", 1),
            "server_cert": ("string", 2),
            "custom_ca": ("string", 3),
            "client_verify": ("bool", 4),
        },
        "PrometheusConfig": {"enable": ("bool", 1), "path": ("string", 2)},
        "MonitoringConfig": {"prometheus_config": ("PrometheusConfig", 1)},
    },
    "tfb2d.textprotos",
)


def read_text_proto(path: str, message: Any) -> Any:
    """Fills a message, or one of this module's classes by name, from a text-proto file.

    Raises NOT_FOUND or INVALID_ARGUMENT, in TensorFlow Serving's words. The file's text is never in the message: it may
    be a private key.
    """
    if isinstance(message, str):
        message = _CLASSES[message]()
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except FileNotFoundError:
        raise StatusError(Code.NOT_FOUND, f"{path}; No such file or directory") from None
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        raise invalid(f"Invalid protobuf file: '{path}'") from None


@dataclass(frozen=True)
class BatchingParameters:
    """Holds a BatchingParameters message with its defaults filled in."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def execution_size(self) -> int:
        """Returns the rows of the largest batch that runs."""
        split = self.enable_large_batch_splitting and self.max_execution_batch_size
        return self.max_execution_batch_size if split else self.max_batch_size

    def check(self) -> None:
        """Refuses what cannot work, when a model is loaded, as TensorFlow Serving does."""
        for name in ("max_batch_size", "num_batch_threads", "max_enqueued_batches"):
            if getattr(self, name) < 1:
                raise invalid(f"{name} must be positive; was {getattr(self, name)}")
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)):
            raise invalid("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            what = "max_execution_batch_size" if self.execution_size != self.max_batch_size else "max_batch_size"
            raise invalid(
                f"Last entry in allowed_batch_sizes must match {what}; last entry was {sizes[-1]}; expected"
                f" {self.execution_size}"
            )


def read_batching(path: str) -> BatchingParameters:
    """Reads a BatchingParameters file; "" gives the defaults."""
    if not path:
        return BatchingParameters()
    values: dict[str, Any] = {}
    for field, value in read_text_proto(path, "BatchingParameters").ListFields():
        if field.name in BatchingParameters.__dataclass_fields__:  # thread_pool_name is not
            values[field.name] = value.value if field.message_type else value
    return BatchingParameters(**values | {"allowed_batch_sizes": tuple(values.get("allowed_batch_sizes", ()))})
