"""The one harness of kill tests: a command in a process of its own, killed (SIGKILL) at a moment that the test names."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300  # that anything may take


def python(code: str) -> list[str]:
    """Returns the command that runs some Python."""
    return [sys.executable, "-c", code]


def module(name: str, *flags: str) -> list[str]:
    """Returns the command that runs a module of the package."""
    return [sys.executable, "-m", name, *flags]


def run(command: Sequence[str], **environment: str) -> None:
    """Runs a command to its end."""
    subprocess.run(command, env=_environment(environment), check=True, timeout=SECONDS)


def run_and_kill(
    command: Sequence[str], ready: Callable[[], bool], wait: float = 0.0, may_end: bool = False, **environment: str
) -> bool:
    """Runs a command and kills it once `ready()`.

    Args:
      command: what to run.
      ready: looks for what the command writes.
      wait: seconds from then to the kill.
      may_end: whether the command may have ended by itself by then.
      environment: variables to set.

    Returns:
      Whether it was killed before it ended.
    """
    process = subprocess.Popen(
        command, env=_environment(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + SECONDS
    while not ready() and process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError("what the test waits for did not come")
        time.sleep(0.01)
    time.sleep(wait)
    process.kill()
    killed = process.wait() == -9
    assert killed or may_end, "the process ended before it could be killed"
    return killed


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **more}
