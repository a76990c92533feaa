"""Between a teacher and a student: the teacher's vectors of the words that the student will meet."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
MAX_ROWS = 1_000_000  # of the transfer set, in which words are counted


def take_words(run: Run, config: Config) -> WordsOutcome:
    """The stage `words`: takes the vectors of the teacher that the student starts from."""
    from tfb2d.teachers.teacher import load_teacher

    name = word_teacher(config)
    assert name is not None  # the stage is there only if there is such a teacher
    teacher, task, student = load_teacher(run.teacher(name)), Task.from_config(config.data), config.student
    words = write_word_vectors(teacher, run.split("transfer"), task, student.max_tokens, run.words, student.affixes)
    return WordsOutcome(words)


def write_word_vectors(
    teacher: "Teacher", transfer: Path, task: Task, max_tokens: int, out: Path, affixes: Sequence[int] = ()
) -> int:
    """Writes `hashes` [n] int64 and `vectors` [n, width] float32 of words, most frequent first, into the file `out`.

    The words are those of the transfer set, then the rest of the teacher's vocabulary: a word that no transfer text has,
    but a query in service may, then starts from what the teacher knows of it. Of a single-text task the vectors are
    contextual: what the fine-tuned encoder makes of a word standing alone, which already says how it bears on the task. A
    cross-encoder has not learnt to read a lone word, so pairs take the token embeddings.

    Returns:
      How many words.

    Reference: Model2Vec (https://github.com/MinishLab/model2vec) for the contextual vectors.
    """
    from safetensors.numpy import save_file

    counts: Counter[bytes] = Counter()
    for number, batch in enumerate(iter_batches(transfer, task.fields, 8192)):
        if number * 8192 >= MAX_ROWS:
            break
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
    """The words that are one token to the student."""
    for word in words:
        tokens = text_spec.tokens(word, max_tokens)
        if len(tokens) == 1:
            yield tokens[0]
