import asyncio
import time

import numpy as np
import pytest

from tests.serving import tiny_model
from tfb2d.cli import main as tfb2d
from tfb2d.serving import ServingError
from tfb2d.serving.load import closed_loop, open_loop
from tfb2d.serving.local import LocalServer
from tfb2d.serving.server.textprotos import read_text_proto
from tfb2d.serving.tune import Batching, Measured, best, report, requests_of


def test_a_stall_is_charged_to_every_request_that_it_kept_waiting():
    turn = asyncio.Semaphore(1)

    async def ask(number):  # a server of one thread that stops for 0.3 s once
        async with turn:
            await asyncio.sleep(0.3 if number == 20 else 0)

    load = asyncio.run(open_loop(ask, rate=200, seconds=1.0))
    assert len(load.seconds) == 200
    assert not load.errors
    late = (load.seconds > 0.05).sum()
    assert 25 < late < 110  # about 200/s * 0.25 s; a closed loop would have seen one
    assert load.quantile(1) > 250


def test_open_loop_keeps_its_rate_and_counts_errors():
    due = []

    async def ask(number):
        due.append(time.perf_counter())
        if number % 10 == 0:
            raise ServingError("no")
        await asyncio.sleep(0.2)

    load = asyncio.run(open_loop(ask, rate=300, seconds=1.0))
    assert load.errors == {"ServingError: no": 30}
    assert len(load.seconds) == 270
    assert due[-1] - due[0] == pytest.approx(1.0, abs=0.3)
    assert load.quantile(0.0) >= 195


def test_closed_loop_finds_the_capacity():
    async def ask(number):
        await asyncio.sleep(0.01)

    load = asyncio.run(closed_loop(ask, clients=5, seconds=0.5))
    assert 150 < load.rate <= 500


def test_the_file_holds_the_best_and_what_was_measured(tmp_path):
    alone = Measured(None, 5000.0, 0.5, 2.0, 0)
    quick = Measured(Batching(0, 2), 6000.0, 0.4, 1.5, 0)
    slow = Measured(Batching(1000, 1), 9000.0, 1.4, 2.5, 0)
    failing = Measured(Batching(200, 1), 9000.0, 0.1, 0.2, 3)
    assert best([alone, slow, failing, quick]) is quick
    file = tmp_path / "batching.config"
    file.write_text(report([alone, slow, failing, quick], 1234.5))
    config = read_text_proto(str(file), "BatchingParameters")
    assert (config.batch_timeout_micros.value, config.num_batch_threads.value) == (0, 2)
    assert config.max_batch_size.value == 512
    assert not config.pad_variable_length_inputs
    assert "0 us, 2 threads            6,000     0.40     1.50       0 <- this file" in file.read_text()
    assert "Batching pays here" in file.read_text()
    message = report([alone, slow], 1.0)
    assert "leave --enable_batching out, unless" in message
    assert "(5,000 requests/s alone, 9,000 batched)" in message


def test_errors_are_told(tmp_path, capsys):
    assert tfb2d(["tune", f"--model={tmp_path}"]) == 1
    assert "holds no version" in capsys.readouterr().err
    (tmp_path / "1").mkdir()
    assert tfb2d(["tune", f"--model={tmp_path}"]) == 1
    assert "tf_serving_warmup_requests is missing" in capsys.readouterr().err


def test_a_server_that_does_not_start_says_why():
    with (
        pytest.raises(ServingError, match=r"(?s)the server ended; it said:.*model_base_path"),
        LocalServer(["--embedded"]),
    ):
        pass


@pytest.mark.slow
def test_tuning_a_model(tmp_path, capsys):
    from tfb2d.serving.export import warmup_requests
    from tfb2d.serving.version_folder import write_requests

    version = tmp_path / "student" / "1"
    version.parent.mkdir()
    tiny_model.save(version, 0.0)
    (version / "assets.extra").mkdir()
    texts = [[f"{name} {i}" for i in range(16)] for name in ("query", "title")]
    requests = warmup_requests(("query", "title"), texts, True)
    write_requests(version / "assets.extra/tf_serving_warmup_requests", "other", requests)
    assert len(requests_of(version)) == 9  # of eleven: rankings cannot be batched
    file = tmp_path / "batching.config"
    options = [f"--model={version.parent}", f"--output={file}", "--seconds=0.5", "--timeouts=0", "--threads=1"]
    assert tfb2d(["tune", *options]) == 0
    assert read_text_proto(str(file), "BatchingParameters").num_batch_threads.value == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["no batching", "0 us, 1 thread"]
    assert all(line.endswith(" 0") for line in lines[1:3])  # failed
    assert np.isfinite(float(lines[1].split()[-2]))
