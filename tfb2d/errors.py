"""Errors that a command answers with one line, without a traceback. `ConfigError` stands in `settings.py`."""


class DataError(ValueError):
    """Input that cannot be used; the message names the file and, where there is one, the row and the field."""


class RunError(DataError):
    """A run folder that cannot be used as it is; the message says why and what to do."""


class RunBusyError(RunError):
    """Another process works in the run folder."""
