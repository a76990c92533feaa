"""Recipes: finding one, running it once, and laying `--config.a.b=value` over its settings.

A recipe is a Python file with `get_config()`, which returns a ConfigDict; those in `recipes/` go by name. A value from the
command line is read as the type that the dataclasses of `tfb2d/config` give the setting.
"""

import ast
import dataclasses
import difflib
import runpy
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import boolean, comma_list
from tfb2d.config import Config, ConfigError
from tfb2d.config.mapping import former_names
from tfb2d.errors import nearest
from tfb2d.recipes import FOLDER, names

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def load(recipe: str) -> "ConfigDict":
    """Runs a recipe.

    Args:
      recipe: a name or a file; behind a colon what its `get_config` takes.

    Raises:
      ConfigError: there is no such recipe, or it fails; a mistake in its code names the line.
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

    Args:
      recipe: is changed.
      settings: `--config.a.b=value`; `--compress.a=value` is short for `--config.compress.a=value`. A switch may stand
        alone, or as `--noconfig.a.b`. Lists are `a,b`, or as Python writes them; a list that is given again grows.

    Raises:
      ConfigError: there is no such setting, or the value is of another type.
    """
    changes: dict[str, Any] = {}
    values = recipe.to_dict()
    for word in settings:
        name, equals, text = word.partition("=")
        no = name.startswith("--noconfig.")
        path = name.removeprefix("--noconfig.").removeprefix("--config.").removeprefix("--")
        kind = _kind(path, values)
        if kind is bool:
            text = text if equals and not no else str(not no)
        elif not equals or no:
            raise ConfigError(f"{name}: it takes a value, {name}=...")
        value = _read(kind, text, path)
        changes[path] = changes.get(path, ()) + value if typing.get_origin(kind) is tuple else value
    with recipe.unlocked(), recipe.ignore_type():  # a recipe may have written 16 where 16.5 would do
        recipe.update_from_flattened_dict(changes)


def _kind(path: str, recipe: Mapping[str, Any]) -> Any:
    """Returns the type of a setting, by its dotted name."""
    kind: Any = Config
    values: Any = recipe
    parts = path.split(".")
    for at, part in enumerate(parts):
        if typing.get_origin(kind) is Mapping:  # teachers: the recipe names them
            siblings = dict.fromkeys(values, typing.get_args(kind)[1])
        else:
            siblings = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        known, parent, kind = part in siblings, kind, siblings.get(part)
        if not known:
            former = former_names(parent) if dataclasses.is_dataclass(parent) else {}
            near = [former[part]] if part in former else difflib.get_close_matches(part, siblings, 1, 0.5)
            fixed = ".".join([*parts[:at], *near, *parts[at + 1 :]])
            known_paths = paths(Config, recipe)
            hint = f"; did you mean {fixed}?" if fixed in known_paths else nearest(path, known_paths)
            raise ConfigError(f"there is no setting {path}{hint}")
        values = values.get(part, {}) if isinstance(values, Mapping) else {}
    if dataclasses.is_dataclass(kind) or typing.get_origin(kind) is Mapping:
        inner = ", ".join(
            name.removeprefix(f"{path}.") for name in paths(Config, recipe) if name.startswith(f"{path}.")
        )
        raise ConfigError(f"{path} is a group of settings: {inner}")
    return kind


def paths(kind: Any, values: Any, before: str = "") -> list[str]:
    """Returns the dotted names of all settings of a dataclass; `values` has the names in its mappings."""
    if dataclasses.is_dataclass(kind):
        inner = typing.get_type_hints(kind).items()
    elif typing.get_origin(kind) is Mapping:
        inner = dict.fromkeys(values, typing.get_args(kind)[1]).items()
    else:
        return [before]
    known = values if isinstance(values, Mapping) else {}
    return [
        path
        for name, inner_kind in inner
        for path in paths(inner_kind, known.get(name, {}), f"{before}.{name}".lstrip("."))
    ]


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
