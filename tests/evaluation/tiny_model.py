"""SavedModels with the signatures of an export, and logits that can be worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfb2d.atomic import write_json
from tfb2d.data.task import Task
from tfb2d.model_folder import ABOUT

REVIEWS = Task(("text",), "binary", ("bad", "good"), "label")
PAIRS = Task(("query", "title"), "graded", (), "grade", (1.0, 3.0))
NEWS = Task(("text",), "multiclass", ("sport", "politics", "trade"), "topic")


class Tiny(tf.Module):
    """Two for every class name (binary: "good", pairs: "match") in the last field, and a hundredth for every byte."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.two = tf.Variable(2.0)
        specs = {name: tf.TensorSpec([None], tf.string, name=name) for name in task.fields}
        self.served = tf.function(self.predict).get_concrete_function(**specs)

    def predict(self, **texts: tf.Tensor) -> dict[str, tf.Tensor]:
        text = texts[self.task.fields[-1]]
        outputs = [
            tf.cast(tf.strings.regex_full_match(text, f"(?s).*{word}.*"), tf.float32) for word in words(self.task)
        ]
        lengths = sum(tf.cast(tf.strings.length(output), tf.float32) for output in texts.values())
        logit = self.two * tf.stack(outputs, 1) - 1.0 + lengths[:, None] / 100.0
        if len(outputs) == 1:
            return {"score": tf.sigmoid(logit[:, 0]), "logit": logit[:, 0]}
        return {"score": tf.nn.softmax(logit), "logit": logit}


def words(task: Task) -> Sequence[str]:
    if task.kind == "multiclass":
        return task.classes
    return ["match"] if len(task.fields) == 2 else ["good"]


def expected_logits(task: Task, columns: Sequence[Sequence[str]]) -> np.ndarray:
    rows = [
        [2.0 * (word in texts[-1]) - 1.0 + sum(len(text.encode()) for text in texts) / 100.0 for word in words(task)]
        for texts in zip(*columns, strict=True)
    ]
    logits = np.array(rows, np.float32).reshape(-1, task.n_logits)
    return logits if task.kind == "multiclass" else logits[:, 0]


def export(folder: Path, task: Task) -> Path:
    model = Tiny(task)
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.served})
    write_json(folder / ABOUT, {"task": task.to_json()})
    return folder
