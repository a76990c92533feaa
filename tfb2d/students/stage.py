"""The stages `rows`, `student` and `labels_only`: hash the texts once, and train on the hashes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.atomic import fingerprint_files
from tfb2d.config import CLUSTERS, Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.distill.targets import fit, hard_targets, soft_targets
from tfb2d.outcomes import RowsOutcome, Stack, StudentOutcome
from tfb2d.runs import Run
from tfb2d.students.text_spec import SPEC

if TYPE_CHECKING:
    from tfb2d.students.rows import TrainingRows

ROWS_VERSION = 1  # of the code: raise it when the same texts give other hashed rows
TRAIN_VERSION = 3  # raise it when the same rows and settings give another student
HASH_SPEC = f"hash spec {SPEC['version']}"
HASHED = ("transfer", "train", "valid", "test")


def hash_splits(run: Run, config: Config) -> RowsOutcome:
    """Hashes the texts of all splits into `rows/`.

    The engine that labels (`label.engine`) hashes, too. The folder weighs 8 bytes a token and 8 bytes a row and field. It
    may be deleted by hand: the next `tfb2d train` makes it again, and keeps the students that were trained on it.
    """
    from tfb2d.students.shard_hasher import hash_table

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
        )
        rows[split] = hashed.n
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

        return train_on_workers(run, config, train_here)
    return train_here(run, config)


def train_along(run: Run, config: Config) -> None:
    """Trains the student as a member of a cluster that is not the chief; see `tfb2d/students/member.py`."""
    from tfb2d.students.member import train_as_member

    train_as_member(run, config, train_here)


def start_server() -> Any:
    """Starts the TensorFlow server of a parameter server or of its worker, as TF_CONFIG says; the chief directs it."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster, kind, index = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    return tf.distribute.Server(cluster, job_name=kind, task_index=index, protocol="grpc")


def train_here(run: Run, config: Config) -> StudentOutcome:
    """Trains the student in this process. Where several processes do, the chief alone writes."""
    tables = [run.logits(name, "valid") for name in config.teachers]
    labels = read_table(run.split("valid"), ["label"]).column("label").to_numpy().astype(np.float64)
    stack = fit(config.distill, tables, Task.from_config(config.data), labels)
    rows = soft_training_rows(run, config, stack)
    return _train(run, config, rows, run.student, stack)


def train_labels_only(run: Run, config: Config) -> StudentOutcome:
    """Trains the same student on labels alone, for comparison, and keeps its logits of the validation and test splits."""
    if config.training.strategy in (*CLUSTERS, "ray"):  # labelled rows are few: this process trains on them alone
        config = replace(config, training=replace(config.training, strategy=""))
    return _train(run, config, labelled_rows(run, config, "train"), run.labels_only, None)


def soft_training_rows(run: Run, config: Config, stack: Stack) -> "TrainingRows":
    """Returns the hashed transfer rows with the targets that the student learns.

    Raises:
      DataError: no row has a teacher's logit or a label.
    """
    from tfb2d.students.rows import HashedRows, with_targets

    tables = [run.logits(name) for name in config.teachers]
    targets = soft_targets(run.split("transfer"), tables, Task.from_config(config.data), stack, config.distill)
    return with_targets(HashedRows(run.rows("transfer")), targets)


def labelled_rows(run: Run, config: Config, split: str) -> "TrainingRows":
    """Returns a split's hashed rows with their labels as targets.

    Raises:
      DataError: no row has a label.
    """
    from tfb2d.students.rows import HashedRows, with_targets

    targets = hard_targets(run.split(split), Task.from_config(config.data))
    return with_targets(HashedRows(run.rows(split)), targets)


def learnt_stack(run: Run) -> Stack:
    """Returns how the finished student's teachers were stacked.

    Raises:
      RunError: the student is not finished.
    """
    stack = run.student_outcome().stack
    assert stack is not None  # only a student that learns from labels alone has none
    return stack


def _train(run: Run, config: Config, rows: "TrainingRows", folder: Path, stack: Stack | None) -> StudentOutcome:
    from safetensors.numpy import load_file, save_file

    from tfb2d.atomic import atomic_path
    from tfb2d.evaluation.headline import headline_on
    from tfb2d.students.fit import fit_student
    from tfb2d.students.model import Student

    task = Task.from_config(config.data)
    student = Student(task, config.student, config.training.seed)
    words = None
    if stack is not None and word_teacher(config) is not None:
        vectors = load_file(run.words)
        words = vectors["hashes"], vectors["vectors"]
    valid = labelled_rows(run, config, "valid")
    headline = headline_on(task, read_table(run.split("valid")), config.report.headline)
    fitted = fit_student(student, rows, valid, config.training, folder, words, run.progress, headline=headline)
    if fitted.is_chief:
        student.save(folder)
    if stack is None:
        with atomic_path(run.labels_only_logits) as path:
            logits = {"valid": fitted.logits(valid), "test": fitted.logits(labelled_rows(run, config, "test"))}
            save_file(logits, path)
    return StudentOutcome(rows.n, fitted.calibration, tuple(fitted.history), stack, fitted.decision)


def word_teacher(config: Config) -> str | None:
    """Returns the teacher whose word vectors the student starts from: the first that is a model; None where none is."""
    models = [name for name, teacher in config.teachers.items() if teacher.preset]
    return models[0] if models and config.student.teacher_init else None
