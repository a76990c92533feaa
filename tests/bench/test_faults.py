"""Faults done to a real server with a small student, as `python -m tfb2d.bench --serving --faults` does them."""

from pathlib import Path

import numpy as np
import pytest

from tfb2d.bench.faults import FAULTS, Arena, Counts
from tfb2d.bench.fuzz import Names
from tfb2d.bench.serving_load import repeated, requests
from tfb2d.bench.versions import Versions
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.serving import wire
from tfb2d.serving.export import export
from tfb2d.students.model import Student

SHAPE = StudentConfig(buckets=997, dim=8, ffn=(16,), soft_buckets=101)
TEXTS = [["red shoe", "usb cable", "lamp"], ["Red shoes 42", "USB-C cable, 2 m", "desk lamp"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "shop"
    student = Student(Task(("query", "title")), SHAPE, 3)
    export(student, folder, scale=2.0, bias=[0.25], warmup=TEXTS, fingerprint="one")
    return folder


@pytest.fixture
def arena(model: Path, tmp_path: Path) -> Arena:
    payload = requests(model)["score"][0]
    fields, many = repeated(payload, 20_000)
    names = Names(
        ("shop",), ("serving_default", "rank", "classify", "regress"), (*fields, "titles"), ("score", "logit")
    )
    return Arena(model, payload, many, tmp_path / "work", names, Counts(2, 100, 500, 2_000))


def test_requests_are_made_of_the_models_own_texts(model: Path) -> None:
    kinds = requests(model)
    assert sorted(kinds) == ["rank", "score"]
    rank = wire.MESSAGES["PredictRequest"].FromString(kinds["rank"][0])
    assert rank.model_spec.signature_name == "rank"
    assert wire.to_numpy(rank.inputs["titles"]).shape == (1, 100)
    assert set(rank.inputs["titles"].string_val) == {title.encode() for title in TEXTS[1]}
    assert repeated(kinds["score"][0], 3)[0] == ["query", "title"]


def test_versions_are_told_apart_by_their_answers(model: Path, tmp_path: Path) -> None:
    versions = Versions(model, tmp_path / "shop", requests(model)["score"][0])
    for number in (1, 2):
        assert (versions.make(number) / "saved_model.pb").is_file()
    logits = {number: versions.expected[number] for number in (1, 2)}
    assert np.abs(logits[1] - logits[2]).max() > 1e-4
    for number, logit, wrong in ((1, logits[1], ""), (2, logits[1], "off"), (3, logits[1], "never written")):
        answer = wire.MESSAGES["PredictResponse"]()
        answer.model_spec.version.value = number
        answer.outputs["logit"].dtype = 1
        answer.outputs["logit"].tensor_shape.dim.add(size=1)
        answer.outputs["logit"].float_val.extend(logit.tolist())
        version, words = versions.check(answer.SerializeToString())
        assert version == number
        assert wrong in words
        assert bool(wrong) == bool(words)


def test_no_request_is_lost_when_the_server_ends(arena: Arena) -> None:
    outcome = FAULTS["drain"](arena)
    assert outcome["passed"], outcome


@pytest.mark.slow
@pytest.mark.parametrize("fault", sorted({*FAULTS} - {"drain"}))
def test_middling(arena: Arena, fault: str) -> None:
    outcome = FAULTS[fault](arena)
    assert outcome["passed"], outcome


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fault", ["swaps", "idle_clients", "fuzz", "memory"])
def test_in_full(arena: Arena, fault: str) -> None:
    """Does 20 swaps, 1,000 connections, 10^5 random requests and 10^6 requests."""
    arena.counts = Counts()
    outcome = FAULTS[fault](arena)
    assert outcome["passed"], outcome
