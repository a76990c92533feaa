"""The base of all errors whose message is written for the user, not for the programmer."""


class UserError(Exception):
    """Something in the input, the settings or the surroundings cannot work; the message says what, and what would do.

    Commands print it in one line and end with exit status 1. Any other exception is a fault of tfb2d and shows a traceback.
    """


class BusyError(UserError, RuntimeError):
    """Another process works in the same folder."""
