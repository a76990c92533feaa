"""The stage `words`: takes from a teacher the vectors that the student's words start from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.atomic import atomic_path
from tfb2d.config import Config
from tfb2d.data.tables import iter_batches
from tfb2d.data.task import Task
from tfb2d.outcomes import WordsOutcome
from tfb2d.runs import Run
from tfb2d.students import text_spec
from tfb2d.students.stage import word_teacher

if TYPE_CHECKING:
    from tfb2d.teachers.teacher import Teacher

VERSION = 1  # of the code: raise it when the same teacher and texts give other vectors
MAX_WORDS = 100_000
BATCH_ROWS, MAX_BATCHES = 8192, 123  # of the transfer set, in whose first million rows words are counted


def take_words(run: Run, config: Config) -> WordsOutcome:
    """Writes the teacher's word vectors into the run; see `write_word_vectors`."""
    from tfb2d.teachers.teacher import load_teacher

    name = word_teacher(config)
    assert name is not None  # the stage is there only if there is such a teacher
    teacher, task, student = load_teacher(run.teacher(name)), Task.from_config(config.data), config.student
    words = write_word_vectors(teacher, run.split("transfer"), task, student.max_tokens, run.words, student.affixes)
    return WordsOutcome(words)


def write_word_vectors(
    teacher: "Teacher", transfer: Path, task: Task, max_tokens: int, out: Path, affixes: Sequence[int] = ()
) -> int:
    """Writes a teacher's vectors of words into a safetensors file: `hashes` int64 [n], `vectors` float32 [n, width].

    The words are those of the transfer set, most frequent first, then the others of the teacher's vocabulary. A word that
    only texts in service have then starts from what the teacher knows of it. A single-text task takes contextual vectors:
    the fine-tuned encoder's states of a word on its own, which already say how it bears on the task. A cross-encoder has
    not learnt to read a word on its own, so pairs take the token embeddings.

    The hashes depend on the student's settings `max_tokens` and `affixes`. Returns how many words there are.

    Reference: Model2Vec (https://github.com/MinishLab/model2vec) for the contextual vectors.
    """
    from safetensors.numpy import save_file

    counts: Counter[bytes] = Counter()
    for batch in islice(iter_batches(transfer, task.fields, BATCH_ROWS), MAX_BATCHES):
        for field in task.fields:
            for text in batch.column(field).to_pylist():
                counts.update(text_spec.tokens(text, max_tokens))
    words = dict.fromkeys(word for word, _ in counts.most_common(MAX_WORDS))
    words.update(dict.fromkeys(_tokens(teacher.whole_words(), max_tokens)))
    hashes = np.array([text_spec.token_hash(word, affixes) for word in words], np.int64)
    kind = "contextual" if len(task.fields) == 1 else "tokens"
    vectors = teacher.word_vectors([word.decode("utf-8", "replace") for word in words], kind)
    with atomic_path(out) as path:
        save_file({"hashes": hashes, "vectors": vectors.astype(np.float32)}, path)
    return len(words)


def _tokens(words: Iterable[str], max_tokens: int) -> Iterable[bytes]:
    """Yields, as tokens, the words that are a single token to the student."""
    for word in words:
        tokens = text_spec.tokens(word, max_tokens)
        if len(tokens) == 1:
            yield tokens[0]
