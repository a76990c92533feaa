"""Prepares in small parts, slowly: time to be killed in. Arguments: output, inputs, held-out files, engine."""

import sys
from pathlib import Path

from tests.scale.jobs import SlowPass
from tests.scale.prepared import small_parts
from tfb2d.config import RayConfig
from tfb2d.scale import prepare_files
from tfb2d.scale.prepare_config import PrepareConfig

if __name__ == "__main__":
    prepare_files.PreparePass = SlowPass
    out, inputs, held_out, engine = sys.argv[1:]
    with small_parts():
        config = PrepareConfig(("query", "title"), rows_per_shard=50, engine=engine, ray=RayConfig(actors=1))
        prepare_files.prepare_files(inputs.split(","), held_out.split(","), Path(out), config, progress=False)
