"""Flags of the commands: argparse, in the spelling that the commands have always had.

Values are given as `--name=value` or `--name value`, lists with commas. A switch is `--name`, `--noname` or
`--name=false`. The error for a wrong flag names the nearest right one. This module imports the standard library alone, so
that `--help` answers at once.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tfb2d.errors import nearest

USAGE = 2  # the exit status after a wrong command line
RECIPE_SETTINGS = ("--config.", "--noconfig.", "--compress.")  # how settings begin that `recipes.py` reads
_YES, _NO = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


def boolean(text: str) -> bool:
    """Reads true, 1, yes, or false, 0, no; anything else is an argparse.ArgumentTypeError."""
    if text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def comma_list(text: str) -> list[str]:
    """Reads "a,b" as two words; double quotes keep a comma, as in CSV."""
    return [word.strip() for word in next(csv.reader([text]), [])]


def number(kind: type, least: float | None, most: float | None) -> Callable[[str], Any]:
    """Returns a reader of numbers from `least` to `most`; None is no bound."""

    def read(text: str) -> Any:
        try:
            value = kind(text.replace("_", ""))
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
        if not (least is None or value >= least) or not (most is None or value <= most):  # a NaN is in no range
            bounds = f"{least:g} or more" if most is None else f"from {least or 0:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text} is outside of its range: {bounds}")
        return value

    return read


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Returns a reader of one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            hint = nearest(text, choices) or f"; there are {', '.join(choices)}"
            raise argparse.ArgumentTypeError(f"{text!r} is not known{hint}")
        return text

    return read


class _Switch(argparse.Action):
    """`--name` sets True, `--noname` False; the parser turns `--name=false` into these."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, not (option or "").startswith("--no"))


class Group:
    """Flags under one heading of a command's help."""

    def __init__(self, parser: "Parser", title: str) -> None:
        self._parser = parser
        self._group = parser.add_argument_group(title)

    def flag(
        self,
        name: str,
        text: str,
        default: Any = None,
        *,
        kind: Callable[[str], Any] = str,
        required: bool = False,
        repeated: bool = False,
        metavar: str = "",
        dest: str = "",
    ) -> None:
        """Adds a flag with a value.

        Args:
          name: without the dashes; also the name of the attribute of the options, unless `dest` says another.
          text: the help, which also shows the default, unless that is empty.
          kind: reads the value.
          repeated: whether it may be given several times; the value is a list.
          metavar: what the help calls the value.
        """
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else default
        self._parser.names.add(f"--{name}")
        note = " [required]" if required else "" if shown in (None, "") else f" [default: {shown}]"
        self._group.add_argument(
            f"--{name}",
            dest=dest or name,
            type=kind,
            action="append" if repeated else "store",
            default=None if repeated else default,
            required=required,
            metavar=metavar or name.upper().rpartition("_")[2],
            help=(text + note).replace("%", "%%"),
        )
        if repeated:
            self._parser.repeated[dest or name] = list(default or ())

    def integer(self, name: str, text: str, default: int | None = None, least: int | None = None, **more: Any) -> None:
        """Adds a flag with a whole number."""
        self.flag(name, text, default, kind=number(int, least, more.pop("most", None)), metavar="N", **more)

    def real(
        self,
        name: str,
        text: str,
        default: float | None = None,
        least: float | None = None,
        most: float | None = None,
        **more: Any,
    ) -> None:
        """Adds a flag with a number."""
        self.flag(name, text, default, kind=number(float, least, most), metavar="X", **more)

    def words(self, name: str, text: str, default: Sequence[str] = (), **more: Any) -> None:
        """Adds a flag with a list, separated by commas."""
        self.flag(name, text, list(default), kind=comma_list, **({"metavar": "A,B,..."} | more))

    def numbers(
        self, name: str, text: str, default: Sequence[float], kind: type = int, least: float = 1, empty: bool = False
    ) -> None:
        """Adds a flag with a list of numbers, separated by commas; `empty` says whether it may have none."""
        read = number(kind, least, None)

        def read_all(given: str) -> list[Any]:
            values = [read(word) for word in comma_list(given)]
            if not (values or empty):
                raise argparse.ArgumentTypeError("it takes at least one number")
            return values

        self.flag(name, text, list(default), kind=read_all, metavar="N,...")

    def files(self, name: str, text: str) -> None:
        """Adds a flag with one or more files, separated by spaces."""
        self._parser.names.add(f"--{name}")
        self._group.add_argument(f"--{name}", nargs="+", default=[], metavar="FILE", help=text)

    def choice(self, name: str, text: str, default: str, choices: Sequence[str], **more: Any) -> None:
        """Adds a flag that takes one of some words."""
        self.flag(name, text, default, kind=one_of(choices), metavar="|".join(choices), **more)

    def switch(self, name: str, text: str, default: bool = False) -> None:
        """Adds a flag that is on or off."""
        note = " [default: on]" if default else ""
        self._parser.names |= {f"--{name}", f"--no{name}"}
        self._parser.switches.add(name)
        self._group.add_argument(
            f"--{name}",
            f"--no{name}",
            dest=name,
            action=_Switch,
            nargs=0,
            default=default,
            help=(text + note).replace("%", "%%"),
        )

    def texts(self, name: str, text: str, metavar: str = "") -> None:
        """Adds words without a flag; `metavar` says what one of them is, by default the name's singular."""
        self._parser.texts = name
        word = metavar or name.upper().removesuffix("S")
        self._group.add_argument(name, nargs="*", default=[], metavar=word, help=text)


