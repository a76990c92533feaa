"""The client without TensorFlow: what it imports, how fast, and an environment that has nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.environments import Environment
from tests.serving.scoring_server import score

ROOT = Path(__file__).parents[2]
PACKAGES = ["google-crc32c", "grpcio", "numpy", "protobuf"]  # as serving/README.md has it

IMPORTED = """
import sys
from tfb2d.serving import AsyncClient, Client, RequestLog
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
SECONDS = """
import time
began = time.process_time()
from tfb2d.serving import Client
print(time.process_time() - began)
"""
ASKED = """
import asyncio, json, sys
from tfb2d.serving import AsyncClient, Client, RequestLog
address, folder = sys.argv[1:]
with RequestLog(folder, rate=1) as log, Client(address, "pair", request_log=log) as client:
    scores = client.score([("q", "a")]).tolist() + client.rank("q", ["b", "c"]).tolist()
async def ask():
    async with AsyncClient(address, "pair") as client:
        return (await client.score([("q", "d")])).tolist()
print(json.dumps([scores + asyncio.run(ask()), log.counts["written"]]))
"""


def python(code, *arguments, interpreter=sys.executable, cwd=ROOT):
    command = [interpreter, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


def test_the_client_imports_grpc_protobuf_numpy_and_crc32c_alone():
    outside = {"absl", "jinja2", "keras", "pandas", "pyarrow", "scipy", "sklearn", "tensorflow", "tensorflow_serving"}
    loaded = set(python(IMPORTED).split())
    assert {"grpc", "google", "google_crc32c", "numpy"} <= loaded
    assert not {"tf_keras", "tqdm", *outside} & loaded


def test_the_client_is_imported_in_less_than_300_ms():
    """Processor time, since other tests may keep the machine busy; the least of five."""
    assert min(float(python(SECONDS)) for _ in range(5)) < 0.3


@pytest.mark.slow
def test_in_an_environment_of_its_own(server, tmp_path):
    text = (ROOT / "serving/README.md").read_text()
    assert f"pip install --no-deps . && pip install {' '.join(PACKAGES)}" in text
    device = Environment(tmp_path, PACKAGES)
    scores, written = json.loads(device.run("-c", ASKED, server.address, str(tmp_path / "log")))
    np.testing.assert_array_equal(np.float32(scores), [score("q", title) for title in "abcd"])
    assert written == 2
    assert "tensorflow" not in device.packages()
