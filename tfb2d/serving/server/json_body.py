"""Reads the JSON of a REST request, before `rest_parse` makes a protobuf request of it, and writes that of an answer.

As in the official server, a byte-order mark is skipped, text after the document is ignored, NaN and Infinity are numbers,
and bytes that are not UTF-8 pass. Of equal keys the first counts, and a number beyond a double is refused. Answers have a
row a line, as there.
"""

import base64
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfb2d.serving.server.errors import StatusError, invalid

MAX_UNCOMPRESSED = 100 << 20  # bytes; the official server's limit for a gzip body
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
MAX_EXACT_DIGITS = 300  # a whole number of no more digits lies within a double's range


def uncompress(body: bytes, limit: int) -> bytes:
    """Returns what a gzip body of one or more members holds, at most `limit` bytes."""
    limit = min(limit, MAX_UNCOMPRESSED)
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except EOFError:
        raise invalid("The gzip body was cut: its end is missing") from None
    except (OSError, zlib.error) as error:
        raise invalid(f"The body is not valid gzip, which its Content-Encoding promises: {error}") from None
    if len(data) > limit:
        raise invalid(f"The body holds more than {limit} bytes when it is uncompressed")
    return data


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the object of a body. Bytes that are not UTF-8 are surrogates in its strings; see `to_bytes`.

    Raises INVALID_ARGUMENT, or RecursionError for lists nested deeper than Python's stack; `rest` answers that alike.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if r"\u" in text and _has_half_pair(text[:end]):
        raise invalid("JSON Parse error: a \\u escape is half of a surrogate pair")
    if not isinstance(value, dict):
        raise wrong(value, "Is not object")
    return value


def _has_half_pair(document: str) -> bool:
    """Says whether an escape of a document is half of a surrogate pair, wherever it is."""
    after_high = -1  # where the escape of a pair's second half must begin
    for escape in _ESCAPE.finditer(document):
        code = int(escape[1], 16) if escape[1] else 0
        second = 0xDC00 <= code < 0xE000
        if second != (escape.start() == after_high) or (after_high >= 0 and not second):
            return True
        after_high = escape.end() if 0xD800 <= code < 0xDC00 else -1
    return after_high >= 0


def _first_of_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs)) if len(pairs) > len({key for key, _ in pairs}) else dict(pairs)


def _finite(digits: str) -> float:
    """Returns a number with a fraction or an exponent; raises ValueError where a double cannot hold it."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError("Number too big to be stored in double")
    return number


def _whole(digits: str) -> int:
    """Returns a whole number, within the range of a double as `_finite` has it."""
    if len(digits) > MAX_EXACT_DIGITS:
        _finite(digits)
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_first_of_equal_keys, parse_float=_finite, parse_int=_whole)


def to_bytes(value: str) -> bytes:
    """Returns a string's bytes as they stood in the body."""
    return value.encode("utf-8", "surrogateescape")


def to_name(value: str) -> str:
    """Returns a string as a protobuf's string field takes it: what is not UTF-8 is replaced."""
    return to_bytes(value).decode("utf-8", "replace")


def wrong(value: Any, what: str) -> StatusError:
    """Returns the error about a JSON value."""
    return invalid(f"JSON Value: {pretty(value)} {what}")


def pretty(value: Any, depth: int = 0) -> str:
    """Returns a JSON value as messages show it: objects over several lines, arrays on one."""
    if isinstance(value, dict) and value:
        names = [json.dumps(key, ensure_ascii=False) for key in value]
        lines = [f"{name}: {pretty(item, depth + 1)}" for name, item in zip(names, value.values(), strict=True)]
        pad = "\n" + "    " * depth
        return f"{{{pad}    " + f",{pad}    ".join(lines) + pad + "}"
    if isinstance(value, list):
        return "[" + ", ".join(pretty(item, depth + 1) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def json_type(value: Any) -> str:
    """Returns the name of a value's type in messages."""
    names = {type(None): "Null", int: "Number", float: "Number", str: "String", list: "Array", dict: "Object"}
    return names.get(type(value), str(value))  # True and False are types of their own


def is_base64(value: Any) -> bool:
    """Returns whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def from_base64(value: Mapping[str, str]) -> bytes:
    """Returns the bytes of `{"b64": "..."}`; white space is skipped, padding may be left out."""
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise invalid("Unable to base64 decode") from None


def error_body(message: str) -> bytes:
    """Returns the body of an answer that is not 200."""
    return json.dumps({"error": message}, indent=4, ensure_ascii=False).encode("utf-8", "replace")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _plain(array: np.ndarray, name: str) -> Any:
    """Returns an array as JSON takes it; floats with as many digits as their type needs."""
    if array.dtype == object:
        shaped = np.empty(array.shape, object)
        for index, item in np.ndenumerate(array):  # outputs of such names hold bytes, others text
            pair = name.endswith("_bytes")
            shaped[index] = (
                {"b64": base64.b64encode(item).decode()} if pair else item.decode("utf-8", "surrogateescape")
            )
        return shaped.tolist()
    if array.dtype.kind == "f" and array.dtype != np.float64:
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in row format."""
    plain: dict[str, list] = {}
    rows = -1
    for name, array in sorted(outputs.items()):
        if not np.ndim(array):
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows, plain[name] = len(array), _plain(array, name)
    lines = []
    for row in zip(*plain.values(), strict=True):
        values = [json.dumps(value, ensure_ascii=False) for value in row]
        pairs = [f"{' ' * 12}{json.dumps(name)}: {value}" for name, value in zip(plain, values, strict=True)]
        lines.append(values[0] if len(plain) == 1 else "{\n" + ",\n".join(pairs) + "\n        }")
    listed = "\n        " + ",\n        ".join(lines) + "\n    " if lines else ""
    return _encode(f'{{\n    "predictions": [{listed}]\n}}')


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns outputs in column format."""
    plain = {name: _plain(np.asarray(array), name) for name, array in sorted(outputs.items())}
    value = next(iter(plain.values())) if len(plain) == 1 else plain
    return _encode(json.dumps({"outputs": value}, indent=4, ensure_ascii=False))


def results(rows: list[Any]) -> bytes:
    """Returns the results of Classify or Regress: [[label, score], ...] or a number for each example."""
    return _encode(json.dumps({"results": rows}, indent=4, ensure_ascii=False))
