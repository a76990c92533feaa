"""A client's request log in front of a real server, read by the monitor."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.monitor.run import Monitor
from tfb2d.monitor.settings import Settings
from tfb2d.serving import AsyncClient, Client, RequestLog
from tfb2d.serving.export import export
from tfb2d.serving.local import LocalServer
from tfb2d.students.model import Student


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = Student(
        Task(("query", "title")),
        StudentConfig(buckets=997, dim=8, ffn=(16,), soft_buckets=101, matched=False, soft_match=False),
        3,
    )
    folder = tmp_path_factory.mktemp("models") / "shop"
    return export(student, folder, scale=2.0, bias=[0.25], warmup=[["red shoe"], ["shoe 42"]], fingerprint="x")


def test_the_monitor_reads_what_both_clients_logged(model: Path, tmp_path: Path) -> None:
    rows = [(f"query {number % 3}", f"title {number}") for number in range(30)]
    titles = [title for _, title in rows[:7]]
    flags = ["--embedded", "--model_name=shop", f"--model_base_path={model.parent}"]
    with LocalServer(flags, 300) as server, RequestLog(tmp_path / "log", rate=1) as log:
        with Client(server.address, "shop", timeout=60, chunk_rows=10, request_log=log) as client:
            scores = client.score(rows)  # three requests
            client.score(rows[:5], output="logit")

        async def ask() -> np.ndarray:
            async with AsyncClient(server.address, "shop", timeout=60, request_log=log) as client:
                ranked = await client.rank(["query 0", "query 1"], [titles, titles[:2]])  # padded to one shape
                return np.concatenate(ranked)

        ranked = asyncio.run(ask())
    assert len(scores) == 30
    assert len(ranked) == 9
    result = Monitor(Settings([str(tmp_path / "log")], str(model.parent), tmp_path / "out", progress=False)).run()
    requests = result["logs"]
    assert (requests["requests"], requests["rows"], requests["padding"], requests["ranked"]) == (5, 44, 5, 1)
    assert requests["models"] == {"shop/1": 44}
    assert (requests["broken"], requests["ignored"], requests["time"]) == ({}, {}, "records")
    assert result["skew"]["rows"] == 44
    assert result["skew"]["largest"] < 1e-6  # every logged score is what the model gives for the logged texts
