"""Recipes: finding one, running it once, and laying `--config.a.b=value` over its settings.

A recipe is a Python file with `get_config()`, which returns a ConfigDict; those in `recipes/` go by name. A value from the
command line is read as the type that the dataclasses of `tfb2d/config` give the setting.
"""

import ast
import dataclasses
import runpy
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfb2d.cli.arguments import boolean, comma_list
from tfb2d.config import Config, ConfigError
from tfb2d.errors import nearest
from tfb2d.recipes import FOLDER, names

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def load(recipe: str) -> "ConfigDict":
    """Runs a recipe: a name or a file, and behind a colon what its `get_config` takes.

    Raises ConfigError where there is no such recipe, or it fails; a mistake in its code names the line.
    """
    name, colon, argument = recipe.partition(":")
    if "/" not in name and not name.endswith(".py"):
        if name not in names():
            raise ConfigError(f"no recipe {name!r}{nearest(name, names()) or '; there are ' + ', '.join(names())}")
        name = str(FOLDER / f"{name}.py")
    if not Path(name).is_file():
        raise ConfigError(f"there is no recipe {name}")
    try:
        recipe_module = runpy.run_path(name)
        if "get_config" not in recipe_module:
            raise ConfigError(f"{name}: a recipe defines get_config(); this one does not")
        return recipe_module["get_config"](*[argument] * bool(colon))
    except ConfigError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(f"{name}{_line_of(error, name)}: {type(error).__name__}: {error}") from error


def _line_of(error: Exception, file: str) -> str:
    trace, line = error.__traceback__, getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


def override(recipe: "ConfigDict", settings: Sequence[str]) -> None:
    """Lays settings of the command line over a recipe's.

    A setting is `--config.a.b=value`; `--compress.a=value` is short for `--config.compress.a=value`. A switch may be
    given alone, or as `--noconfig.a.b`. Lists are `a,b`, or as Python writes them; a list that is given again grows.
    Raises ConfigError where there is no such setting, or the value is of another type.
    """
    changes: dict[str, Any] = {}
    known = all_settings(Config, recipe.to_dict())
    now = {setting.former: path for path, setting in known.items()}
    for word in settings:
        name, equals, text = word.partition("=")
        no = name.startswith("--noconfig.")
        path = name.removeprefix("--noconfig.").removeprefix("--config.").removeprefix("--")
        path = now.get(path, path)
        if path not in known:
            inner = [other.removeprefix(f"{path}.") for other in known if other.startswith(f"{path}.")]
            group = f"{path} is a group of settings: {', '.join(inner)}"
            raise ConfigError(group if inner else f"there is no setting {path}{nearest(path, known)}")
        kind = known[path].kind
        if kind is bool:
            text = text if equals and not no else str(not no)
        elif not equals or no:
            raise ConfigError(f"{name}: it takes a value, {name}=...")
        value = _read(kind, text, path)
        changes[path] = changes.get(path, ()) + value if typing.get_origin(kind) is tuple else value
    with recipe.unlocked(), recipe.ignore_type():  # a recipe may have written 16 where 16.5 would do
        recipe.update_from_flattened_dict(changes)


class Setting(NamedTuple):
    """A setting's type, and its dotted name in earlier versions, mostly the same."""

    kind: Any
    former: str


def all_settings(kind: Any, values: Any, path: str = "", former: str = "") -> dict[str, Setting]:
    """Returns all settings of a dataclass by their dotted names; `values` has the names in its mappings, as of teachers."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        inner = [(item.name, item.metadata.get("former", item.name)) for item in dataclasses.fields(kind)]
    elif typing.get_origin(kind) is Mapping:
        hints = dict.fromkeys(values, typing.get_args(kind)[1])
        inner = [(name, name) for name in values]
    else:
        return {path: Setting(kind, former)}
    known = values if isinstance(values, Mapping) else {}
    found: dict[str, Setting] = {}
    for name, before in inner:
        paths = f"{path}.{name}".lstrip("."), f"{former}.{before}".lstrip(".")
        found |= all_settings(hints[name], known.get(name, {}), *paths)
    return found


def _read(kind: Any, text: str, path: str) -> Any:
    try:
        if typing.get_origin(kind) is tuple:
            return _tuple(typing.get_args(kind)[0], text)
        if kind is bool:
            return boolean(text)
        return kind(text)
    except (ValueError, SyntaxError, TypeError) as error:
        what = f"a list of {typing.get_args(kind)[0].__name__}" if typing.get_origin(kind) is tuple else kind.__name__
        raise ConfigError(f"{path} is {text!r}; it takes {what}") from error
    except Exception as error:  # argparse.ArgumentTypeError of a switch
        raise ConfigError(f"{path}: {error}") from error


def _tuple(kind: type, text: str) -> tuple[Any, ...]:
    if text[:1] in ("(", "[", "'", '"'):
        value = ast.literal_eval(text)
        items = [value] if isinstance(value, str) or not isinstance(value, tuple | list) else list(value)
    else:
        items = comma_list(text)
    return tuple(kind(item) for item in items)
