"""Runs Python in a process of its own, which is killed (SIGKILL) as soon as a file is there."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: str, **environment: str) -> None:
    """Runs code to its end."""
    subprocess.run([sys.executable, "-c", code], env=_environment(environment), check=True, timeout=300)


def run_and_kill(code: str, ready: Callable[[], bool], **environment: str) -> None:
    """Runs code and kills it once `ready()`; it must not have come to its end by then."""
    process = subprocess.Popen([sys.executable, "-c", code], env=_environment(environment))
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **more}
