"""A variant of the student: what its outcome depends on. The teachers and their logits stay as they are."""

from dataclasses import dataclass
from typing import Any

from tfb2d.config import Config, DistillConfig, StudentConfig, TrainingConfig
from tfb2d.settings import changed_settings

ALL = -1


@dataclass(frozen=True)
class Settings:
    """All that a variant's outcome depends on, besides the run's rows and logits, and the seed.

    Attributes:
      teachers: names of those whose logits are stacked.
      targets: "soft" probabilities; "decisions", the teachers' hard ones; or "labels" alone, on the labelled rows.
      rows: transfer rows beyond the labelled ones; ALL takes all.
      augmented: whether augmented rows are among them.
      vocabulary: n-grams of a vocabulary that takes hashing's place; 0 hashes.
    """

    distill: DistillConfig
    student: StudentConfig
    training: TrainingConfig
    teachers: tuple[str, ...]
    targets: str = "soft"
    rows: int = ALL
    augmented: bool = True
    vocabulary: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns what a fingerprint is made of: what differs from the defaults, without the seed."""
        changed = changed_settings(self)
        changed.get("training", {}).pop("seed", None)
        return changed


@dataclass(frozen=True)
class Variant:
    """Settings under a name.

    Attributes:
      name: of the value tried.
      number: the value, where it is one.
      base: whether these are the recipe's own settings.
    """

    name: str
    settings: Settings
    number: float | None = None
    base: bool = False


@dataclass(frozen=True)
class Axis:
    """One question, and the variants that answer it."""

    name: str
    title: str
    variants: tuple[Variant, ...]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What the run has.

    Attributes:
      labelled: rows of the transfer set with a label.
      unlabelled: others that are no augmentations.
      augmented: augmentations.
      words: whether there are a teacher's word vectors to start from.
      pairs: whether the task has two fields.
    """

    labelled: int
    unlabelled: int
    augmented: int
    words: bool
    pairs: bool


def base(config: Config) -> Settings:
    """The recipe's own settings."""
    return Settings(config.distill, config.student, config.training, tuple(config.teachers))
