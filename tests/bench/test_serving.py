"""The load that `python -m tfb2d.bench --serving` puts on a server, measured here on the bare echo itself."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfb2d.bench.floor import export_floor
from tfb2d.bench.serving import picture, table
from tfb2d.bench.serving_load import Settings, measure, requests
from tfb2d.serving.local import LocalServer


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    settings = Settings(seconds=0.4, rounds=2, clients=(1, 2), levels=(0.5, 1.1))
    with LocalServer([], module="tfb2d.bench.echo") as echo:
        return list(measure(echo.address, echo.address, {"score": [b"one", b"two"], "rank": [b"x" * 1000]}, settings))


def test_an_echo_is_measured_beside_itself(rows: list[dict]) -> None:
    assert [(row["request"], row["bytes"]) for row in rows] == [("score", 3), ("rank", 1000)]
    for row in rows:
        most = row["capacity"]
        assert [entry["clients"] for entry in most["by_clients"]] == [1, 2]
        assert most["share"] == pytest.approx(most["requests_per_s"] / most["echo_per_s"])
        for level, share in zip(row["levels"], (0.5, 1.1), strict=True):
            assert level["arrivals_per_s"] == pytest.approx(share * most["requests_per_s"])
            assert level["requests"] == pytest.approx(0.4 * level["arrivals_per_s"], abs=2)
            assert 0 < level["p50_ms"] <= level["p99_ms"]
            assert level["p999_ms"] is None or level["requests"] >= 1000
            assert level["errors"] == level["echo"]["errors"] == {}
    assert json.loads(json.dumps(rows)) == rows


def test_refusals_are_counted_by_code_and_shown(rows: list[dict]) -> None:
    with LocalServer([], module="tfb2d.bench.echo") as echo:
        address = echo.address
    settings = Settings(seconds=0.2, rounds=1, clients=(1,), levels=(0.5,))
    with pytest.raises(Exception, match="UNAVAILABLE"):  # nobody is there: no capacity to take shares of
        list(measure(address, address, {"score": [b"x"]}, settings))
    refused = {**rows[0], "levels": [{**rows[0]["levels"][0], "errors": {"UNAVAILABLE": 3}, "p999_ms": None}]}
    assert "UNAVAILABLE 3; p99 is" in table([refused])
    assert "110%" in table(rows)


def test_the_floor_reads_every_token_and_takes_the_students_requests(model: Path, tmp_path: Path) -> None:
    export_floor(model, tmp_path / "shop/1")
    served = tf.saved_model.load(str(tmp_path / "shop/1")).signatures
    texts = tf.constant(["red shoe", "red shoe", "red shoes"])
    scores = served["serving_default"](query=texts, title=texts[::-1])["score"].numpy()
    assert scores[0] == scores[2] != scores[1]
    ranked = served["rank"](query=texts[:2], titles=tf.stack([texts, texts[::-1]]))["scores"].numpy()
    assert ranked.shape == (2, 3)
    np.testing.assert_array_equal(ranked[0], ranked[1][::-1])
    assert ranked[0, 0] != ranked[0, 2]
    kinds = requests(tmp_path / "shop")
    settings = Settings(seconds=0.4, rounds=1, clients=(2,), levels=())
    with (
        LocalServer(["--embedded", "--model_name=shop", f"--model_base_path={tmp_path / 'shop'}"]) as server,
        LocalServer([], module="tfb2d.bench.echo") as echo,
    ):
        measured = list(measure(server.address, echo.address, kinds, settings))
    assert [row["request"] for row in measured] == ["score", "rank"]


def test_the_picture_has_a_panel_a_request(rows: list[dict]) -> None:
    drawn = picture(rows)
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert drawn.count("requests/s at most") == 2
