"""A server as a child process on loopback, for whatever measures one."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tfb2d.serving.errors import ServingError


class LocalServer:
    """Runs `python -m tfb2d.serve` on a free port for the length of a `with` block, which starts once the port answers.

    Args:
      arguments: the server's flags, without --port.
      wait: seconds that starting may take; then, or if it ends before, ServingError has the last lines of its log.
      port: 0 takes a free one.
      module: what runs instead of `tfb2d.serve`; it is given `--port=N`.
    """

    def __init__(
        self, arguments: Sequence[str], wait: float = 120.0, port: int = 0, module: str = "tfb2d.serve"
    ) -> None:
        self._arguments, self._wait, self._module = list(arguments), wait, module
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = port or probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> "LocalServer":
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        command = [sys.executable, "-m", self._module, f"--port={self.port}", *self._arguments]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        end = time.monotonic() + self._wait
        while not self._answers():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > end:
                last_lines = "\n".join(self.log().splitlines()[-10:])
                self.__exit__()
                raise ServingError(f"the server {'ended' if ended else 'opened no port'}; it said:\n{last_lines}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def megabytes(self) -> float:
        """Returns the server's resident memory in units of 2^20 bytes (Linux only)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    def log(self) -> str:
        """Returns what the server has written to its log so far."""
        data = os.pread(self._log.fileno(), 1 << 24, 0)
        return data.decode(errors="replace")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
