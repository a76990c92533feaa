"""Answers as JSON, laid out as TensorFlow Serving's RapidJSON writer does."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfb2d.serving.server.errors import invalid

_INDENT = "    "


def pretty(value: Any, depth: int = 0) -> str:
    """A JSON value: objects over several lines, arrays on one."""
    if isinstance(value, dict):
        if not value:
            return "{}"
        pad = _INDENT * (depth + 1)
        items = (f"{pad}{_text(str(key))}: {pretty(one, depth + 1)}" for key, one in value.items())
        return "{\n" + ",\n".join(items) + "\n" + _INDENT * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(pretty(one, depth + 1) for one in value) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def error_body(message: str) -> bytes:
    """The body of an answer that is not 200."""
    return f'{{\n    "error": {_text(message)}\n}}'.encode("utf-8", "replace")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)


def _leaf(value: Any, as_base64: bool) -> str:
    if isinstance(value, bytes):
        if as_base64:
            return f'{{\n"b64": "{base64.b64encode(value).decode()}"\n}}'
        return _text(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, np.integer):
        return str(int(value))
    return _number(value)  # the shortest text that reads back as the same float


def _flat(array: np.ndarray, as_base64: bool) -> str:
    """An array on one line."""
    if array.ndim:
        return "[" + ", ".join(_flat(np.asarray(one, array.dtype), as_base64) for one in array) + "]"
    return _leaf(array[()], as_base64)


def _deep(array: np.ndarray, as_base64: bool, depth: int) -> str:
    """An array over several lines."""
    if not array.ndim:
        return _leaf(array[()], as_base64)
    if not len(array):
        return "[]"
    pad = "\n" + _INDENT * (depth + 1)
    rows = (_deep(np.asarray(one, array.dtype), as_base64, depth + 1) for one in array)
    return "[" + pad + ("," + pad).join(rows) + "\n" + _INDENT * depth + "]"


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Row format.

    Raises:
      ServingError: outputs that have no rows, or different numbers of them.
    """
    sizes = set()
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise invalid("Tensors have inconsistent batch size: " + ", ".join(map(str, sorted(sizes))))
    rows = sizes.pop() if sizes else 0
    ordered = sorted(outputs.items())
    if len(ordered) == 1:
        name, array = ordered[0]
        body = _flat(array, _is_bytes(name))
        text = f'"predictions": {body[:-1]}\n{_INDENT}]' if rows else '"predictions": []'
    else:
        pad, deeper = _INDENT * 2, _INDENT * 3
        items = []
        for row in range(rows):
            fields = (
                f"{deeper}{_text(name)}: {_flat(np.asarray(array[row], array.dtype), _is_bytes(name))}"
                for name, array in ordered
            )
            items.append(f"{pad}{{\n" + ",\n".join(fields) + f"\n{pad}}}")
        text = '"predictions": [\n' + ",\n".join(items) + f"\n{_INDENT}]" if rows else '"predictions": []'
    return _encode("{\n" + _INDENT + text + "\n}")


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Column format."""
    ordered = sorted(outputs.items())
    if len(ordered) == 1:
        name, array = ordered[0]
        text = _deep(array, _is_bytes(name), 1)
    else:
        pad = "\n" + _INDENT * 2
        fields = (f"{_text(name)}: {_deep(array, _is_bytes(name), 2)}" for name, array in ordered)
        text = "{" + pad + ("," + pad).join(fields) + "\n" + _INDENT + "}"
    return _encode('{\n    "outputs": ' + text + "\n}")


def _is_bytes(name: str) -> bool:
    return name.endswith("_bytes")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def classifications(result: Any) -> bytes:
    """A ClassificationResult: a list of [label, score] per example."""
    rows = [
        "[" + ", ".join(f"[{_text(one.label)}, {_float32(one.score)}]" for one in row.classes) + "]"
        for row in result.classifications
    ]
    return _results(rows)


def regressions(result: Any) -> bytes:
    """A RegressionResult: a number per example."""
    return _results([_float32(one.value) for one in result.regressions])


def _float32(value: float) -> str:
    return _number(np.float32(value))  # type: ignore[arg-type]


def _results(rows: Sequence[str]) -> bytes:
    return _encode('{\n    "results": [' + ", ".join(rows) + f"\n{_INDENT}]\n}}")
