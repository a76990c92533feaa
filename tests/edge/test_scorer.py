"""The runner against the SavedModel, and against wrong use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.environments import Environment
from tests.students.harness import NASTY
from tfb2d.edge import EdgeError, EdgeScorer, scorer

CLOSE = {"int8": 1e-2, "float": 1e-5}
# Any code point, lone surrogates apart: those TensorFlow's own strings cannot be made of.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROOT = Path(__file__).parents[2]

# Scores where TensorFlow and what else the edge lacks cannot be imported.
WITHOUT = """
import importlib.abc, json, sys
class Forbidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras", "pyarrow", "absl", "ml_collections", "safetensors"):
            raise ImportError(name + " is not there")
sys.meta_path.insert(0, Forbidden())
from tfb2d.edge import EdgeScorer
scores = EdgeScorer(sys.argv[1]).score(*json.load(sys.stdin))
print(json.dumps(scores.tolist()))
"""


def both(version: Path) -> dict[str, EdgeScorer]:
    return {"int8": EdgeScorer(version), "float": EdgeScorer(version.parents[1] / "float")}


@pytest.fixture(scope="module")
def text_scorers(text_model: Path) -> dict[str, EdgeScorer]:
    return both(text_model)


@pytest.fixture(scope="module")
def pair_scorers(pair_model: Path) -> dict[str, EdgeScorer]:
    return both(pair_model)


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_any_text_scores_as_the_saved_model(text_scorers, served_text, texts: list[str]) -> None:
    out = served_text[1](text=tf.constant(texts))
    for form, edge in text_scorers.items():
        np.testing.assert_allclose(edge.score(texts), out["score"], atol=CLOSE[form])
    np.testing.assert_allclose(text_scorers["float"].logits(texts), out["logit"], atol=1e-4)


@settings(max_examples=60)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=6))
def test_any_pair_scores_and_ranks_as_the_saved_model(pair_scorers, served_pair, query: str, titles: list[str]) -> None:
    signatures = served_pair.signatures
    scores = signatures["serving_default"](query=tf.constant([query] * len(titles)), title=tf.constant(titles))["score"]
    ranked = signatures["rank"](query=tf.constant([query]), titles=tf.constant([titles]))["scores"][0]
    for form, edge in pair_scorers.items():
        np.testing.assert_allclose(edge.score([query] * len(titles), titles), scores, atol=CLOSE[form])
        np.testing.assert_allclose(edge.rank(query, titles), ranked, atol=CLOSE[form])


def test_a_query_shares_words_with_its_titles(pair_scorers, served_pair) -> None:
    # What random text never does: matches, at every length up to beyond max_tokens.
    words = [f"w{i}" for i in range(30)]
    titles = [" ".join(words[i : i + n]) for n in (1, 5, 11, 12, 13, 30) for i in (0, 3)]
    for query in ("w3", "w4 w5 w0", " ".join(words)):
        ranked = served_pair.signatures["rank"](query=tf.constant([query]), titles=tf.constant([titles]))["scores"][0]
        for form, edge in pair_scorers.items():
            np.testing.assert_allclose(edge.rank(query, titles), ranked, atol=CLOSE[form])


def test_many_texts_of_all_lengths(text_scorers, served_text) -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(list("abcdefgh"), n)) for n in generator.integers(0, 90, 700)] + ["x " * 5000]
    expected = served_text[1](text=tf.constant(texts))["score"]
    for form, edge in text_scorers.items():
        np.testing.assert_allclose(edge.score(texts), expected, atol=CLOSE[form])


def test_bytes_and_broken_bytes(text_scorers, served_text) -> None:
    texts = [b"caf\xe9 \xff", b"\xed\xa0\x80", b"a\x00b", "\ud800 lone"]
    served = served_text[1](text=tf.constant([*texts[:3], b"\xed\xa0\x80 lone"]))["score"]
    np.testing.assert_allclose(text_scorers["float"].score(texts), served, atol=1e-5)


def test_no_texts(text_scorers, pair_scorers) -> None:
    assert text_scorers["int8"].score([]).shape == (0,)
    assert pair_scorers["int8"].score([], []).shape == (0,)
    assert pair_scorers["int8"].rank("usb", []).shape == (0,)
    assert text_scorers["int8"].score([""]).dtype == np.float32


def test_threads_and_kernels_do_not_move_scores(pair_model: Path, pair_scorers) -> None:
    titles = [text for text in NASTY if text]
    for options in ({"threads": 2}, {"xnnpack": False}):
        scores = EdgeScorer(pair_model, **options).rank("usb cable", titles)
        np.testing.assert_allclose(scores, pair_scorers["int8"].rank("usb cable", titles), atol=1e-3)


def test_no_tensorflow_is_needed(pair_model: Path, pair_scorers, tmp_path: Path) -> None:
    columns = [["usb cable", "ΣΊΣΥΦΟΣ", "a\x00b"], ["usb c cable 1 m", "σισυφος", ""]]
    command = [sys.executable, "-c", WITHOUT, str(pair_model)]
    run = subprocess.run(command, input=json.dumps(columns), capture_output=True, text=True, check=True, cwd=ROOT)
    np.testing.assert_array_equal(np.float32(json.loads(run.stdout)), pair_scorers["int8"].score(*columns))


@pytest.mark.slow
def test_in_an_environment_of_its_own(pair_model: Path, pair_scorers, tmp_path: Path) -> None:
    # The README's way to install on an edge machine.
    device = Environment(tmp_path, ["ai-edge-litert", "numpy"])
    there = device.packages()
    assert "tfb2d" in there
    assert "tensorflow" not in there
    assert "keras" not in there
    columns = [["usb cable"], ["usb c cable 1 m"]]
    scores = json.loads(device.run("-c", WITHOUT, str(pair_model), text=json.dumps(columns)))
    np.testing.assert_allclose(scores, pair_scorers["int8"].score(*columns), atol=1e-6)


@pytest.fixture
def copy(text_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_model / "assets.extra/edge", tmp_path / "edge"))


def changed(folder: Path, **values: object) -> Path:
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, **values}))
    return folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hash_spec": 99}, "hash_spec is 99, this runner knows 2"),
        ({"version": 2}, "version is 2"),
        ({"orders": [0]}, "damaged: orders"),
        ({"orders": "12"}, "damaged"),
        ({"bias": []}, "bias cannot be so"),
        ({"max_tokens": True}, "max_tokens cannot be so"),
        ({"fields": ["query", "title"]}, "takes text; spec.json means query, title"),
        ({"surplus": 1}, "damaged"),
        ({"affixes": [5]}, "affixes cannot be so"),
        ({"affixes": [5, 3]}, "window, vocabulary, buckets cannot be so"),
        ({"window": 2, "vocabulary": 600}, "window, vocabulary, buckets cannot be so"),
        ({"window": 2, "vocabulary": 3}, r"vocabulary\.i64 cannot be read"),
        ({"known_words": 3}, "known_words cannot be so"),  # single texts have no query
        ({"orders": [1, 2, 3]}, "takes 2 ids of a token"),
        ({"bias": [0.0, 0.0]}, "gives 1 scores"),
    ],
)
def test_a_wrong_spec_is_told(copy: Path, values: dict, message: str) -> None:
    with pytest.raises(EdgeError, match=message):
        EdgeScorer(changed(copy, **values))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "3 numbers"), (b"\1" * 23, "3 numbers"), (np.array([3, 2, 4], "<i8").tobytes(), "do not rise")],
)
def test_a_damaged_vocabulary_is_told(copy: Path, content: bytes, message: str) -> None:
    (copy / "vocabulary.i64").write_bytes(content)
    with pytest.raises(EdgeError, match=rf"vocabulary\.i64 is damaged: .*{message}"):
        EdgeScorer(changed(copy, window=2, vocabulary=3))


def test_wrong_folders_and_files_are_told(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="is no folder"):
        EdgeScorer(tmp_path / "nowhere")
    with pytest.raises(EdgeError, match=r"tfb2d export"):
        EdgeScorer(tmp_path)
    with pytest.raises(EdgeError, match="threads is 0"):
        EdgeScorer(copy, threads=0)
    (copy / "scorer.tflite").write_bytes(b"no model" * 100)
    with pytest.raises(EdgeError, match="cannot be loaded"):
        EdgeScorer(copy)
    (copy / "spec.json").write_text("{")
    with pytest.raises(EdgeError, match="is no JSON"):
        EdgeScorer(copy)
    (copy / "spec.json").write_text("[]")
    with pytest.raises(EdgeError, match="version is None"):
        EdgeScorer(copy)


def test_wrong_use_is_told(text_scorers, pair_scorers) -> None:
    text, pair = text_scorers["int8"], pair_scorers["int8"]
    for call, message in [
        (lambda: text.score("one text"), "text is one text"),
        (lambda: text.score(["a", None]), "text has NoneType in it"),
        (lambda: text.score(["a"], ["b"]), "2 columns of texts; this model takes text"),
        (lambda: pair.score(["a"]), "1 columns of texts; this model takes query, title"),
        (lambda: pair.score(["a", "b"], ["c"]), "2 texts of query, 1 of title"),
        (lambda: pair.score(["a"], ["b", "c"]), "1 texts of query, 2 of title"),
        (lambda: text.rank("a", ["b"]), "takes a model of pairs"),
        (lambda: pair.rank(["a"], ["b"]), "the query is list"),
        (lambda: pair.rank("a", "b"), "title is one text"),
    ]:
        with pytest.raises(EdgeError, match=message):
            call()


def test_a_missing_runtime_is_told(text_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EdgeError, match="pip install ai-edge-litert"):
        scorer.EdgeScorer(text_model)
