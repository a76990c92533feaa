"""Prepares in small parts and waits behind each piece: time to be killed in. Arguments: output, inputs, held-out files."""

import sys
import time
from pathlib import Path

from tests.scale.prepared import small_parts
from tfb2d.scale import passes, prepare_files
from tfb2d.scale.passes import PreparePass
from tfb2d.scale.prepare_config import PrepareConfig


class SlowPass(PreparePass):
    """Waits after each piece."""

    def start(self):
        work = super().start()

        def slowly(piece: int) -> passes.Counts:
            counts = work(piece)
            time.sleep(0.05)
            return counts

        return slowly


if __name__ == "__main__":
    prepare_files.PreparePass = SlowPass
    out, inputs, held_out = sys.argv[1:]
    with small_parts():
        config = PrepareConfig(("query", "title"), rows_per_shard=50)
        prepare_files.prepare_files(inputs.split(","), held_out.split(","), Path(out), config, progress=False)
