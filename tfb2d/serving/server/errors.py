"""The canonical status codes, and the one exception that handlers raise."""

import enum
import traceback

MAX_DETAILS = 1024  # bytes; gRPC carries the details in a header, and TensorFlow Serving cuts them here


class Code(enum.IntEnum):
    """Canonical codes; the numbers are those of gRPC and of `tensorflow.error.Code`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """An answer other than OK.

    Args:
      code: canonical code.
      message: what the client reads; never holds request text beyond names, as TensorFlow Serving's own.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> StatusError:
    """Returns the most common error."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def cut_details(message: str) -> str:
    """Returns at most `MAX_DETAILS` bytes of a text, marked where something was left out."""
    raw = message.encode("utf-8", "replace")
    if len(raw) <= MAX_DETAILS:
        return raw.decode("utf-8")
    return raw[:MAX_DETAILS].decode("utf-8", "ignore") + "...TRUNCATED"


def where(error: Exception) -> str:
    """Returns an error's kind and the lines it came through, without its message: that may quote the request."""
    frames = traceback.extract_tb(error.__traceback__)
    return " <- ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))])
