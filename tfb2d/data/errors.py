"""Exports `DataError`, which `tfb2d/errors.py` defines with the other errors."""

from tfb2d.errors import DataError as DataError
