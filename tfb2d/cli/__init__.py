"""The command line: `tfb2d COMMAND [FLAGS]`; `python -m tfb2d.COMMAND` is the same.

A command is a module with a docstring (its help), `add_arguments(parser)` and `run(options)`, which returns an exit status
or None. This module finds it, reads the flags, sets logging up, and turns what a user can mend into one line. Exit status:
0, 1 after an error, 2 after a wrong command line; some commands have more, which their help names.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from tfb2d.cli.arguments import USAGE, Parser
from tfb2d.errors import UserError, nearest


class Command(NamedTuple):
    """A command's module, and what it does in a line."""

    module: str
    summary: str


COMMANDS = {
    "train": Command("tfb2d.train", "raw rows to a served model; stages that are done are skipped"),
    "prepare": Command("tfb2d.prepare", "distinct, shuffled rows to label, without test texts; resumes after a stop"),
    "label": Command("tfb2d.label", "a teacher's logits for any files; resumes after a stop"),
    "score": Command("tfb2d.score", "scores files with an exported model"),
    "evaluate": Command("tfb2d.evaluate", "measures an exported model on labelled rows, beside its teacher"),
    "explain": Command("tfb2d.explain.__main__", "says what each n-gram adds to a score"),
    "export": Command("tfb2d.export", "writes a trained student as SavedModel, as TensorFlow Lite, or both"),
    "serve": Command("tfb2d.serve", "serves models with TensorFlow Serving's contract"),
    "query": Command("tfb2d.query", "asks a running server for scores"),
    "search": Command("tfb2d.search.__main__", "builds, updates, asks and serves a search index over a catalogue"),
    "monitor": Command("tfb2d.monitor.__main__", "watches request logs: fidelity, drift, new n-grams"),
    "sweep": Command("tfb2d.sweep.__main__", "the paper's ablations over a finished run"),
    "compress": Command("tfb2d.compress.__main__", "what int8, budgets, pruning and clustering cost and gain"),
    "bench": Command("tfb2d.bench.modes", "measures students beside BERT, fastText, Model2Vec and others"),
    "version": Command("tfb2d.version", "the versions of tfb2d and of the libraries that it uses"),
}
TOOLS = {
    "tune": Command("tfb2d.serving.tune", "measures which server-side batching suits a model"),
    "shadow": Command("tfb2d.monitor.shadow", "sends logged requests to two servers and compares the answers"),
    "storage": Command("tfb2d.twin.storage", "measures what storing a twin's weights as int8 or bfloat16 costs"),
    "record": Command("tfb2d.evaluation.record", "sums finished runs up as one result"),
    "recount": Command("tfb2d.evaluation.recount", "computes a report's figures anew from its test logits"),
}
_HELP = """Distils slow Transformer relevance models into n-gram students that score in microseconds on a CPU.

  tfb2d train                          the quickstart: ten minutes on two cores
  tfb2d score --model=saved_models/quickstart --input=reviews.tsv --output=scored.tsv
"""
_STOPPED = 130  # a shell's exit status for a process that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `tfb2d` with the words after the program's name, or with this process's; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name in ("--help", "-h", "help"):
        print(_overview())
        return 0
    if name == "--version":
        name = "version"
    known = COMMANDS | TOOLS
    if name not in known:
        print(f"error: there is no command {name!r}{nearest(name, known)} (tfb2d --help lists them)", file=sys.stderr)
        return USAGE
    return _run(name, words[1:])


def run_command(command: str) -> None:
    """Runs one command with the words of this process, for `python -m tfb2d.COMMAND`, and ends the process."""
    sys.exit(main([command, *sys.argv[1:]]))


def _overview() -> str:
    lines = ["usage: tfb2d COMMAND [FLAGS]", "", _HELP, "commands:"]
    lines += [f"  {name:10} {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "tools:", *(f"  {name:10} {command.summary}" for name, command in TOOLS.items())]
    return "\n".join([*lines, "", "`tfb2d COMMAND --help` explains a command and its flags."])


def parser_of(name: str, words: Sequence[str] = ()) -> tuple[ModuleType, Parser]:
    """Returns the module and the parser of one of `COMMANDS` or `TOOLS`.

    A command with modes (`bench`), or with commands of its own (`search`), chooses by the words of the command line.
    """
    module: Any = importlib.import_module((COMMANDS | TOOLS)[name].module)
    if hasattr(module, "mode_of"):
        module = module.mode_of(words)
    elif words and words[0] in (inner := getattr(module, "COMMANDS", {})):
        name, module = f"{name} {words[0]}", importlib.import_module(inner[words[0]])
    parser = Parser(f"tfb2d {name}", module.__doc__ or "", getattr(module, "SETTINGS", ()))
    module.add_arguments(parser)
    parser.add_general()
    return module, parser


def _run(name: str, words: Sequence[str]) -> int:
    module, parser = parser_of(name, words)
    try:
        options = parser.read(words[1:] if parser.prog != f"tfb2d {name}" else words)
    except SystemExit as end:  # after --help, or after an error in a flag
        return int(end.code or 0)
    from tfb2d.cli.terminal import quiet

    try:
        with quiet(verbose=options.verbose, capture=getattr(module, "CAPTURE", True)):
            status = module.run(options) or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError, FloatingPointError) as error:  # FloatingPointError: a training that diverged
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = getattr(module, "EXTRA", "")
        if options.debug or not extra or str(error.name).startswith("tfb2d"):
            raise
        print(f"error: tfb2d {name} needs {error.name}: pip install 'tfb2d[{extra}]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if options.debug:
            raise
        print("\nstopped", file=sys.stderr)
        return _STOPPED
