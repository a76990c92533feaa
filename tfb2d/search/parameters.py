"""Reads the parameters of a request to the API; what cannot be used is an `ApiError` that says what would do."""

from starlette.requests import Request

from tfb2d.errors import nearest
from tfb2d.search.openapi import MAX_QUERY, MAX_TITLE, MAX_TITLES

_BOOLEANS = {"true": True, "1": True, "": True, "false": False, "0": False}


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
      status: of HTTP.
      message: what is wrong, and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def parameters(request: Request, *known: str) -> dict[str, str]:
    """Returns the parameters of the address.

    Raises:
      ApiError: an unknown one, or one that stands twice ("title" may).
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            takes = f"{request.url.path} takes {', '.join(known) or 'none'}"
            raise ApiError(400, f"there is no parameter {name[:40]!r}{nearest(name[:40], known)}; {takes}")
        if name in given and name != "title":
            raise ApiError(400, f"{name} stands twice; give it once")
        given[name] = value
    return given


def query_of(given: dict[str, str]) -> str:
    """Returns the query, without space around it.

    Raises:
      ApiError: there is none, or a longer one than `MAX_QUERY`.
    """
    query = given.get("q", "").strip()
    if not query:
        raise ApiError(400, "there is no query: give it as q, such as /api/search?q=usb+c+cable")
    if len(query) > MAX_QUERY:
        raise ApiError(400, f"the query has {len(query):,} characters; up to {MAX_QUERY:,} are searched: shorten it")
    return query


def titles_of(request: Request) -> list[str]:
    """Returns the titles of a request.

    Raises:
      ApiError: there are none, too many, or too long ones.
    """
    titles = request.query_params.getlist("title")
    if not 1 <= len(titles) <= MAX_TITLES:
        raise ApiError(400, f"{len(titles)} titles: give 1 to {MAX_TITLES}, each as title")
    longest = max(map(len, titles))
    if longest > MAX_TITLE:
        raise ApiError(400, f"a title has {longest:,} characters; up to {MAX_TITLE:,} are read: shorten it")
    return titles


def integer(given: dict[str, str], name: str, default: int, most: int) -> int:
    """Returns a whole number from 1 to `most`.

    Raises:
      ApiError: something else.
    """
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise ApiError(400, f"{name}={text[:40]!r}: a whole number from 1 to {most:,}")
    return int(text)


def boolean(given: dict[str, str], name: str, default: bool) -> bool:
    """Returns whether a switch is on; a name without a value is.

    Raises:
      ApiError: a value that is neither true nor false.
    """
    if name not in given:
        return default
    if given[name] not in _BOOLEANS:
        raise ApiError(400, f"{name}={given[name][:40]!r}: true or false")
    return _BOOLEANS[given[name]]


def choices(given: dict[str, str], name: str, known: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Returns some of the known words, in the order given; without the parameter all of them.

    Raises:
      ApiError: an unknown one, or none.
    """
    if name not in given:
        return tuple(known)
    words = tuple(dict.fromkeys(word.strip() for word in given[name].split(",")))
    for word in words:
        if word not in known:
            raise ApiError(400, f"{name}: there is no {word[:40]!r} here; {' or '.join(known)}, or both with a comma")
    return words
