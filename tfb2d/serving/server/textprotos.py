"""Text protos whose classes tensorflow-serving-api does not carry; their descriptors are built here at run time.

Field names and numbers: tensorflow_serving/servables/tensorflow/session_bundle_config.proto (BatchingParameters),
tensorflow_serving/config/ssl_config.proto and monitoring_config.proto.
"""

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from tfb2d.serving.server.errors import Code, StatusError, invalid

_PACKAGE = "tfb2d.serving.textprotos"  # not tensorflow.serving: the official classes may be registered beside these
_WRAP = ".google.protobuf."
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    "BatchingParameters": [
        ("max_batch_size", 1, "Int64Value"),
        ("batch_timeout_micros", 2, "Int64Value"),
        ("max_enqueued_batches", 3, "Int64Value"),
        ("num_batch_threads", 4, "Int64Value"),
        ("thread_pool_name", 5, "StringValue"),
        ("allowed_batch_sizes", 6, "repeated int64"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, "BoolValue"),
        ("max_execution_batch_size", 9, "Int64Value"),
    ],
    "SSLConfig": [
        ("server_key", 1, "string"),
        ("server_cert", 2, "string"),
        ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
}


@functools.cache
def _classes() -> dict[str, type]:
    from google.protobuf import wrappers_pb2  # registers the wrapped values

    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {"int64": kinds.TYPE_INT64, "bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(name="tfb2d/textprotos.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated, _, base = kind.rpartition(" ")
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if base in plain:
                added.type = plain[base]
            else:
                added.type = kinds.TYPE_MESSAGE
                added.type_name = f".{_PACKAGE}.{base}" if base in _MESSAGES else _WRAP + base
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    get = message_factory.GetMessageClass
    return {name: get(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


def read_text_proto(path: str, message: Any) -> Any:
    """Fills a message from a text-proto file.

    Args:
      path: the file.
      message: the message to fill, or the name of one of the three above.

    Raises:
      StatusError: NOT_FOUND or INVALID_ARGUMENT, in TensorFlow Serving's words. The file's text is never in the message:
        it may be a private key.
    """
    if isinstance(message, str):
        message = _classes()[message]()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StatusError(Code.NOT_FOUND, f"{path}; No such file or directory") from None
    except (OSError, UnicodeDecodeError):
        raise invalid(f"Invalid protobuf file: '{path}'") from None
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError:
        raise invalid(f"Invalid protobuf file: '{path}'") from None
