"""Reads the parameters of a request as the API's description has them; what cannot be used is an `ApiError`."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from tfb2d.errors import nearest

_BOOLEANS = {"true": True, "1": True, "": True, "false": False, "0": False}  # a name without a value is on
_CALLED = {"q": "query"}  # in messages


class ApiError(Exception):
    """A request that is answered with a status of HTTP, and a message that says what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def read(request: Request, described: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Returns the values of a request's parameters by name: strings without space around them, numbers, lists.

    What each may be is `described` as `openapi.document` has it. Raises ApiError for a parameter that is missing,
    unknown, out of its range, or given twice.
    """
    schemas = {each["name"]: each["schema"] for each in described}
    for name in request.query_params:
        if name not in schemas:
            takes = f"{request.url.path} takes {', '.join(schemas) or 'none'}"
            raise ApiError(400, f"there is no parameter {name[:40]!r}{nearest(name[:40], schemas)}; {takes}")
    return {name: _value(name, schema, request.query_params.getlist(name)) for name, schema in schemas.items()}


def _value(name: str, schema: Mapping[str, Any], given: Sequence[str]) -> Any:
    kind = schema["type"]
    if kind == "array":
        return _texts(name, schema, given)
    if len(given) > 1:
        raise ApiError(400, f"{name} is given twice; give it once")
    if not given:
        return schema["default"] if "default" in schema else _text(name, schema, "")
    if kind == "integer":
        return _integer(name, schema, given[0])
    if kind == "boolean":
        if given[0] not in _BOOLEANS:
            raise ApiError(400, f"{name}={given[0][:40]!r}: true or false")
        return _BOOLEANS[given[0]]
    return _text(name, schema, given[0])


def _text(name: str, schema: Mapping[str, Any], given: str) -> str:
    text, called = given.strip(), _CALLED.get(name, name)
    if len(text) < schema.get("minLength", 0):
        raise ApiError(400, f"there is no {called}: give it as {name}, such as {name}=usb+c+cable")
    if len(text) > schema.get("maxLength", len(text)):
        most = schema["maxLength"]
        raise ApiError(400, f"the {called} has {len(text):,} characters; up to {most:,} are read: shorten it")
    return text


def _texts(name: str, schema: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    least, most, longest = schema["minItems"], schema["maxItems"], schema["items"]["maxLength"]
    if not least <= len(given) <= most:
        raise ApiError(400, f"{len(given)} {name}s: give {least} to {most}, each as {name}")
    if (length := max(map(len, given))) > longest:
        raise ApiError(400, f"a {name} has {length:,} characters; up to {longest:,} are read: shorten it")
    return list(given)


def _integer(name: str, schema: Mapping[str, Any], given: str) -> int:
    least, most = schema["minimum"], schema["maximum"]
    if not (given.isascii() and given.isdigit() and len(given) < 10 and least <= int(given) <= most):
        raise ApiError(400, f"{name}={given[:40]!r}: a whole number from {least} to {most:,}")
    return int(given)
