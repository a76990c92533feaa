"""A virtual environment with the package and a few others alone, as a small device has it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Environment:
    """Installs the package without what it requires, then `packages`, in a new environment in `folder`."""

    def __init__(self, folder: Path, packages: Sequence[str]) -> None:
        self.folder = folder
        self.python = str(folder / "venv/bin/python")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        source = folder / "source"  # pip writes beside setup.py
        source.mkdir()
        for name in ("setup.py", "README.md", "pyproject.toml"):
            shutil.copy(ROOT / name, source)
        shutil.copytree(ROOT / "tfb2d", source / "tfb2d", ignore=shutil.ignore_patterns("__pycache__"))
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        self.run(*install, "--no-deps", str(source))
        self.run(*install, *packages)

    def run(self, *words: str, text: str = "") -> str:
        """Runs the environment's Python with these words and `text` as its input; returns what it prints."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [self.python, *words]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, cwd=self.folder, env=environment
        )
        return done.stdout

    def packages(self) -> str:
        """Returns what pip lists, in small letters."""
        return self.run("-m", "pip", "list").lower()
