"""The one error of this room."""


class DataError(ValueError):
    """Input that cannot be used; the message names the file and, where there is one, the row and the field."""
