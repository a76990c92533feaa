"""What all variants learn from: a finished run's rows, hashed once, and its teachers' logits."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.config import Config
from tfb2d.data.errors import DataError
from tfb2d.data.files import read_json
from tfb2d.data.tables import count_rows, iter_batches, read_table
from tfb2d.data.task import Task
from tfb2d.distill.stack import Stack, fit_stack, one_hot, probabilities
from tfb2d.distill.targets import mixed, read_logits, texts
from tfb2d.stages import outcome_identity
from tfb2d.students.rows import HashedRows, hash_rows
from tfb2d.students.text_spec import SPEC
from tfb2d.sweep.settings import ALL, Facts, Settings
from tfb2d.word_vectors import FILE

POOL_SEED = 0  # of the order in which transfer rows are drawn: the same for all variants and seeds


class Selected(HashedRows):
    """Some of the hashed rows, with targets of their own.

    Args:
      rows: the whole cache.
      index: rising row numbers.
      targets: `[len(index), k]` float32.
    """

    def __init__(self, rows: HashedRows, index: np.ndarray, targets: np.ndarray) -> None:
        self.whole, self.index = rows, index
        self.folder, self.fields = rows.folder, rows.fields
        self.n, self.targets = len(index), np.ascontiguousarray(targets, np.float32)

    def batch(self, index: np.ndarray) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        """See HashedRows."""
        return self.whole.batch(self.index[index])[0], tf.constant(self.targets[index])


class Material:
    """A finished run, as a sweep reads it.

    Token hashes do not depend on n-gram orders or buckets, so one cache, in `cache`, does for all variants. They are made
    with the affixes of the run's own student, as its word vectors are; variants may leave these out.

    Args:
      run: the run folder.
      config: the recipe; its data and teachers are the run's.
      cache: where hashed rows are kept.
      progress: whether to show progress bars.

    Attributes:
      labels: of "transfer", "valid" and "test", `[n]`, NaN where there is none.
      logits: of the same, by teacher, `[n, k]`.
      facts: what the run has.

    Raises:
      DataError: the run is not finished.
    """

    def __init__(self, run: Path, config: Config, cache: Path, progress: bool = True) -> None:
        self.run, self.config = run, config
        self.task = Task.from_config(config.data)
        for name in ("data", *(f"logits/{name}" for name in config.teachers)):
            if not (run / name / "stage.json").exists():
                raise DataError(f"{run}: stage {name} is not finished; python -m tfb2d.train finishes it")
        self.prints = {
            name: outcome_identity(read_json(run / name / "stage.json"))
            for name in ("data", "words", *(f"logits/{name}" for name in config.teachers))
            if (run / name / "stage.json").exists()
        }
        stats = read_json(run / "data/stats.json")
        self.facts = Facts(
            stats["transfer"] - stats["unlabelled"] - stats["augmented"],
            stats["unlabelled"],
            stats["augmented"],
            (run / "words" / FILE).exists() and any(teacher.preset for teacher in config.teachers.values()),
            len(self.task.fields) == 2,
        )
        self.affixes = Config.from_dict(read_json(run / "config.json")).student.affixes
        self.cache, self.progress = cache, progress

    def load(self) -> None:
        """Reads labels and logits, and hashes the texts unless that was done."""
        splits = ("transfer", "valid", "test")
        data = self.run / "data"
        self.labels = {s: read_table(data / s, ["label"])["label"].to_numpy().astype(np.float64) for s in splits}
        judged = np.isfinite(self.labels["transfer"])
        if not judged[: self.facts.judged].all() or judged[self.facts.judged :].any():
            raise DataError(f"{data}: the judged rows are not the first of transfer/; was it written by this version?")
        self.logits = {
            split: {
                name: read_logits(self.run / "logits" / name / (split if split != "transfer" else ""), self.task)
                for name in self.config.teachers
            }
            for split in splits
        }
        hashing = (self.config.student.max_tokens, SPEC["version"], *self.affixes)
        key = "-".join(map(str, (self.prints["data"][:12], *hashing)))
        for old in self.cache.glob("*"):
            if old.name != key and (old / "transfer").is_dir():  # of other rows, and nothing else that lies there
                shutil.rmtree(old)
        self.rows = {split: self._hashed(split, self.cache / key / split) for split in splits}

    def _hashed(self, split: str, out: Path) -> HashedRows:
        width = self.task.n_logits
        source = (
            (texts(batch, self.task), np.zeros((batch.num_rows, width), np.float32))
            for batch in iter_batches(self.run / "data" / split, self.task.fields)
        )
        total = count_rows(self.run / "data" / split)
        return hash_rows(source, out, self.config.student.max_tokens, total, self.progress, self.affixes)

    def groups(self, split: str) -> list[str] | None:
        """What the bootstrap draws whole: the split's groups, or a pair's query."""
        folder = self.run / "data" / split
        table = read_table(folder)
        if "group" in table.column_names:
            return table.column("group").to_pylist()
        return table.column(self.task.fields[0]).to_pylist() if self.facts.pairs else None

    def stack(self, settings: Settings) -> Stack:
        """The teachers' stack, fitted on validation."""
        valid = np.stack([self.logits["valid"][name] for name in settings.teachers], 1)
        return fit_stack(settings.distill, valid, self.labels["valid"])

    def teacher(self, settings: Settings, split: str) -> np.ndarray:
        """Stacked logits `[n, k]` of a split."""
        return self.stack(settings)(np.stack([self.logits[split][name] for name in settings.teachers], 1))

    def chosen(self, settings: Settings) -> np.ndarray:
        """The numbers of the transfer rows that a variant may learn from: the judged ones, and those it drew."""
        facts = self.facts
        judged = np.arange(facts.judged)
        if settings.targets == "labels":
            return judged
        pool = facts.judged + np.arange(facts.unlabelled + (facts.augmented if settings.augmented else 0))
        if settings.rows != ALL:
            pool = np.sort(np.random.default_rng(POOL_SEED).permutation(pool)[: settings.rows])
        return np.concatenate([judged, pool])

    def learn_from(self, settings: Settings) -> Selected:
        """A variant's rows and targets.

        Raises:
          DataError: no row has a target.
        """
        index, labels, k = self.chosen(settings), self.labels["transfer"], self.task.n_logits
        if settings.targets == "labels":
            targets = one_hot(labels[index], k)
        else:
            logits = self.teacher(settings, "transfer")[index]
            targets = probabilities(logits, settings.distill.temperature)
            if settings.targets == "decisions":
                hard = (logits > 0) if k == 1 else np.eye(k)[np.nan_to_num(logits).argmax(1)]
                targets = np.where(np.isfinite(logits), hard, np.nan).astype(np.float32)
            targets = mixed(targets, labels[index], settings.distill.hard_weight)
        known = np.isfinite(targets).all(1)
        if not known.any():
            raise DataError(f"{self.run}: no transfer row has a teacher's logit or a label")
        return Selected(self.rows["transfer"], index[known], targets[known])

    def watch(self, split: str) -> Selected:
        """A held-out split, with its labels as targets."""
        rows = self.rows[split]
        return Selected(rows, np.arange(rows.n), one_hot(self.labels[split], self.task.n_logits))

    def words(self, settings: Settings) -> tuple[np.ndarray, np.ndarray] | None:
        """Hashes and vectors that the student starts from, if it does.

        Raises:
          DataError: it should, and the run has none.
        """
        tutored = settings.student.teacher_init and any(one.preset for one in self.config.teachers.values())
        if not tutored:
            return None
        if not self.facts.words:
            raise DataError(
                f"{self.run}: no words/{FILE}; bring the run up to date, or --config.student.teacher_init=False"
            )
        from safetensors.numpy import load_file

        found: dict[str, Any] = load_file(self.run / "words" / FILE)
        return found["hashes"], found["vectors"]
