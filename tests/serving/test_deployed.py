"""The operators' files at work: the flags and configuration that compose.yaml deploys, a rollout, and clients of it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving import tiny_model
from tfb2d.cli import main as tfb2d
from tfb2d.serving import AsyncClient, Client

SERVING = Path(__file__).parents[2] / "serving"
PAIRS = [("red shoes", "Nike, red"), ("red shoes", "garden hose"), ("", "łódź 🚲")]


def expected(rows, version=1):
    joined = ["\n".join(row) for row in rows]
    ids = tf.strings.to_hash_bucket_fast(joined, tiny_model.BUCKETS).numpy()
    return (ids / tiny_model.BUCKETS + version - 1).astype(np.float32)


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Deployment:
    """compose.yaml's server, run by `tfb2d.serve`, with /config and /models at hand."""

    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "models" / "student"
        self.models.mkdir(parents=True)
        for version in (1, 2):
            tiny_model.save(folder / str(version), version - 1.0)
        tiny_model.copy(folder / "1", self.models / "1")
        (folder / "config").mkdir()
        for file in SERVING.glob("*.config"):
            (folder / "config" / file.name).write_text(file.read_text().replace("/models/", f"{folder}/models/"))
        with socket.socket() as item, socket.socket() as two:
            for probe in (item, two):
                probe.bind(("127.0.0.1", 0))
            self.port, self.rest = (probe.getsockname()[1] for probe in (item, two))
        self.address = f"127.0.0.1:{self.port}"
        arguments = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["serving"]["command"]
        new = {"8500": str(self.port), "8501": str(self.rest), "wait_seconds=10": "wait_seconds=1"}
        self.arguments = [
            re.sub("|".join(new), lambda actual: new[actual[0]], item).replace("=/config/", f"={folder}/config/")
            for item in arguments
        ]
        self.start()

    def start(self):
        with (self.folder / "log").open("a") as log:
            command = [sys.executable, "-m", "tfb2d.serve", "--embedded", *self.arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self):
        until(lambda: listens(self.port) or self.process.poll() is not None, 120)
        assert self.process.poll() is None, (self.folder / "log").read_text()

    def configure(self, old, new):
        """Edits models.config as an editor does: another file takes the place of the old one."""
        file = self.folder / "config" / "models.config"
        text = file.read_text()
        assert old in text
        file.with_suffix(".new").write_text(text.replace(old, new))
        file.with_suffix(".new").rename(file)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("deployed"))
    deployment.wait()
    yield deployment
    deployment.process.kill()
    deployment.process.wait()


