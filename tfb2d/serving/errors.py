"""The errors of a client's calls."""

import grpc

from tfb2d.errors import UserError


class ServingError(UserError, RuntimeError):
    """The server refused a request or answered something unusable; the message names the address and the model.

    Attributes:
      code: the gRPC status, or None where the server answered but the answer was not understood.
      details: the server's own words.
    """

    def __init__(self, message: str, code: grpc.StatusCode | None = None, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class ServerUnreachable(ServingError, ConnectionError):
    """UNAVAILABLE until the deadline: nobody listens there, the network is down, or the server's queue stayed full."""


class DeadlineExceeded(ServingError, TimeoutError):
    """The answer did not come within the call's timeout."""
