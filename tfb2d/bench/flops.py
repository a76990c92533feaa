"""Counts a teacher's floating-point operations, and measures how many the machine's matrix product does a second."""

import time
from typing import Any

import numpy as np

CPU_SIZE, GPU_SIZE = 2048, 8192  # rows and columns of the matrices whose product is timed


def forward_flops(model: Any, lengths: np.ndarray, first_only: bool) -> float | None:
    """Counts the operations of the matrix products in a forward pass over rows without padding.

    A product of [m, k] and [k, n] has 2 m k n. As in PaLM (https://arxiv.org/abs/2204.02311, appendix B), padding and
    what is no product (normalization, activations, softmax) do not count: they are what a teacher loses time with.

    Args:
      model: the teacher's KerasHub classifier.
      lengths: int64 [rows], tokens of each row.
      first_only: whether the last layer computes each row's first token alone, but keys and values of all tokens.

    Returns:
      The count; None for an encoder whose layers do not each have their own weights (ALBERT), or are not known.
    """
    layers = getattr(model.backbone, "transformer_layers", [])
    if not layers or any(isinstance(layer, list) for layer in layers):
        return None
    tokens, rows = float(lengths.sum()), len(lengths)
    attended = float((lengths.astype(np.float64) ** 2).sum())  # pairs of tokens of one row
    width = model.backbone.hidden_dim
    total = 0.0
    for layer in layers:
        weights = sum(int(np.prod(weight.shape)) for weight in layer.weights if weight.path.endswith("/kernel"))
        if first_only and layer is layers[-1]:
            keys_and_values = 2 * width * width
            total += 2 * (tokens * keys_and_values + rows * (weights - keys_and_values)) + 4 * tokens * width
        else:
            total += 2 * tokens * weights + 4 * attended * width
    return total


def measure_peak(dtype: str, seconds: float = 1.0) -> tuple[float, float]:
    """Measures the operations a second of a large matrix product with the teachers' backend.

    Args:
      dtype: "float32" or "bfloat16".
      seconds: how long products are timed; at least three are.

    Returns:
      The fastest product's operations per second, and per CPU second of all threads.
    """
    import keras

    from tfb2d.teachers.models import on_accelerator

    size = GPU_SIZE if on_accelerator() else CPU_SIZE
    a, b = (keras.ops.cast(np.random.default_rng(i).normal(size=(size, size)), dtype) for i in (0, 1))

    def product() -> None:
        keras.ops.convert_to_numpy(keras.ops.matmul(a, b)[:1, :1])  # a value read back waits for the product

    product()
    times: list[float] = []
    cpu_times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start, cpu = time.perf_counter(), time.process_time()
        product()
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu)
    return 2.0 * size**3 / min(times), 2.0 * size**3 / min(cpu_times)
