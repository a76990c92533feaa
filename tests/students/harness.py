"""One call checks all that a student must keep, and one all that a layer must: `run_student_test`, `run_layer_test`.

A new feature of the student gets a line in `SHAPES`, which puts it through the whole of it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.compress.pack import pack
from tfb2d.compress.tflite import write_edge
from tfb2d.config import StudentConfig, TrainingConfig
from tfb2d.data.task import Task
from tfb2d.edge import EdgeScorer
from tfb2d.serving.export import export
from tfb2d.students import early_exit, text_spec
from tfb2d.students.hashing import hash_rows
from tfb2d.students.model import Student, load_student
from tfb2d.students.rows import TrainingRows
from tfb2d.students.served import ServedStudent
from tfb2d.students.spelling import Dictionary
from tfb2d.students.training import Trainer

TEXT = Task(("text",))
PAIR = Task(("query", "title"))
NEWS = Task(("text",), "multiclass", ("a", "b", "c"))
GRADED = Task(("query", "title"), "graded", label_range=(1.0, 3.0))
SMALL = StudentConfig(buckets=1010, dim=8, ffn=(64, 32), soft_buckets=101, max_tokens=64)
PLAIN = replace(SMALL, products=False, differences=False, matched=False, soft_match=False)
SHAPES = {
    "text": (TEXT, SMALL),
    "linear": (TEXT, replace(SMALL, orders=(1,), ffn=())),
    "composed": (TEXT, replace(SMALL, window=3)),
    "convolved": (TEXT, replace(SMALL, window=2, convolutions=(1, 3))),
    "wide": (TEXT, replace(SMALL, window=2, convolutions=(1, 3), convolution_width=24)),
    "lettered": (TEXT, replace(SMALL, window=3, convolutions=(1, 2), vocabulary=150, affixes=(2, 2))),
    "narrowed": (TEXT, replace(SMALL, window=2, convolutions=(1, 3), convolution_width=24, convolution_dim=5)),
    "exit": (TEXT, replace(SMALL, window=2, convolutions=(1, 3), convolution_width=24, early_exit=0.01)),
    "exit of classes": (NEWS, replace(SMALL, window=2, convolutions=(1,), vocabulary=150, early_exit=0.01)),
    "vocabulary": (TEXT, replace(SMALL, window=2, vocabulary=100)),
    "affixes": (TEXT, replace(SMALL, window=2, affixes=(1, 3))),
    "multiclass": (NEWS, replace(SMALL, orders=(1, 2, 3))),
    "pair": (PAIR, SMALL),
    "concatenation": (PAIR, PLAIN),
    "spelling": (PAIR, replace(SMALL, spelling=True)),
    "matched and soft": (GRADED, replace(PLAIN, matched=True, soft_match=True, kernels=5, orders=(2,))),
}
NASTY = ["", " ", "a", "USB-C cable 1 m", "55sk8500pla", "ΣΊΣΥΦΟΣ", "漢字かな", "a\x00b", "\ufeff!?", "é" * 300, "🙂🙂"]
SCALE, BIAS = 1.5, 0.1  # a calibration
DICTIONARY = Dictionary(np.array([text_spec.token_hash(word) for word in (b"battery", b"blanket", b"red")]))
SPELT = ["battery", "Battrey", "bttery", "bateery", "batteryy", "blanket", "blankte", "flanket"]

# Reads SavedModels where neither tfb2d nor TF.Text was imported, and writes what they score; a line in, a line out.
PLAIN_PROCESS = """
import json, sys, numpy as np, tensorflow as tf
for line in sys.stdin:
    source, model, result = json.loads(line)
    columns = np.load(source, allow_pickle=False)
    served = tf.saved_model.load(model).signatures["serving_default"]
    out = served(**{name: tf.constant(columns[name]) for name in columns.files})
    np.savez(result, **{name: value.numpy() for name, value in out.items()})
    assert not [name for name in sys.modules if name.split(".")[0] in ("tfb2d", "tensorflow_text", "tf_keras")]
    print("done", flush=True)
"""


class PlainTensorFlow:
    """Scores with SavedModels in a process that has TensorFlow alone; it starts once for all models, as loading takes long.

    Use it in a `with` block.
    """

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", PLAIN_PROCESS]
        self._process = subprocess.Popen(
            command, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "PlainTensorFlow":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def score(self, columns: Mapping[str, np.ndarray], model: Path, folder: Path) -> Mapping[str, np.ndarray]:
        """Returns a model's outputs for columns of byte strings; files go into `folder`."""
        source, result = folder / "in.npz", folder / f"{model.parent.name}.npz"
        np.savez(source, **columns)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(source), str(model), str(result)]), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n", f"{model} cannot be scored with TensorFlow alone"
        return np.load(result)


