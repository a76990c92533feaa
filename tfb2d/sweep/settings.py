"""The settings of a variant of the student; the teachers and their logits stay as they are."""

from dataclasses import dataclass
from typing import Any

from tfb2d.config import Config, DistillConfig, StudentConfig, TrainingConfig
from tfb2d.config.mapping import changed_settings

ALL = -1


@dataclass(frozen=True)
class Settings:
    """Holds what a variant's outcome depends on, besides the run's rows and logits, and the seed."""

    distill: DistillConfig
    student: StudentConfig
    training: TrainingConfig
    teachers: tuple[str, ...]  # names of the teachers whose logits are stacked
    # "soft" (probabilities), "decisions" (the teachers' hard decisions) or "labels" (labelled rows alone)
    targets: str = "soft"
    rows: int = ALL  # transfer rows beyond the labelled ones; ALL takes all
    augmented: bool = True  # whether augmented rows are among them
    vocabulary: int = 0  # size of a vocabulary of n-grams that replaces hashing; 0 hashes

    def to_json(self) -> dict[str, Any]:
        """Returns the settings that differ from the defaults, without the seed, for a fingerprint."""
        changed = changed_settings(self)
        changed.get("training", {}).pop("seed", None)
        return changed


@dataclass(frozen=True)
class Variant:
    """Names settings by the value tried, as people read it, and as a number if it is one; `base` marks the recipe's own."""

    name: str
    settings: Settings
    number: float | None = None
    base: bool = False


@dataclass(frozen=True)
class Axis:
    """Holds a property of the student and the variants that differ in it."""

    name: str
    title: str
    variants: tuple[Variant, ...]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Describes a run."""

    labelled: int  # rows of the transfer set with a label
    unlabelled: int  # rows of it without a label that are not augmented
    augmented: int  # augmented rows
    words: bool  # whether the run has a teacher's word vectors
    pairs: bool  # whether the task has two fields

    def rows(self, settings: Settings) -> int:
        """Returns the number of rows that a variant of these settings learns from."""
        pool = self.unlabelled + (self.augmented if settings.augmented else 0)
        drawn = 0 if settings.targets == "labels" else pool if settings.rows == ALL else min(settings.rows, pool)
        return self.labelled + drawn


def base(config: Config) -> Settings:
    """Returns the recipe's own settings."""
    return Settings(config.distill, config.student, config.training, tuple(config.teachers))
