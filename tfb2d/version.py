"""Prints which versions of tfb2d, Python and its libraries are installed, for reports of faults.

tfb2d version
tfb2d version --json
"""

import json
import platform
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version

from tfb2d.cli.arguments import Parser

LIBRARIES = (
    "tensorflow",
    "tf-keras",
    "keras",
    "keras-hub",
    "tensorflow-text",
    "numpy",
    "pyarrow",
    "grpcio",
    "protobuf",
)


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    parser.group("output").switch("json", "One JSON object.")


def run(options: Namespace) -> None:
    """Runs the command."""
    installed = versions()
    lines = [json.dumps(installed)] if options.json else [f"{name:18} {number}" for name, number in installed.items()]
    print("\n".join(lines))


def versions() -> dict[str, str]:
    """Returns the version of each package, "not installed" where there is none."""
    from tfb2d import __version__

    installed = {"tfb2d": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("version")
