"""Settings to and from nested mappings, and the part of them that a stage's outcome depends on."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tfb2d.config.checks import ConfigError


def config_dict(settings: Mapping[str, Any]) -> ConfigDict:
    """Converts nested mappings into the form that a command line can change."""
    # Level by level: ConfigDict sorts the dicts that it converts itself, and the order of the teachers counts.
    items = {key: config_dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    return ConfigDict(items, sort_keys=False)


def renamed(default: Any, former: str) -> Any:
    """Declares a setting that had another name. Files with that name are read, and fingerprints keep it."""
    return dataclasses.field(default=default, metadata={"former": former})


def build(cls: type, settings: Mapping[str, Any], path: str = "") -> Any:
    """Builds a dataclass from nested mappings; `path` stands before a setting's name in errors: "data.".

    Raises ConfigError for a setting that does not exist (it names the nearest), has another type, or cannot work.
    """
    hints = typing.get_type_hints(cls)
    now = {item.metadata["former"]: item.name for item in dataclasses.fields(cls) if "former" in item.metadata}
    values = {}
    for key, value in settings.items():
        key = now.get(key, key)
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0.5)
            hint = f"; did you mean {path}{near[0]!r}?" if near else f"; there are {', '.join(hints)}"
            raise ConfigError(f"there is no setting {path}{key}{hint}")
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            value = build(typing.cast(type, kind), value, f"{path}{key}.")
        elif typing.get_origin(kind) is Mapping:
            item = typing.get_args(kind)[1]
            value = {name: build(item, inner, f"{path}{key}.{name}.") for name, inner in value.items()}
        elif typing.get_origin(kind) is tuple:
            value = _tuple(value, typing.get_args(kind)[0], f"{path}{key}")
        elif kind is float and isinstance(value, int):
            value = float(value)
        elif not isinstance(value, kind):
            raise ConfigError(f"{path}{key} is {value!r}; it takes {kind.__name__}")
        values[key] = value
    return cls(**values)


def _tuple(value: Any, kind: type, name: str) -> tuple[Any, ...]:
    items = (value,) if isinstance(value, str | int | float) else tuple(value)
    if kind is str:
        return tuple(map(str, items))  # the command line reads 1 as a number; a class or a file may be called so
    if not all(isinstance(item, int | float if kind is float else kind) for item in items):
        raise ConfigError(f"{name} is {value!r}; it takes a list of {kind.__name__}")
    return items


def without_effect(default: Any) -> Any:
    """Declares a setting that changes no outcome, such as how often checkpoints are written; fingerprints leave it out."""
    return dataclasses.field(default=default, metadata={"effect": False})


def changed_settings(config: Any) -> dict[str, Any]:
    """Returns the settings of a dataclass that differ from their defaults, nested ones as nested dicts.

    A stage's fingerprint covers these alone. So a new setting whose default changes nothing leaves finished work valid.
    Whoever changes a default must raise the version of the stage's code.
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not field.metadata.get("effect", True):
            continue
        if dataclasses.is_dataclass(value):
            if inner := changed_settings(value):
                changed[field.name] = inner
        elif value != field.default:
            changed[field.metadata.get("former", field.name)] = value
    return changed
