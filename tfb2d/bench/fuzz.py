"""Random requests for a server: random messages, broken bytes, wrong dtypes and shapes, invalid UTF-8."""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import message_factory
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from tfb2d.bench.serving_load import PREDICT

METHODS = {  # of all services: path -> class of the request
    f"/{service.full_name}/{method.name}": message_factory.GetMessageClass(method.input_type)
    for file in (prediction_service_pb2, model_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# Codes that a server may answer a bad request with. UNKNOWN means an exception without a code, UNAVAILABLE a dead server.
PROPER = frozenset(
    ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED")
) | {"OUT_OF_RANGE", "DATA_LOSS", "PERMISSION_DENIED"}


@dataclass(frozen=True)
class Names:
    """Holds the names in requests: those of a real model, and others."""

    models: Sequence[str]
    signatures: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]


def text(chance: random.Random) -> bytes:
    """Makes random bytes: raw bytes, NULs, printable or foreign characters, invalid UTF-8, or a long text."""
    kinds = (
        lambda: chance.randbytes(chance.randrange(40)),
        lambda: b"\0" * chance.randrange(10),
        lambda: "".join(chance.choices(string.printable, k=20)).encode(),
        lambda: "".join(chr(chance.choice((0x41, 0xE9, 0x4E2D, 0x1F600, 0x202E))) for _ in range(10)).encode(),
        lambda: b"\xff\xfe\xed\xa0\x80",
        lambda: b"word " * chance.randrange(2000),
    )
    return chance.choice(kinds)()


def random_tensor(chance: random.Random) -> tensor_pb2.TensorProto:
    """Makes a tensor whose dtype, shape and values are drawn independently, so that they rarely fit."""
    proto = tensor_pb2.TensorProto(dtype=chance.choice((*range(24), 101)))
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 260))):
        proto.tensor_shape.dim.add(size=chance.choice((0, 1, 1, 2, 3, 4, 4, -1, 2**40, 2**62, 2**63 - 1)))
    proto.tensor_shape.unknown_rank = chance.random() < 0.05
    for field in chance.sample(("float_val", "int_val", "int64_val", "double_val", "half_val", "scomplex_val"), 2):
        getattr(proto, field).extend(chance.choice((0, 1, -1, 7)) for _ in range(chance.randrange(9)))
    proto.string_val.extend(text(chance) for _ in range(chance.randrange(4)))
    if chance.random() < 0.3:
        proto.tensor_content = text(chance)
    return proto


def sensible_tensor(chance: random.Random) -> tensor_pb2.TensorProto:
    """Makes a tensor whose shape fits its values, of a random dtype and size."""
    import tensorflow as tf

    rows = chance.randrange(4)
    kinds = (
        lambda: np.ones((rows, 4), chance.choice((np.float32, np.float64, np.int32))),
        lambda: np.array([text(chance) for _ in range(rows)], object),
        lambda: np.ones((rows, chance.randrange(6)), np.float32),
    )
    value = chance.choice(kinds)()
    return tf.make_tensor_proto(value, dtype=tf.string if value.dtype == object else None, shape=value.shape)


def random_request(chance: random.Random, names: Names) -> tuple[str, bytes]:
    """Makes a method's path and a serialized message for it, sometimes with broken bytes."""
    method = chance.choice((*METHODS, *[PREDICT] * 8))
    kind = chance.random()
    if kind < 0.15:
        return method, chance.randbytes(chance.randrange(200))
    request: Any = METHODS[method]()
    if method.endswith("ReloadConfigRequest"):
        for _ in range(2):  # the same model twice, which a server refuses, so that the test's own model stays
            request.config.model_config_list.config.add(
                name=names.models[0], base_path=chance.choice(("", "/x", "rel"))
            )
        return method, request.SerializeToString()
    spec = request.tasks.add().model_spec if method.endswith("MultiInference") else request.model_spec
    if chance.random() < 0.95:
        spec.name = chance.choice((*[names.models[0]] * 3, *names.models, "nope", "", "\0", "é" * 100))
        spec.signature_name = chance.choice((*names.signatures, "", "zz", "__saved_model_init_op"))
        if chance.random() < 0.1:
            spec.version.value = chance.choice((1, 2, -1, 2**62))
        elif chance.random() < 0.1:
            spec.version_label = chance.choice(("stable", "nope", ""))
    if method.endswith("Predict"):
        for alias in chance.sample((*names.inputs, "q", ""), chance.randrange(3)):
            make = chance.choice((random_tensor, sensible_tensor))
            request.inputs[alias].CopyFrom(make(chance))
        request.output_filter.extend(chance.sample((*names.outputs, "zz", ""), chance.choice((0, 0, 0, 1, 2))))
    elif hasattr(request, "input"):
        for _ in range(chance.randrange(3)):
            example = request.input.example_list.examples.add()
            feature = example.features.feature[chance.choice((*names.inputs, ""))]
            if chance.random() < 0.7:
                feature.float_list.value.extend([1.0] * chance.choice((4, 4, 3)))
            else:
                feature.bytes_list.value.append(text(chance))
    elif hasattr(request, "metadata_field"):
        request.metadata_field.extend(chance.choice((["signature_def"], [], ["foo"])))
    data = request.SerializeToString()
    if kind < 0.4 and data:
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        return method, bytes(broken)
    return method, data
