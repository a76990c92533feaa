"""The settings of these tests, and work for Ray's actors that is slow, dies, or fails where a test wants it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfb2d.config import LabelConfig, RayConfig
from tfb2d.errors import DataError
from tfb2d.scale.passes import PreparePass
from tfb2d.teachers.shard_labeller import LabelJob

LOCAL = LabelConfig(rows_per_shard=64, batch_tokens=256)
RAY = LabelConfig(64, 256, "ray", RayConfig(actors=1))


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("part-*"))}


class SlowLabelJob(LabelJob):
    """Labels shards, and waits before each: time to be killed in. Its process' number is in the name of a file."""

    def start(self) -> Callable[[int], Any]:
        work = super().start()
        (Path(self.out) / f"_{os.getpid()}.process").touch()

        def slowly(index: int) -> Any:
            time.sleep(0.5)
            return work(index)

        return slowly


class SlowPass(PreparePass):
    """Does the pieces of a pass, and waits behind each. Its process' number is in the name of a file."""

    def start(self) -> Callable[[int], Any]:
        work = super().start()
        (Path(self.out) / f"_{os.getpid()}.process").touch()

        def slowly(piece: int) -> Any:
            counts = work(piece)
            time.sleep(0.05)
            return counts

        return slowly


@dataclass(frozen=True)
class Faulty:
    """Writes its process into a file for each piece; some pieces go wrong.

    Attributes:
      folder: gets a file a piece.
      faults: what goes wrong, by piece: "killed" the first time, "always killed", "exit", "full" or "bad".
    """

    folder: str
    faults: dict[int, str]

    def start(self) -> Callable[[int], int]:
        def work(piece: int) -> int:
            fault = self.faults.get(piece, "")
            before = Path(self.folder) / f"{piece}.begun"
            first = not before.exists()
            before.touch()
            if fault == "always killed" or (fault == "killed" and first):
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "exit" and first:
                import ray

                ray.actor.exit_actor()
            if fault == "full":
                raise OSError(28, "No space left on device")
            if fault == "bad":
                raise DataError("part-00007.parquet: not a whole Parquet file")
            return os.getpid()

        return work
