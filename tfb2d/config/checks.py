"""Checks of settings: each raises an error that names the setting and says what would do."""

from typing import Any

from tfb2d.errors import UserError


class ConfigError(UserError, ValueError):
    """A setting that cannot work; the message names the setting and what would do."""


def require(holds: bool, message: str) -> None:
    """Raises ConfigError with a message unless something holds."""
    if not holds:
        raise ConfigError(message)


def require_positive(config: Any, stage: str, *names: str) -> None:
    """Raises ConfigError unless all these settings of a stage are above 0."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{stage}.{name} is {value}; it must be above 0")
