"""TensorFlow Lite files as objects: what the converter wrote is read, changed where it must be, and written again.

Reference: TensorFlow Lite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

LIMIT = 127
LEAST = 1024  # a smaller matrix is not worth eight bits: the converter's own limit


class _Builder(flatbuffers.Builder):
    """Constants begin at multiples of 16 bytes, as the schema asks."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, max(alignment, 16))


def read_model(model: bytes) -> Any:
    """The model as the schema's `ModelT`."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def write_model(model: Any) -> bytes:
    """The file of a `ModelT`."""
    builder = _Builder(1024 + sum(len(one.data) for one in model.buffers if one.data is not None))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def swap_constants(model: Any, swaps: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Puts other arrays, which may have more rows, into the places of constants that are told by their bytes.

    Raises:
      ValueError: a constant is not there exactly once.
    """
    for old, new in swaps:
        found = _holders(model, old)
        if len(found) != 1:
            raise ValueError(f"{len(found)} constants of the converted model are the stand-in of {new.shape}")
        tensor = found[0]
        model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(new).tobytes(), np.uint8)
        tensor.shape = np.array(new.shape, np.int32)


def quantise_dense(model: Any, kernels: Sequence[np.ndarray]) -> None:
    """Makes int8 of dense layers' weights, a scale for each output; their inputs are quantised when the model runs.

    Args:
      model: a converted one, float32.
      kernels: `[inputs, outputs]` of the layers; those of fewer than `LEAST` weights stay as they are.
    """
    for kernel in kernels:
        if kernel.size < LEAST:
            continue
        for tensor in _holders(model, np.ascontiguousarray(kernel.T)):
            scale = np.maximum(np.abs(kernel).max(0) / LIMIT, np.finfo(np.float32).tiny)
            values = np.rint(kernel / scale).astype(np.int8).T
            model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.type = schema.TensorType.INT8
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scale.astype(np.float32)
            tensor.quantization.zeroPoint = np.zeros(len(scale), np.int64)
            tensor.quantization.quantizedDimension = 0
            for graph in model.subgraphs:
                for op in graph.operators:
                    weights = graph.tensors[op.inputs[1]] if len(op.inputs) > 1 else None
                    if weights is tensor:
                        op.builtinOptions.asymmetricQuantizeInputs = True


def _holders(model: Any, array: np.ndarray) -> list[Any]:
    """Tensors whose constant has these bytes."""
    wanted = array.tobytes()
    sizes = {i for i, one in enumerate(model.buffers) if one.data is not None and len(one.data) == len(wanted)}
    same = {i for i in sizes if bytes(model.buffers[i].data) == wanted}
    return [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.buffer in same]


def operators(model: bytes) -> list[str]:
    """Names of the ops in a TensorFlow Lite model, each once, sorted; custom ones (Flex among them) by their own names."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    found = set()
    for code in read_model(model).operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        found.add(code.customCode.decode() if code.customCode else names[number])
    return sorted(found)
