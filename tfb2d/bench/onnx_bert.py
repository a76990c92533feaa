"""BERT for ONNX Runtime: its fused operators, int8 weights and dynamically quantised activations.

The graph equals that of ONNX Runtime's Transformer optimizer (EmbedLayerNormalization, Attention,
SkipLayerNormalization, FastGelu of the `com.microsoft` domain). It is written directly, so that neither PyTorch nor an
exporter is needed. `onnxruntime.quantization.quantize_dynamic` then quantises it.

Reference: https://onnxruntime.ai/docs/performance/transformers-optimization.html, and ContribOperators.md there.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.bench.bert import ARCHITECTURES, Architecture, Transformer, Weights, random_weights

FUSED = "com.microsoft"
EPSILON = 1e-12
INPUTS = ("token_ids", "segment_ids", "mask")


def graph(shape: Architecture, weights: Weights) -> Any:
    """Returns a BERT classifier as an `onnx.ModelProto`; Gelu is the tanh form, as in KerasHub's BERT and Google's.

    It takes int32 `[batch, length]` ids, segments and mask, and gives `score`: sigmoid of one logit, or softmax,
    `[batch, logits]` float32.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {name: numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()}
    constants["first"] = numpy_helper.from_array(np.array(0, np.int64), "first")

    def add(op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        more = [f"{output}.unused"] if op == "EmbedLayerNormalization" else []  # the mask's lengths
        nodes.append(helper.make_node(op, inputs, [output, *more], output, domain=domain, **attributes))
        return output

    def dense(x: str, name: str) -> str:
        return add("MatMul", [x, f"{name}.kernel"], f"{name}.product")

    def norm(x: str, residual: str, name: str, bias: str) -> str:
        inputs = [x, residual, f"{name}.gamma", f"{name}.beta", bias]
        return add("SkipLayerNormalization", inputs, f"{name}.out", FUSED, epsilon=EPSILON)

    embedded = ["token_ids", "segment_ids", "word", "position", "segment", "norm.gamma", "norm.beta"]
    x = add("EmbedLayerNormalization", embedded, "embedded", FUSED, epsilon=EPSILON)
    for i in range(shape.layers):
        inputs = [x, f"{i}.attention.kernel", f"{i}.attention.bias", "mask"]
        heads = add("Attention", inputs, f"{i}.heads", FUSED, num_heads=shape.heads)
        x = norm(dense(heads, f"{i}.output"), x, f"{i}.norm", f"{i}.output.bias")
        up = add("FastGelu", [dense(x, f"{i}.up"), f"{i}.up.bias"], f"{i}.gelu", FUSED)
        x = norm(dense(up, f"{i}.down"), x, f"{i}.last_norm", f"{i}.down.bias")
    x = add("Gather", [x, "first"], "cls", axis=1)
    x = add("Tanh", [add("Add", [dense(x, "pooler"), "pooler.bias"], "pooler.sum")], "pooled")
    logit = add("Add", [dense(x, "head"), "head.bias"], "logit")
    add("Sigmoid" if shape.logits == 1 else "Softmax", [logit], "score")

    ids = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in INPUTS]
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", shape.logits])
    body = helper.make_graph(nodes, "bert", ids, [score], list(constants.values()))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(body, opset_imports=sets, ir_version=8)


def build(architecture: str, file: str, seed: int = 0) -> None:
    """Writes a BERT with random weights, dynamically quantised to int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shape, out = ARCHITECTURES[architecture], Path(file)
    out.parent.mkdir(parents=True, exist_ok=True)
    plain, partial = out.with_suffix(".float.onnx"), out.with_suffix(".partial.onnx")
    onnx.save(graph(shape, random_weights(shape, seed)), str(plain))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # ONNX Runtime advises, on the root logger, a step that was done
    try:
        # ONNX infers the types of its own operators alone, so the output type of fused operators is given.
        quantize_dynamic(
            plain, partial, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT}
        )
    finally:
        root.setLevel(level)
    plain.unlink()
    partial.rename(out)


def session(model: bytes | str, threads: int) -> Any:
    """Opens an ONNX Runtime session on a number of CPU threads, all optimisations on."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_onnx(file: str, tokenizer: str, max_length: int, threads: int) -> Transformer:
    """Returns a system: a model that `build` wrote."""
    loaded = session(file, threads)

    def forward(*inputs: np.ndarray) -> np.ndarray:
        return loaded.run(None, dict(zip(INPUTS, inputs, strict=True)))[0]

    size = (Path(file).stat().st_size + Path(tokenizer).stat().st_size) / 1e6
    return Transformer(forward, tokenizer, max_length, {"file_mb": size})
