"""Answers as JSON, laid out as the official server does: one value or row a line, numbers as it rounds them."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfb2d.serving.server.errors import invalid

_INDENT = "    "


def error_body(message: str) -> bytes:
    """Returns the body of an answer that is not 200."""
    return f'{{\n    "error": {_text(message)}\n}}'.encode("utf-8", "replace")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: np.floating) -> str:
    """Six digits where they read back as the same number, else all that can matter."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    if type(value)(text) != value:
        text = f"{value:.{17 if isinstance(value, np.float64) else 9}g}"
    return text if "." in text or "e" in text else text + ".0"


def _leaf(value: Any, as_base64: bool) -> str:
    if isinstance(value, bytes):
        if as_base64:
            return f'{{\n"b64": "{base64.b64encode(value).decode()}"\n}}'
        return _text(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, np.integer):
        return str(int(value))
    return _number(value)


def _flat(array: np.ndarray, as_base64: bool) -> str:
    """Returns an array on one line."""
    if array.ndim:
        return "[" + ", ".join(_flat(np.asarray(item, array.dtype), as_base64) for item in array) + "]"
    return _leaf(array[()], as_base64)


def _deep(array: np.ndarray, as_base64: bool, depth: int) -> str:
    """Returns an array over several lines."""
    if not array.ndim:
        return _leaf(array[()], as_base64)
    if not len(array):
        return "[]"
    pad = "\n" + _INDENT * (depth + 1)
    rows = (_deep(np.asarray(item, array.dtype), as_base64, depth + 1) for item in array)
    return "[" + pad + ("," + pad).join(rows) + "\n" + _INDENT * depth + "]"


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in row format.

    Raises:
      StatusError: outputs that have no rows, or different numbers of them.
    """
    rows = -1
    for name, array in sorted(outputs.items()):
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    if rows <= 0:
        return _encode('{\n    "predictions": []\n}')
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        text = _flat(array, _is_bytes(name)).removesuffix("]")
    else:
        pad, deeper = _INDENT * 2, _INDENT * 3
        items = []
        for row in range(rows):
            fields = (
                f"{deeper}{_text(name)}: {_flat(np.asarray(array[row], array.dtype), _is_bytes(name))}"
                for name, array in sorted(outputs.items())
            )
            items.append(f"{pad}{{\n" + ",\n".join(fields) + f"\n{pad}}}")
        text = "[\n" + ",\n".join(items)
    return _encode(f'{{\n    "predictions": {text}\n    ]\n}}')


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in column format."""
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        text = _deep(array, _is_bytes(name), 1)
    else:
        pad = "\n" + _INDENT * 2
        fields = (f"{_text(name)}: {_deep(array, _is_bytes(name), 2)}" for name, array in sorted(outputs.items()))
        text = "{" + pad + ("," + pad).join(fields) + "\n" + _INDENT + "}"
    return _encode('{\n    "outputs": ' + text + "\n}")


def _is_bytes(name: str) -> bool:
    return name.endswith("_bytes")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def classifications(result: Any) -> bytes:
    """Returns a ClassificationResult: a list of [label, score] per example."""
    rows = [
        "[" + ", ".join(f"[{_text(item.label)}, {_number(np.float32(item.score))}]" for item in row.classes) + "]"
        for row in result.classifications
    ]
    return _results(rows)


def regressions(result: Any) -> bytes:
    """Returns a RegressionResult: a number per example."""
    return _results([_number(np.float32(item.value)) for item in result.regressions])


def _results(rows: Sequence[str]) -> bytes:
    return _encode('{\n    "results": [' + ", ".join(rows) + f"\n{_INDENT}]\n}}")