def test_both_clients_get_the_models_scores(deployed, capsys):
    with Client(deployed.address, label="stable", timeout=30) as client:
        np.testing.assert_array_equal(client.score(PAIRS), expected(PAIRS))
        np.testing.assert_array_equal(client.rank("q", ["a", "b"]), expected([("q", "a"), ("q", "b")]))
        assert client.predict({"query": ["a"], "title": ["b"]}).version == 1
        rows = [(str(i), "") for i in range(1500)]
        np.testing.assert_array_equal(client.score(rows), expected(rows))  # in several requests
        client.chunk_rows = 1500
        np.testing.assert_array_equal(client.score(rows), expected(rows))  # in one

    async def ask():
        async with AsyncClient(deployed.address, label="stable", timeout=30) as client:
            return await client.score(PAIRS), await client.rank(["q", "r"], [["a", "b"], ["c"]])

    scores, ranks = asyncio.run(ask())
    np.testing.assert_array_equal(scores, expected(PAIRS))
    np.testing.assert_array_equal(np.concatenate(ranks), expected([("q", "a"), ("q", "b"), ("r", "c")]))
    assert tfb2d(["query", f"--address={deployed.address}", "--timeout=30", "--json", "q", "a"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(expected([("q", "a")])[0])


def test_rankings_of_any_length_run_side_by_side(deployed):
    wrong = []

    def work(number):
        for turn in range(12):
            titles = [f"{number} {i}" for i in range(1 + (7 * number + turn) % 20)]
            if not np.array_equal(client.rank("q", titles), expected([("q", title) for title in titles])):
                wrong.append(titles)

    with Client(deployed.address, timeout=30) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_the_probe_answers(deployed):
    with grpc.insecure_channel(deployed.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_prometheus_finds_what_the_dashboard_shows(deployed):
    config = yaml.safe_load((SERVING / "prometheus/prometheus.yml").read_text())
    path = config["scrape_configs"][0]["metrics_path"]
    with urllib.request.urlopen(f"http://127.0.0.1:{deployed.rest}{path}", timeout=10) as answer:
        exported = set(re.findall(r"^# TYPE (\S+) ", answer.read().decode(), re.MULTILINE))
    shown = (SERVING / "grafana/dashboards/tfb2d.json").read_text() + (SERVING / "prometheus/alerts.yml").read_text()
    names = {name.removesuffix("_bucket") for name in re.findall(r":tensorflow:[a-z_:]+", shown)}
    assert len(names) > 5
    assert names <= exported


def test_the_readmes_python(deployed, tmp_path, monkeypatch, capsys):
    (tmp_path / "yesterday.tsv").write_text("query\ttitle\n" + "".join(f"q{i}\tt{i}\n" for i in range(700)))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (SERVING / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        names = {}
        here = {"127.0.0.1:8500": deployed.address, "timeout=1.0": "timeout=30", "/var/log/student": f"{tmp_path}/log"}
        for old, new in here.items():
            block = block.replace(old, new)
        exec(block, names)
        if "log" in names:
            assert names["log"].counts == {"written": 0, "dropped": 0, "failed": 0}
            names["log"].close()
        if "handler" in names:
            ranked = asyncio.run(names["handler"]("q", ["a", "b"]))
            assert ranked == expected([("q", "a"), ("q", "b")]).tolist()
            np.testing.assert_array_equal(
                names["scores"], expected([("red shoes", "Nike Air Zoom, red"), ("red shoes", "garden hose")])
            )
    assert "mean 0.0000, p99 0.0000, max 0.0000" in capsys.readouterr().out


def test_rollout_as_the_guide_has_it(deployed):
    item = expected(PAIRS)
    two = expected(PAIRS, version=2)
    with (
        Client(deployed.address, label="stable", timeout=30) as stable,
        Client(deployed.address, label="canary", timeout=30) as canary,
    ):
        # the new version lies there and nobody sees it
        tiny_model.copy(deployed.folder / "2", deployed.models / "2")
        time.sleep(1.5)
        assert 2 not in stable.versions()
        # 1: it is loaded next to the old one
        deployed.configure("versions: 1 }", "versions: 1 versions: 2 }")
        until(lambda: stable.versions().get(2) == "AVAILABLE")
        np.testing.assert_array_equal(stable.score(PAIRS), item)
        np.testing.assert_array_equal(canary.score(PAIRS), item)
        # 2: the canary's clients get it; a shadow comparison asks both
        deployed.configure('key: "canary" value: 1', 'key: "canary" value: 2')
        until(lambda: canary.predict({"query": ["q"], "title": ["t"]}).version == 2)
        np.testing.assert_array_equal(canary.score(PAIRS), two)
        np.testing.assert_array_equal(stable.score(PAIRS), item)
        # 3: promotion, and 4: back
        deployed.configure('key: "stable" value: 1', 'key: "stable" value: 2')
        until(lambda: stable.predict({"query": ["q"], "title": ["t"]}).version == 2)
        deployed.configure('key: "stable" value: 2', 'key: "stable" value: 1')
        until(lambda: stable.predict({"query": ["q"], "title": ["t"]}).version == 1)
        np.testing.assert_array_equal(stable.score(PAIRS), item)


def test_clients_come_back_within_a_second_of_a_killed_server(deployed):
    stop = threading.Event()
    answered = {Client: [], AsyncClient: []}
    failures = []

    def check(kind, scores):
        np.testing.assert_array_equal(scores, expected(PAIRS))
        answered[kind].append(time.monotonic())

    def ask():
        with Client(deployed.address, label="stable", timeout=180) as client:
            while not stop.is_set():
                check(Client, client.score(PAIRS))
                time.sleep(0.01)

    async def ask_async():
        async with AsyncClient(deployed.address, label="stable", timeout=180) as client:
            while not stop.is_set():
                check(AsyncClient, await client.score(PAIRS))
                await asyncio.sleep(0.01)

    def keep(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=keep, args=(work,)) for work in (ask, lambda: asyncio.run(ask_async()))]
    for thread in threads:
        thread.start()
    until(lambda: all(len(times) > 5 for times in answered.values()))
    os.kill(deployed.process.pid, signal.SIGKILL)
    deployed.process.wait()
    deployed.start()
    deployed.wait()
    back = time.monotonic()
    until(lambda: all(times[-1] > back for times in answered.values()))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures  # the retries bridged the gap
    for times in answered.values():
        assert min(when for when in times if when > back) - back < 1.0
