"""The error of this room, which `tfb2d/errors.py` defines with the others."""

from tfb2d.errors import DataError as DataError