def some_texts(task: Task, n: int = 64, seed: int = 0, misspelt: bool = False) -> list[list[str]]:
    """Makes columns of texts: nasty ones, then words drawn at random, of SPELT as well where they are to be `misspelt`."""
    rng = np.random.default_rng(seed)
    spelt = SPELT if misspelt else []
    words = np.array([*spelt, *(f"w{i}" for i in range(len(spelt), 200)), "red", "Blue", "64gb"])
    columns = []
    for _ in task.fields:
        drawn = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(n - len(NASTY))]
        columns.append([*rng.permutation(NASTY), *drawn])
    return columns


def some_rows(task: Task, folder: Path, n: int = 640, seed: int = 0, config: StudentConfig = SMALL) -> TrainingRows:
    """Makes hashed rows whose target depends on the texts' lengths, so that there is something to learn."""
    columns = [np.array(column, object) for column in some_texts(task, n, seed, config.spelling)]
    long = np.array([len(text.split()) > 6 for text in columns[-1]])
    k = task.n_logits
    targets = long[:, None].astype(np.float32) if k == 1 else np.eye(k, dtype=np.float32)[long * (k - 1)]
    return hash_rows(columns, targets, folder, 64, config.affixes, dictionary_for(config))


def dictionary_for(config: StudentConfig) -> Dictionary | None:
    """Returns the dictionary of a student with these settings."""
    return DICTIONARY if config.spelling else None


def strong_student(task: Task, config: StudentConfig) -> Student:
    """Makes an untrained student whose scores are far apart, as a trained one's are."""
    student = Student(task, config, 5, dictionary=dictionary_for(config))
    for weight in student.trunk.trainable_variables:
        if "table" in weight.name:
            weight.assign(weight * 4)
        elif "bias" in weight.name:
            weight.assign(tf.linspace(-0.3, 0.3, weight.shape[0]))
    if student.ngrams.known is not None:
        words = [b"w", b"red", b"64", *(b"%d" % number for number in range(student.config.vocabulary - 4))]
        known = sorted(text_spec.token_hash(word, student.config.affixes) for word in words)
        student.ngrams.known.assign([*known, text_spec.UNUSED])
    return student


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Computes calibrated scores of logits `[n, k]` in float64: `[n]`, or `[n, k]` of several classes."""
    powers = np.exp(SCALE * logits.astype(np.float64) + BIAS)
    return powers[:, 0] / (1 + powers[:, 0]) if logits.shape[1] == 1 else powers / powers.sum(1, keepdims=True)


def run_student_test(task: Task, config: StudentConfig, folder: Path, plain: PlainTensorFlow) -> Student:
    """Trains a small student and checks it in all of its forms; returns it."""
    rows = some_rows(task, folder / "rows", config=config)
    student = _check_training(task, config, rows, folder)
    columns = some_texts(task, 100, 3, config.spelling)
    texts = [tf.constant(column) for column in columns]
    logits = student.model(texts).numpy()
    assert logits.shape == (100, task.n_logits)
    assert np.isfinite(logits).all()
    assert student.model([tf.constant([], tf.string) for _ in task.fields]).shape == (0, task.n_logits)

    # Strings and their cached hashes give the same logits.
    targets = np.zeros((100, task.n_logits), np.float32)
    arrays = [np.array(column, object) for column in columns]
    dictionary = dictionary_for(config)
    hashed = hash_rows(arrays, targets, folder / "hashed", config.max_tokens, config.affixes, dictionary)
    np.testing.assert_allclose(student.trunk(hashed.batch(np.arange(100))[0]).numpy(), logits, atol=1e-5)

    # The int8 form is smaller and gives nearly the same logits. Both are saved and loaded without a change.
    packed = pack(student, rows)
    nearly = packed.model(texts).numpy()
    assert np.abs(nearly - logits).max() < 0.03 * (logits.max() - logits.min())
    for name, layer in student.embeddings.items():
        assert packed.embeddings[name].compressed.nbytes <= layer.buckets * (layer.dim + 4)
    for name, form, expected in (("saved", student, logits), ("packed", packed, nearly)):
        form.save(folder / name)
        np.testing.assert_array_equal(load_student(folder / name).model(texts).numpy(), expected)

    if len(task.fields) == 2:
        _check_rank(student, columns)
    _check_saved_models({"float": student, "int8": packed}, columns, folder, plain)
    for name, form, close in (("float", student, 1e-5), ("int8", student, 1e-2), ("int8", packed, 1e-5)):
        check_edge(form, columns, folder / "edge", name, close)
    return student


def _check_training(task: Task, config: StudentConfig, rows: TrainingRows, folder: Path) -> Student:
    """Checks that the loss falls and that the same seed gives the same bits."""
    valid = some_rows(task, folder / "valid", 128, 1, config)
    training = TrainingConfig(epochs=3, batch_size=64, table_learning_rate=0.2, learning_rate=1e-2)

    def trained(out: Path) -> tuple[Student, list]:
        student = Student(task, config, 7, dictionary=dictionary_for(config))
        student.learn_vocabulary(rows)
        trainer = Trainer(student, rows, valid, training, out)
        history = trainer.fit(progress=False)
        student.zero_rows(trainer.steps.untouched())
        if student.exit:
            targets = valid.targets
            early_exit.fit(student, valid, (targets[:, 0] if task.n_logits == 1 else targets.argmax(1)).astype(float))
        return student, history

    student, history = trained(folder / "a")
    assert history[-1]["loss"] < history[0]["loss"]
    twin, again = trained(folder / "b")
    for weight, other in zip(student.trunk.weights, twin.trunk.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy())
    assert [epoch["loss"] for epoch in history] == [epoch["loss"] for epoch in again]
    return student


def _check_rank(student: Student, columns: Sequence[Sequence[str]]) -> None:
    """Checks that ranking, of one query and of several, gives the logits of pairs that are scored one by one."""
    queries, titles = columns[0][:3], columns[1][:20]
    graph = ServedStudent(student)
    expected = [student.model([tf.constant([query] * 20), tf.constant(titles)]).numpy() for query in queries]
    for first in (1, 3):
        ranked = graph.rank(tf.constant(queries[:first]), tf.constant([titles] * first))
        np.testing.assert_allclose(ranked, np.concatenate(expected[:first]), atol=1e-5)


def _check_saved_models(
    students: dict[str, Student], columns: list[list[str]], folder: Path, plain: PlainTensorFlow
) -> None:
    """Checks the SavedModels in a process that has TensorFlow alone."""
    task = next(iter(students.values())).task
    kept = [i for i in range(len(columns[0])) if all("\0" not in column[i] for column in columns)]
    columns = [[column[i] for i in kept] for column in columns]  # NumPy's byte strings end at a NUL
    arrays = {name: np.array([t.encode() for t in c], "S") for name, c in zip(task.fields, columns, strict=True)}
    for name, student in students.items():
        warmup = [column[:20] for column in columns]
        bias = [BIAS] * task.n_logits
        model = export(student, folder / name, scale=SCALE, bias=bias, warmup=warmup, fingerprint="x")
        out = plain.score(arrays, model, folder)
        logits = student.model([tf.constant(column) for column in columns]).numpy()
        np.testing.assert_allclose(out["logit"], logits[:, 0] if task.n_logits == 1 else logits, atol=1e-5)
        np.testing.assert_allclose(out["score"], probabilities(logits), atol=1e-5)


def check_edge(student: Student, columns: list[list[str]], folder: Path, form: str, close: float) -> None:
    """Checks that the TensorFlow Lite form scores as the student, with XNNPACK's kernels and without."""
    write_edge(student, folder, SCALE, [BIAS] * student.task.n_logits, form)
    expected = probabilities(student.model([tf.constant(column) for column in columns]).numpy())
    assert expected.std() > 0.02
    for xnnpack in (True, False):
        scorer = EdgeScorer(folder, xnnpack=xnnpack)
        np.testing.assert_allclose(scorer.score(*columns), expected, atol=close)
        if len(columns) == 2:
            ranked = scorer.rank(columns[0][-1], columns[1])  # the last query has tokens
            pairs = scorer.score([columns[0][-1]] * len(columns[1]), columns[1])
            np.testing.assert_allclose(ranked, np.where([bool(text) for text in columns[1]], pairs, 0), atol=1e-5)


