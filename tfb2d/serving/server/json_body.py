"""Reads the JSON body of a REST request, as the official server's parser takes it.

That parser (tensorflow_serving/util/json_tensor.cc) is lenient: it skips a byte-order mark, takes NaN and Infinity, ignores
text after the document, passes bytes that are not UTF-8 on, and takes the first of two equal keys. It refuses numbers that
no double can hold and half of a surrogate pair. Python's `json` differs in each point, so the differences are handled here.
"""

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

from tfb2d.serving.server.errors import StatusError, invalid

MAX_UNCOMPRESSED = 100 << 20  # bytes; the official server's limit for a gzip body
_SURROGATE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_MAYBE_TOO_BIG = re.compile(r"[eE]\+?\d{3}|\d{309}")


def uncompress(body: bytes, limit: int) -> bytes:
    """Returns what a gzip body holds.

    Args:
      body: one or more gzip members.
      limit: bytes that it may hold.

    Raises:
      StatusError: INVALID_ARGUMENT where it is no gzip, was cut, or holds more.
    """
    limit = min(limit, MAX_UNCOMPRESSED)
    out = b""
    while body:
        reader = zlib.decompressobj(wbits=31)
        try:
            out += reader.decompress(body, limit + 1 - len(out))
        except zlib.error as error:
            raise invalid(f"The body is not valid gzip, which its Content-Encoding promises: {error}") from None
        if len(out) > limit:
            raise invalid(f"The body holds more than {limit} bytes when it is uncompressed")
        if not reader.eof:
            raise invalid("The gzip body was cut: its end is missing")
        body = reader.unused_data
    return out


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the object of a body. Bytes that are not UTF-8 stand in its strings as surrogates; see `to_bytes`.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    if "\\u" in text:
        _refuse_half_pairs(text)
    checked: dict[str, Any] = {"parse_float": _float, "parse_int": _int} if _MAYBE_TOO_BIG.search(text) else {}
    try:
        value, _ = json.JSONDecoder(object_pairs_hook=_first_wins, **checked).raw_decode(text)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except RecursionError:
        raise invalid("JSON Parse error: lists or objects are nested too deep") from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(value, dict):
        raise wrong(value, "Is not object")
    return value


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    return items if len(items) == len(pairs) else dict(reversed(pairs))


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too big for a double")
    return value


def _int(text: str) -> int:
    _float(text)
    return int(text)


def _refuse_half_pairs(text: str) -> None:
    """Refuses a high surrogate that no low one follows at once, and a low one anywhere else."""
    end_of_high = -1
    for match in _SURROGATE.finditer(text):
        code = int(match[1] or "0", 16)
        low = 0xDC00 <= code < 0xE000
        if low != (match.start() == end_of_high):
            break
        end_of_high = match.end() if 0xD800 <= code < 0xDC00 else -1
        if end_of_high > 0 and not text.startswith("\\u", end_of_high):
            break
    else:
        return
    raise invalid("JSON Parse error: a \\u escape is half of a surrogate pair")


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
        pad = "    " * (depth + 1)
        items = (f"{pad}{json.dumps(str(key), ensure_ascii=False)}: {pretty(v, depth + 1)}" for key, v in value.items())
        return "{\n" + ",\n".join(items) + "\n" + "    " * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(pretty(item, depth + 1) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def json_type(value: Any) -> str:
    """Returns the name of a value's type in messages."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    kinds = ((int | float, "Number"), (str, "String"), (list, "Array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "Object")


def is_base64(value: Any) -> bool:
    """Returns whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def from_base64(value: Mapping[str, str]) -> bytes:
    """Returns the bytes of `{"b64": "..."}`; white space is skipped, padding may be left out.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    text = "".join(value["b64"].split())
    plain = text.rstrip("=")
    padding = -len(plain) % 4
    try:
        if len(text) - len(plain) not in (0, padding):
            raise ValueError
        return base64.b64decode(plain + "=" * padding, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None
