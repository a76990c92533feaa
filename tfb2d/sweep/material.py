"""What all variants learn from: a finished run's rows, hashed once, and its teachers' logits."""

import numpy as np

from tfb2d.config import Config
from tfb2d.data.errors import DataError
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.distill.stack import Stack, fit_stack, one_hot, probabilities
from tfb2d.distill.targets import mixed, read_logits
from tfb2d.runs import SPLITS, Run
from tfb2d.students.rows import HashedRows, TrainingRows, with_targets
from tfb2d.sweep.settings import ALL, Facts, Settings

POOL_SEED = 0  # of the order in which transfer rows are drawn: the same for all variants and seeds


class Material:
    """A finished run, as a sweep reads it.

    Token hashes do not depend on n-gram orders or buckets, so the run's hashed rows do for all variants. They are made with
    the affixes of the run's own student, as its word vectors are; variants may leave these out.

    Args:
      run: the run folder.
      config: the recipe; its data and teachers are the run's.

    Attributes:
      identities: what stands for the run's stages in the fingerprints of variants.
      labels: of "transfer", "valid" and "test", `[n]`, NaN where there is none.
      logits: of the same, by teacher, `[n, k]`.
      rows: of the same, hashed.
      facts: what the run has.

    Raises:
      RunError: the run is not finished.
    """

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        self.task = Task.from_config(config.data)
        data = run.data_outcome()
        needed = ["data", "rows", *(f"logits/{name}" for name in config.teachers)]
        self.identities = {name: run.finished_record(name).identity() for name in needed}
        has_words = run.finished("words")
        if has_words:
            self.identities["words"] = run.finished_record("words").identity()
        self.facts = Facts(
            data.labelled,
            data.unlabelled,
            data.augmented,
            has_words and any(teacher.preset for teacher in config.teachers.values()),
            len(self.task.fields) == 2,
        )
        self.affixes = run.config().student.affixes

    def load(self) -> None:
        """Reads labels, logits and hashed rows."""
        self.labels = {
            split: read_table(self.run.split(split), ["label"])["label"].to_numpy().astype(np.float64)
            for split in SPLITS
        }
        labelled = np.isfinite(self.labels["transfer"])
        if not labelled[: self.facts.labelled].all() or labelled[self.facts.labelled :].any():
            raise DataError(
                f"{self.run.data}: the labelled rows are not the first of transfer/; was it written by this version?"
            )
        self.logits = {
            split: {name: read_logits(self.run.logits(name, split), self.task) for name in self.config.teachers}
            for split in SPLITS
        }
        self.rows = {split: HashedRows(self.run.rows(split)) for split in SPLITS}

    def groups(self, split: str) -> list[str] | None:
        """Returns what the bootstrap draws whole: the split's groups, or a pair's query."""
        table = read_table(self.run.split(split))
        if "group" in table.column_names:
            return table.column("group").to_pylist()
        return table.column(self.task.fields[0]).to_pylist() if self.facts.pairs else None

    def stack(self, settings: Settings) -> Stack:
        """Returns the teachers' stack, fitted on validation."""
        valid = np.stack([self.logits["valid"][name] for name in settings.teachers], 1)
        return fit_stack(settings.distill, valid, self.labels["valid"])

    def teacher(self, settings: Settings, split: str) -> np.ndarray:
        """Returns stacked logits `[n, k]` of a split."""
        return self.stack(settings)(np.stack([self.logits[split][name] for name in settings.teachers], 1))

    def chosen(self, settings: Settings) -> np.ndarray:
        """Returns the numbers of the transfer rows that a variant may learn from: the labelled ones, and those it drew."""
        facts = self.facts
        labelled = np.arange(facts.labelled)
        if settings.targets == "labels":
            return labelled
        pool = facts.labelled + np.arange(facts.unlabelled + (facts.augmented if settings.augmented else 0))
        if settings.rows != ALL:
            pool = np.sort(np.random.default_rng(POOL_SEED).permutation(pool)[: settings.rows])
        return np.concatenate([labelled, pool])

    def learn_from(self, settings: Settings) -> TrainingRows:
        """Returns a variant's rows and targets.

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
        return with_targets(self.rows["transfer"], targets, index)

    def watch(self, split: str) -> TrainingRows:
        """Returns a held-out split, with its labels as targets."""
        return TrainingRows(self.rows[split], one_hot(self.labels[split], self.task.n_logits))

    def words(self, settings: Settings) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns hashes and vectors that the student starts from, if it does.

        Raises:
          DataError: it should, and the run has none.
        """
        has_model = any(teacher.preset for teacher in self.config.teachers.values())
        if not (settings.student.teacher_init and has_model):
            return None
        if not self.facts.words:
            raise DataError(
                f"{self.run.folder}: no word vectors; bring the run up to date, or --config.student.teacher_init=False"
            )
        from safetensors.numpy import load_file

        vectors = load_file(self.run.words)
        return vectors["hashes"], vectors["vectors"]
