"""What `import tfb2d` gives: names, their cost, and a model in this process."""

import json
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfb2d
from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS, Tiny, expected_logits, export
from tfb2d.atomic import write_json
from tfb2d.errors import UserError

NAMES = ["Client", "Config", "EdgeScorer", "Model", "__version__", "distil", "load"]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cost(code: str, *heavy: str) -> list[str]:
    """CPU seconds of some code in a new process, and which of some modules it loaded."""
    timed = f"import sys, time; start = time.process_time()\n{code}\nprint(time.process_time() - start)\n"
    return python(timed + f"print(*(set({heavy}) & set(sys.modules)))").split()


def test_names_are_listed_once_and_documented() -> None:
    assert tfb2d.__all__ == NAMES
    assert set(NAMES) <= set(dir(tfb2d))
    space: dict[str, object] = {}
    exec("from tfb2d import *", space)
    assert set(NAMES) <= set(space)
    for name in set(NAMES) - {"__version__"}:
        exported = getattr(tfb2d, name)
        assert exported.__doc__
        assert exported.__module__.startswith("tfb2d.")
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        _ = tfb2d.Clinet


def test_types_are_known_without_running_anything(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "import tfb2d\nreveal_type(tfb2d.load('m').rank('q', ['t']))\nreveal_type(tfb2d.distil)\ntfb2d.load(3)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports", str(tmp_path / "use.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert "floating" in done.stdout
    assert "workdir: str | Path" in done.stdout or "workdir" in done.stdout
    assert 'incompatible type "int"' in done.stdout


def test_importing_costs_nothing() -> None:
    seconds, *loaded = cost("import tfb2d", "tensorflow", "keras", "numpy", "grpc", "ml_collections", "pyarrow")
    assert not loaded
    assert float(seconds) < 0.1


@pytest.mark.parametrize("name", ["Client", "EdgeScorer", "Config"])
def test_what_runs_without_tensorflow_imports_without_it(name: str) -> None:
    times = []
    for _ in range(2):
        seconds, *loaded = cost(f"import tfb2d; tfb2d.{name}", "tensorflow", "keras", "pyarrow", "tensorflow_serving")
        assert not loaded
        times.append(float(seconds))
    assert min(times) < 0.6  # 0.3 s on an idle machine


def test_a_model_of_single_texts(tmp_path: Path) -> None:
    export(tmp_path / "reviews/2", REVIEWS)
    model = tfb2d.load(tmp_path / "reviews")
    assert (model.folder, model.fields, model.classes) == (tmp_path / "reviews/2", ("text",), ("bad", "good"))
    texts = ["a good film", "poor", ""]
    np.testing.assert_allclose(model.logits(texts), expected_logits(REVIEWS, [texts]), rtol=1e-6)
    scores = model.score(texts)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-expected_logits(REVIEWS, [texts]))), rtol=1e-6)
    assert scores.dtype == np.float32
    assert model.score([]).shape == (0,)
    assert "reviews/2" in repr(model)
    for wrong in ("a text", [1], [("a", "b")]):
        with pytest.raises(TypeError):
            model.score(wrong)  # type: ignore[arg-type]
    for missing in (None, float("nan")):  # as a table's column holds them
        with pytest.raises(TypeError, match=rf"row 1 is {missing}; .* takes texts"):
            model.score(["a", missing])  # type: ignore[list-item]
    with pytest.raises(UserError, match="takes text alone"):
        model.rank("query", ["title"])
    with pytest.raises(UserError, match="no signature 'embed' but serving_default"):
        model.embed(["a"])


def test_a_model_of_pairs_and_one_of_classes(tmp_path: Path) -> None:
    export(tmp_path / "pairs/1", PAIRS)
    model = tfb2d.load(str(tmp_path / "pairs/1"))
    titles = ["a match", "none", ""]
    rows = [("tv", title) for title in titles]
    np.testing.assert_allclose(model.rank("tv", titles), model.score(rows))
    np.testing.assert_allclose(model.logits(rows), expected_logits(PAIRS, [["tv"] * 3, titles]), rtol=1e-6)
    assert model.rank("tv", []).shape == (0,)
    with pytest.raises(TypeError, match="one string"):
        model.rank("tv", "a match")
    with pytest.raises(TypeError, match="title 1 is None"):
        model.rank("tv", ["a match", None])  # type: ignore[list-item]
    np.testing.assert_allclose(model.score(np.array(rows)), model.score(rows))
    for wrong in (["a", "b"], [("a", "b", "c")], [("a", 1)], [("a", None)], [None], [5]):
        with pytest.raises(ValueError, match=r"row 0 is .* takes \(query, title\) a row"):
            model.score(wrong)  # type: ignore[arg-type]
    export(tmp_path / "news/1", NEWS)
    assert tfb2d.load(tmp_path / "news").score(["sport"]).shape == (1, 3)


class Towers(Tiny):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="title")])
    def embed(self, title: tf.Tensor) -> dict[str, tf.Tensor]:
        lengths = self.two * tf.cast(tf.strings.length(title), tf.float32)
        return {"embedding": tf.stack([lengths, -lengths], 1)}


def test_a_model_with_towers_embeds(tmp_path: Path) -> None:
    model = Towers(PAIRS)
    signatures = {"serving_default": model.served, "embed": model.embed}
    tf.saved_model.save(model, str(tmp_path / "1"), signatures=signatures)
    write_json(tmp_path / "1/assets.extra/tfb2d.json", {"task": PAIRS.to_json()})
    vectors = tfb2d.load(tmp_path / "1").embed(["ab", "abc"])
    np.testing.assert_array_equal(vectors, [[4, -4], [6, -6]])


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        tfb2d.load(tmp_path / "gone")
    assert json.dumps(tfb2d.__version__) == '"0.2.0"'


def test_help_shows_the_names() -> None:
    shown = pydoc.render_doc(tfb2d, renderer=pydoc.plaintext)
    for name in set(NAMES) - {"__version__"}:
        assert re.search(rf"\b{name}\b", shown.partition("\nVERSION")[0]), name