def model_flag(files: Group) -> None:
    """Adds --model of the commands that run an exported model."""
    text = "The exported model: its folder (the highest version is taken) or a version's."
    files.flag("model", text, required=True, metavar="DIR")


def reading_flags(rows: Group) -> None:
    """Adds the flags of the commands that read files of rows: --max_rejected, --max_chars, --quoting."""
    rows.real("max_rejected", "Share of bad rows at which to stop.", 0.01, 0.0, 1.0)
    rows.integer("max_chars", "A longer text makes its row a bad one.", 20_000, 1)
    quoting_flag(rows)


def quoting_flag(rows: Group) -> None:
    """Adds --quoting of the commands that read TSV and CSV files."""
    text = "How TSV and CSV files were written; auto: CSV quotes, TSV as its fields look."
    rows.choice("quoting", text, "auto", ["auto", "csv", "backslash", "none"])


class Parser(argparse.ArgumentParser):
    """A command's parser; the description is the command's docstring.

    `more` are the beginnings of flags that the command reads by itself, such as "--config."; "" is that of all flags.
    """

    def __init__(self, command: str, description: str, more: Sequence[str] = ()) -> None:
        super().__init__(
            command,
            usage=f"{command} [FLAGS]",
            description=description.strip(),
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=110),
            allow_abbrev=False,
            add_help=False,
        )
        self.names: set[str] = set()
        self.switches: set[str] = set()
        self.repeated: dict[str, list[Any]] = {}
        self.texts = ""
        self._more = tuple(more)
        self._general = ("-h", "--help", "--verbose", "--noverbose", "--debug", "--nodebug")

    def group(self, title: str) -> Group:
        """Returns a new heading for flags."""
        return Group(self, title)

    def add_general(self) -> None:
        """Adds the flags that all commands have."""
        general = self.group("general")
        general.switch("verbose", "Show what TensorFlow and other libraries say.")
        general.switch("debug", "Show the traceback of an error.")
        self.names.add("--help")
        self.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this and end.")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Reads a command line; ends the process where it is wrong.

        Returns the options; `words` are those of the command line, `settings` those that begin as `more` says.
        """
        if "" in self._more:
            options, _ = self.parse_known_args([word for word in words if word in self._general])
            options.words = options.settings = [word for word in words if word not in self._general]
            return options
        end = words.index("--") if "--" in words else len(words)
        plain, after = self._plain(words[:end]), list(words[end + 1 :])
        for word in plain:
            # Before argparse, which takes an unknown flag whose value has a space for a text, and names missing ones first.
            if word.startswith("--") and word.partition("=")[0] not in self.names and not word.startswith(self._more):
                self._refuse(word)
        settings = [word for word in plain if word.startswith(self._more)]
        options, unknown = self.parse_known_intermixed_args([word for word in plain if not word.startswith(self._more)])
        options.words, options.settings = list(words), settings
        if self.texts:
            setattr(options, self.texts, [*getattr(options, self.texts), *after])
        elif after:
            self._refuse(after[0])
        if unknown:
            self._refuse(unknown[0])
        for name, default in self.repeated.items():
            if getattr(options, name) is None:
                setattr(options, name, default)
        return options

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in one line and ends the process."""
        print(f"error: {message} ({self.prog} --help lists the flags)", file=sys.stderr)
        raise SystemExit(USAGE)

    def _refuse(self, word: str) -> NoReturn:
        name = word.partition("=")[0]
        if name.startswith("-"):
            self.error(f"there is no flag {name}{nearest(name, self.names)}")
        self.error(f"what is {word!r}? Settings are given as --name=value")

    def _plain(self, words: Sequence[str]) -> list[str]:
        plain: list[str] = []
        remaining = list(words)
        while remaining:
            word = remaining.pop(0)
            if word.startswith(self._more) and "=" not in word and remaining and re.match(r"[^-]|-\d", remaining[0]):
                word = f"{word}={remaining.pop(0)}"
            name, equals, value = word.removeprefix("--").partition("=")
            if word.startswith("--") and equals and name in self.switches:
                try:
                    word = f"--{name}" if boolean(value) else f"--no{name}"
                except argparse.ArgumentTypeError as problem:
                    self.error(f"argument --{name}: {problem}")
            plain.append(word)
        return plain