def run_layer_test(
    make: Callable[..., tf_keras.layers.Layer], arguments: dict[str, Any], inputs: Sequence[Any], shape: Sequence[int]
) -> tf_keras.layers.Layer:
    """Checks a layer: its arguments, its config, its docstring, its output's shape and gradients; returns it.

    Args:
      make: the class.
      arguments: of its constructor.
      inputs: of its call.
      shape: of its output's values.
    """
    layer = make(**arguments)
    accepted = set(signature(make.__init__).parameters) - {"self", "kwargs"}
    for name in accepted | set(arguments):
        assert hasattr(layer, name), f"{make.__name__} has no attribute for its argument {name}"
        if name in arguments and not isinstance(arguments[name], tf_keras.layers.Layer):
            assert getattr(layer, name) == arguments[name]
    for part in ("Call arguments:", "Returns:", "Example:", *(["Args:"] if arguments else [])):
        assert part in make.__doc__, f"{make.__name__}'s docstring has no {part}"

    with tf.GradientTape() as tape:
        out = layer(*inputs)
        values = out.flat_values if isinstance(out, tf.RaggedTensor) else out
        total = tf.reduce_sum(values * tf.cast(tf.reshape(tf.range(tf.size(values)), tf.shape(values)), values.dtype))
    assert values.shape == shape
    if layer.trainable_weights:
        assert all(gradient is not None for gradient in tape.gradient(total, layer.trainable_weights))
    traced = tf.function(layer)(*inputs)
    np.testing.assert_allclose(*(np.asarray(getattr(item, "flat_values", item)) for item in (traced, out)), atol=1e-6)

    # Its config makes the same layer again.
    twin = tf_keras.saving.deserialize_keras_object(tf_keras.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    again = twin(*inputs)
    twin.set_weights(layer.get_weights())
    again = twin(*inputs)
    np.testing.assert_array_equal(*(np.asarray(getattr(item, "flat_values", item)) for item in (again, out)))
    return layer
