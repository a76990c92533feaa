"""The allocator is set where a command asks for it, and nowhere else."""

import platform
import subprocess
import sys

import pytest

PROGRAM = "from tfb2d.teachers.memory import keep_freed_memory; print(keep_freed_memory())"


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_it_is_for_pytorch_alone(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.strip()
    assert answer == str(backend == "torch" and platform.libc_ver()[0] == "glibc")
