"""The one error of this room."""

from tfb2d.errors import UserError


class DataError(UserError, ValueError):
    """Input that cannot be used; the message names the file and, where there is one, the row and the field."""
