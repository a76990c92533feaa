"""Turns outputs into the JSON body of a REST answer, with a row a line as the official server lays it out.

`rest` calls it last.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfb2d.serving.server.errors import invalid


def error_body(message: str) -> bytes:
    """Returns the body of an answer that is not 200."""
    return json.dumps({"error": message}, indent=4, ensure_ascii=False).encode("utf-8", "replace")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _plain(array: np.ndarray, name: str) -> Any:
    """Returns an array as JSON takes it; floats with as many digits as their type needs."""
    if array.dtype == object:
        pairs = name.endswith("_bytes")  # such outputs hold bytes, others text
        flat = [
            {"b64": base64.b64encode(item).decode()} if pairs else item.decode("utf-8", "surrogateescape")
            for item in array.ravel()
        ]
        shaped = np.empty(array.size, object)
        shaped[:] = flat
        return shaped.reshape(array.shape).tolist()
    if array.dtype.kind == "f" and array.dtype != np.float64:
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in row format.

    Raises:
      StatusError: outputs that have no rows, or different numbers of them.
    """
    rows = -1
    for name, array in sorted(outputs.items()):
        if not np.ndim(array):
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    plain = {name: _plain(np.asarray(array), name) for name, array in sorted(outputs.items())}
    if len(plain) == 1:
        lines = [json.dumps(row, ensure_ascii=False) for row in next(iter(plain.values()))]
    else:
        lines = [
            "{\n"
            + ",\n".join(
                f"{' ' * 12}{json.dumps(name)}: {json.dumps(plain[name][row], ensure_ascii=False)}" for name in plain
            )
            + "\n        }"
            for row in range(max(rows, 0))
        ]
    text = ",\n        ".join(lines)
    return _encode(
        '{\n    "predictions": [\n        ' + text + "\n    ]\n}" if lines else '{\n    "predictions": []\n}'
    )


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in column format."""
    plain = {name: _plain(np.asarray(array), name) for name, array in sorted(outputs.items())}
    value = next(iter(plain.values())) if len(plain) == 1 else plain
    return _encode(json.dumps({"outputs": value}, indent=4, ensure_ascii=False))


def results(rows: list[Any]) -> bytes:
    """Returns the results of Classify or Regress: [[label, score], ...] or a number for each example."""
    return _encode(json.dumps({"results": rows}, indent=4, ensure_ascii=False))
