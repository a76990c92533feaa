"""The stages `rows`, `student` and `labels_only`: hash the texts once, and train on the hashes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfb2d.atomic import fingerprint_files
from tfb2d.config import CLUSTERS, Config
from tfb2d.data.task import Task
from tfb2d.outcomes import RowsOutcome, Stack, StudentOutcome
from tfb2d.runs import Run
from tfb2d.students.text_spec import SPEC

ROWS_VERSION = 1  # of the code: raise it when the same texts give other hashed rows
TRAIN_VERSION = 3  # raise it when the same rows and settings give another student
HASH_SPEC = f"hash spec {SPEC['version']}"
HASHED = ("transfer", "train", "valid", "test")


def hash_splits(run: Run, config: Config) -> RowsOutcome:
    """Hashes the texts of all splits into `rows/`.

    The engine that labels (`label.engine`) hashes, too. The folder weighs 8 bytes a token and 8 bytes a row and field. It
    may be deleted by hand: the next `tfb2d train` makes it again, and keeps the students that were trained on it.

    With `student.spelling` the words of the transfer set become the dictionary, by which queries of the validation and test
    splits are read as they will be served. What students learn from is hashed as it is typed.
    """
    from tfb2d.students.hashing import hash_table
    from tfb2d.students.spelling import learn

    student, task = config.student, Task.from_config(config.data)
    rows = {}
    for split in HASHED:
        hashed = hash_table(
            run.split(split),
            task.fields,
            run.rows(split),
            student.max_tokens,
            student.affixes,
            config.label,
            run.progress,
            run.spelling if student.spelling and split in ("valid", "test") else None,
        )
        rows[split] = hashed.n
        if student.spelling and split == "transfer":
            learn(hashed).save(run.spelling)
    files = [path for split in HASHED for path in run.rows(split).iterdir()]
    return RowsOutcome(rows, round(sum(path.stat().st_size for path in files) / 1e6, 2))


def hashed_contents(folder: Path, outcome: RowsOutcome) -> dict[str, str]:
    """Returns a digest of the hashed rows of the labelled splits: "labelled"."""
    files = [path for split in ("train", "valid", "test") for path in sorted((folder / split).iterdir())]
    return {"labelled": fingerprint_files(files)}


def train(run: Run, config: Config) -> StudentOutcome:
    """Trains the student on the teachers' stacked logits, with `training.strategy` together with other processes."""
    if config.training.strategy in CLUSTERS:
        from tfb2d.students.member import train_as_chief

        return train_as_chief(run, config)
    if config.training.strategy == "ray":
        from tfb2d.students.member import train_on_workers

        return train_on_workers(run, config)
    from tfb2d.students.fit import train_student

    return train_student(run, config)


def train_along(run: Run, config: Config) -> None:
    """Trains the student as a member of a cluster that is not the chief; see `tfb2d/students/member.py`."""
    from tfb2d.students.member import train_as_member

    train_as_member(run, config)


def start_server() -> Any:
    """Starts the TensorFlow server of a parameter server or of its worker, as TF_CONFIG says; the chief directs it."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster, kind, index = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    return tf.distribute.Server(cluster, job_name=kind, task_index=index, protocol="grpc")


def train_labels_only(run: Run, config: Config) -> StudentOutcome:
    """Trains the same student on labels alone, for comparison, and keeps its logits of the validation and test splits."""
    from tfb2d.students.fit import train_on_labels

    if config.training.strategy in (*CLUSTERS, "ray"):  # labelled rows are few: this process trains on them alone
        config = replace(config, training=replace(config.training, strategy=""))
    return train_on_labels(run, config)


def learnt_stack(run: Run) -> Stack:
    """Returns how the student's teachers were stacked; raises RunError where the student is not finished."""
    stack = run.student_outcome().stack
    assert stack is not None  # only a student that learns from labels alone has none
    return stack


def word_teacher(config: Config) -> str | None:
    """Returns the teacher whose word vectors the student starts from: the first that is a model; None where none is."""
    models = [name for name, teacher in config.teachers.items() if teacher.preset]
    return models[0] if models and config.student.teacher_init else None
