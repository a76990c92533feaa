"""Checks of settings: each raises an error that names the setting and says what would do."""

from collections.abc import Callable, Sequence
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
    _require_all(config, stage, names, lambda value: value > 0, "it must be above 0")


def require_not_negative(config: Any, stage: str, *names: str) -> None:
    """Raises ConfigError unless all these settings of a stage are 0 or more."""
    _require_all(config, stage, names, lambda value: value >= 0, "it must be 0 or more")


def require_share(config: Any, stage: str, *names: str) -> None:
    """Raises ConfigError unless all these settings of a stage are shares below 1."""
    _require_all(config, stage, names, lambda value: 0 <= value < 1, "it is a share, from 0 to below 1")


def require_one_of(config: Any, stage: str, name: str, known: Sequence[str]) -> None:
    """Raises ConfigError unless a setting of a stage is one of some words."""
    value = getattr(config, name)
    require(value in known, f"{stage}.{name} is {value!r}; it takes {', '.join(known)}")


def _require_all(config: Any, stage: str, names: Sequence[str], holds: Callable[[Any], bool], rule: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(holds(value), f"{stage}.{name} is {value}; {rule}")
