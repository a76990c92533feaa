"""The command that serves the page: it says where, answers there, ends, and names what it cannot use."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.commands import run as command
from tests.search.trained_shop import TITLES, Shop


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Servers that the command starts."""
    servers: list[Any] = []

    class Kept(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    monkeypatch.setattr(uvicorn, "Server", Kept)
    return servers


def test_the_command_serves_until_it_is_ended(
    shop: Shop, started: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    outcome: list[Any] = []
    words = [f"--index={shop.index}", f"--ranker={shop.ranker}", f"--student={shop.student}", "--port=0"]
    thread = threading.Thread(target=lambda: outcome.append(command("search", "serve", *words)))
    thread.start()
    try:
        while not (started and started[0].started):
            thread.join(0.05)
            assert thread.is_alive(), outcome
        port = started[0].servers[0].sockets[0].getsockname()[1]
        check_answers(port)
    finally:
        for server in started:
            server.should_exit = True
        thread.join(60)
    assert outcome[0].returncode == 0
    assert outcome[0].stdout == f"http://127.0.0.1:{port}/ searches {len(TITLES)} titles; Ctrl-C ends it\n"


def check_answers(port: int) -> None:
    """Asks for a search, for the page, and for more than is read."""
    address = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(f"{address}/api/search?q=red+jacket&k=1", timeout=30) as response:
        assert json.load(response)["hits"][0]["title"].endswith("rain jacket, red")
    with urllib.request.urlopen(f"{address}/", timeout=30) as response:
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert b"<title>tfb2d search</title>" in response.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api/search?q={'x' * 500_000}", timeout=30)
    with refused.value as error:
        assert error.code == 400
        assert "up to 1,000 are read" in json.load(error)["error"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.suppress(ConnectionError):  # more than a megabyte is not read to its end
        connection.request("GET", "/api/search?q=" + "x" * 3_000_000)
        assert connection.getresponse().status == 400
    connection.close()
    with urllib.request.urlopen(f"{address}/api/health", timeout=30) as response:
        assert json.load(response) == {"status": "ok"}


def test_what_it_cannot_use_is_named(shop: Shop, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = command("search", "serve", f"--index={shop.index}", f"--port={port}").error()
        assert f"cannot listen at 127.0.0.1:{port}" in error
        assert "--port=0" in error
    for words, says in (
        ([f"--index={tmp_path}"], "holds no index"),
        ([f"--index={shop.index}", f"--ranker={tmp_path}"], str(tmp_path)),
        ([f"--index={shop.index}", f"--teacher={tmp_path}"], "no teacher.json"),
        ([f"--index={shop.index}", "--port=70000"], "70000"),
    ):
        assert says in command("search", "serve", "--port=0", *words).error()
