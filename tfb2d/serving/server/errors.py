"""Defines the canonical status codes, and the exception that all of the server raises for an answer other than OK."""

import enum
import traceback

MAX_DETAILS = 1024  # bytes; gRPC carries the details in a header, and TensorFlow Serving cuts them here

# Canonical codes; the numbers are those of gRPC and of `tensorflow.error.Code`.
Code = enum.IntEnum(
    "Code",
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED"
    " RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS"
    " UNAUTHENTICATED",
    start=0,
)


class StatusError(Exception):
    """Is an answer other than OK; the message never holds request text beyond names, as TensorFlow Serving's own."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> StatusError:
    """Returns an INVALID_ARGUMENT."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def timed_out() -> StatusError:
    """Returns what a run answers whose time is over."""
    return StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


def unexpected(error: Exception) -> StatusError:
    """Returns what a client reads of an error that nobody foresaw: its kind, nothing of the request."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, MemoryError):
        return StatusError(Code.RESOURCE_EXHAUSTED, "out of memory")
    return StatusError(Code.INTERNAL, f"{type(error).__name__} in the embedded server")


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
