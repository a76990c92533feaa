"""Reads the text-proto files that flags name, before anything is served.

The official package lacks the classes of three of them. Their descriptors are built here, with the fields and numbers of
session_bundle_config.proto, ssl_config.proto and monitoring_config.proto.
"""

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid

_PACKAGE = "tfb2d.serving.textprotos"  # not tensorflow.serving: the official classes may be registered beside these
_INT, _BOOL, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue", ".google.protobuf.StringValue"
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {  # field, number, type
    "BatchingParameters": [
        ("max_batch_size", 1, _INT),
        ("batch_timeout_micros", 2, _INT),
        ("max_enqueued_batches", 3, _INT),
        ("num_batch_threads", 4, _INT),
        ("thread_pool_name", 5, _STRING),
        ("allowed_batch_sizes", 6, "INT64"),
        ("pad_variable_length_inputs", 7, "BOOL"),
        ("enable_large_batch_splitting", 8, _BOOL),
        ("max_execution_batch_size", 9, _INT),
    ],
    "SSLConfig": [
        ("server_key", 1, "STRING"),
        ("server_cert", 2, "STRING"),
        ("custom_ca", 3, "STRING"),
        ("client_verify", 4, "BOOL"),
    ],
    "PrometheusConfig": [("enable", 1, "BOOL"), ("path", 2, "STRING")],
    "MonitoringConfig": [("prometheus_config", 1, f".{_PACKAGE}.PrometheusConfig")],
}


@functools.cache
def _classes() -> dict[str, type]:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tfb2d/textprotos.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number, label=field_type.LABEL_OPTIONAL)
            if field == "allowed_batch_sizes":
                added.label = field_type.LABEL_REPEATED
            if kind.startswith("."):
                added.type, added.type_name = field_type.TYPE_MESSAGE, kind
            else:
                added.type = field_type.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    get = message_factory.GetMessageClass
    return {name: get(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


def read_text_proto(path: str, message: Any) -> Any:
    """Fills a message, or one of this module's classes by name, from a text-proto file.

    Raises:
      StatusError: NOT_FOUND or INVALID_ARGUMENT, in TensorFlow Serving's words. The file's text is never in the message:
        it may be a private key.
    """
    if isinstance(message, str):
        message = _classes()[message]()
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except FileNotFoundError:
        raise StatusError(Code.NOT_FOUND, f"{path}; No such file or directory") from None
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        raise invalid(f"Invalid protobuf file: '{path}'") from None
