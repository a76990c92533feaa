"""The harness of all tests of commands: `run` in this process, `spawn` as a user does, in a process of its own."""

import contextlib
import io
import subprocess
import sys
from typing import NamedTuple

from tfb2d.cli import main


class Done(NamedTuple):
    """How a command ended; the names are those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str

    def error(self) -> str:
        """The one line that a mistake of the user is answered with."""
        assert self.returncode in (1, 2), self
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        return lines[0].removeprefix("error: ")


def run(*words: object) -> Done:
    """Runs `tfb2d WORDS` in this process: no seconds for loading TensorFlow anew."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Done(status, out.getvalue(), err.getvalue())


def spawn(*words: object, timeout: float = 500) -> Done:
    """Runs `python -m tfb2d WORDS`, for what must not happen in the tests' own process."""
    command = [sys.executable, "-m", "tfb2d", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)
