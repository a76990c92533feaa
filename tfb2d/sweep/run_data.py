"""The data that all variants learn from: a finished run's hashed rows and its teachers' logits."""

import numpy as np

from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.distill.stack import fit_stack, one_hot, probabilities
from tfb2d.distill.targets import mixed, read_logits
from tfb2d.errors import DataError
from tfb2d.evaluation.headline import Headline, groups_of, headline_on
from tfb2d.outcomes import Stack
from tfb2d.runs import SPLITS, Run
from tfb2d.students.rows import HashedRows, TrainingRows, with_targets
from tfb2d.sweep.settings import ALL, Facts, Settings

POOL_SEED = 0  # of the order in which transfer rows are drawn, the same for all variants and seeds


class RunData:
    """Reads a finished run for a sweep, by a recipe whose data and teachers are the run's.

    Token hashes do not depend on n-gram orders or buckets, so all variants share the run's hashed rows. These rows and the
    word vectors have the affixes of the run's own student. Variants may leave the affixes out.

    Attributes:
      identities: stage name -> identity of its outcome, for the fingerprints of variants.
      labels: split -> `[n]` float64, NaN where a row has no label; of "transfer", "valid" and "test".
      logits: split -> teacher -> `[n, k]`.
      rows: split -> hashed rows.
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
        """Returns the group of each row, `[n]`; the bootstrap draws groups whole."""
        return groups_of(read_table(self.run.split(split)), self.task)

    @property
    def headline(self) -> Headline:
        """Returns the run's headline measure, by which variants are chosen."""
        return headline_on(self.task, read_table(self.run.split("valid")), self.config.report.headline)

    def stack(self, settings: Settings) -> Stack:
        """Returns the teachers' stack, fitted on validation."""
        valid = np.stack([self.logits["valid"][name] for name in settings.teachers], 1)
        return fit_stack(settings.distill, valid, self.labels["valid"])

    def teacher(self, settings: Settings, split: str) -> np.ndarray:
        """Returns stacked logits `[n, k]` of a split."""
        return self.stack(settings)(np.stack([self.logits[split][name] for name in settings.teachers], 1))

    def chosen(self, settings: Settings) -> np.ndarray:
        """Returns the indices of the transfer rows that a variant may learn from: the labelled and the drawn ones."""
        facts = self.facts
        labelled = np.arange(facts.labelled)
        if settings.targets == "labels":
            return labelled
        pool = facts.labelled + np.arange(facts.unlabelled + (facts.augmented if settings.augmented else 0))
        if settings.rows != ALL:
            pool = np.sort(np.random.default_rng(POOL_SEED).permutation(pool)[: settings.rows])
        return np.concatenate([labelled, pool])

    def learn_from(self, settings: Settings) -> TrainingRows:
        """Returns a variant's rows and targets; raises DataError where no row has a target."""
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
        """Returns the word hashes and vectors that the student starts from; None where it starts at random."""
        has_model = any(teacher.preset for teacher in self.config.teachers.values())
        if not (settings.student.teacher_init and has_model):
            return None
        if not self.facts.words:
            hint = "bring the run up to date, or --config.student.teacher_init=False"
            raise DataError(f"{self.run.folder}: no word vectors; {hint}")
        from safetensors.numpy import load_file

        vectors = load_file(self.run.words)
        return vectors["hashes"], vectors["vectors"]
