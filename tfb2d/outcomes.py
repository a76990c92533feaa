"""Outcomes of a run's stages: frozen dataclasses, kept as JSON in the stages' folders.

What they hold of a model, and other rooms compute with, is here too: `Stack` and `Calibration`.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Figures = Mapping[str, float]
OutcomeT = TypeVar("OutcomeT", bound="Outcome")


@dataclass(frozen=True)
class Outcome:
    """The base of all outcomes."""

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome in JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls: type[OutcomeT], value: Mapping[str, Any]) -> OutcomeT:
        """Reads what `to_json` returned; ignores fields that a later version added."""
        return typing.cast(OutcomeT, _dataclass(cls, value))

    def is_intact(self) -> bool:
        """Says whether the stage's files outside of its folder are still there."""
        return True


@dataclass(frozen=True)
class Stack:
    """Adds the teachers' logits up: a weighted sum, plus a bias per class; `distill.stack.fit_stack` learns it.

    Attributes:
      weights: a weight per teacher.
      bias: `k` numbers.
    """

    weights: tuple[float, ...]
    bias: tuple[float, ...]

    def __call__(self, logits: "np.ndarray") -> "np.ndarray":
        """Stacks `[n, teachers, k]` float logits into `[n, k]` float32.

        Where a teacher has no logit for a row (NaN), the weights of the others are scaled up. A row that no teacher scored
        stays NaN.
        """
        import numpy as np  # here, so that commands that compute nothing start without it

        weights = np.asarray(self.weights)[None, :, None]
        known = np.isfinite(logits)
        share = (weights * known).sum(1) / weights.sum()
        total = (weights * np.where(known, logits, 0)).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            stacked = np.where(share > 0, total / share, np.nan) + np.asarray(self.bias)
        return stacked.astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """Turns logits into probabilities: sigmoid or softmax of `scale * logit + bias`, which an export puts into its graph.

    `evaluation.calibration.calibrate` learns it.

    Attributes:
      scale: above 0.
      bias: one number, or one for each class.
      note: the reason where nothing was learnt.
    """

    scale: float = 1.0
    bias: tuple[float, ...] = (0.0,)
    note: str = ""

    def apply(self, logits: "ArrayLike") -> "NDArray[np.float64]":
        """Returns probabilities, `[n]` or `[n, k]`, of logits of the same shape."""
        import numpy as np
        from scipy.special import expit, softmax

        bias = np.asarray(self.bias) if len(self.bias) > 1 else self.bias[0]
        values = self.scale * np.asarray(logits, np.float64) + bias
        return np.asarray(expit(values) if values.ndim == 1 else softmax(values, axis=1))


@dataclass(frozen=True)
class DecisionNumbers:
    """Says from which calibrated score on a binary model answers "yes", chosen for the highest F1 on validation.

    F1, precision and recall are those on the `rows` of the validation split.
    """

    threshold: float
    f1: float
    precision: float
    recall: float
    rows: int


@dataclass(frozen=True)
class DataOutcome(Outcome):
    """Rows of the splits and of the transfer set.

    Attributes:
      unlabelled, augmented: transfer rows of these kinds; the others have labels and are the first.
      details: the other counts of `data/stats.json`.
    """

    train: int
    valid: int
    test: int
    transfer: int
    unlabelled: int
    augmented: int
    rejected: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any]) -> "DataOutcome":
        """Returns the outcome that `data/stats.json` describes."""
        names = [item.name for item in dataclasses.fields(cls) if item.name != "details"]
        details = {name: value for name, value in stats.items() if name not in names}
        return cls(**{name: int(stats[name]) for name in names}, details=details)

    @property
    def labelled(self) -> int:
        """Returns how many transfer rows have a label; they are the first."""
        return self.transfer - self.unlabelled - self.augmented


@dataclass(frozen=True)
class AdaptOutcome(Outcome):
    """An adapted encoder.

    Attributes:
      steps, rows, seconds: of training.
      weights: a digest of the encoder's weights.
      history: an evaluation per entry, the first before any step.
    """

    steps: int
    rows: int
    seconds: float
    weights: str
    history: tuple[Figures, ...]


@dataclass(frozen=True)
class TeacherOutcome(Outcome):
    """A fine-tuned teacher.

    Attributes:
      steps, rows, valid_rows, seconds: of training.
      best: the evaluation whose weights were kept; None where the last weights are the outcome.
      history: an evaluation per entry.
    """

    steps: int = 0
    rows: int = 0
    valid_rows: int = 0
    seconds: float = 0.0
    best: Figures | None = None
    history: tuple[Figures, ...] = ()


@dataclass(frozen=True)
class LogitsOutcome(Outcome):
    """A teacher's logits of "transfer", "valid" and "test".

    Attributes:
      rows: rows with a logit, by split.
      missing: rows without a logit, by split: scores from outside left them out, or the teacher gave no finite number.
      unused: scored texts that the split does not hold, by split.
    """

    rows: Mapping[str, int]
    missing: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WordsOutcome(Outcome):
    """The teacher's word vectors, and how many words there are."""

    words: int


@dataclass(frozen=True)
class RowsOutcome(Outcome):
    """Hashed rows by split, and their size on disk in 10^6 bytes."""

    rows: Mapping[str, int]
    megabytes: float


@dataclass(frozen=True)
class StudentOutcome(Outcome):
    """A trained student.

    Attributes:
      rows: rows that it learnt from.
      calibration: from its logits to probabilities, learnt on the validation split.
      history: figures of each epoch.
      stack: how the teachers' logits were added up; None if it learnt from labels alone.
      decision: of a binary task; None of others.
    """

    rows: int
    calibration: Calibration
    history: tuple[Figures, ...]
    stack: Stack | None = None
    decision: DecisionNumbers | None = None


@dataclass(frozen=True)
class TwinOutcome(Outcome):
    """A trained twin.

    Attributes:
      rows: pairs that it learnt from.
      steps, seconds: of training.
      calibration: from its logits to probabilities, learnt on the validation split.
      history: figures of each epoch: `epoch`, `train_loss`, `valid_loss`, and the headline measure, such as
        `valid_roc_auc`.
      stack: how the teachers' logits were added up.
      decision: of a binary task; None of others.
    """

    rows: int
    steps: int
    seconds: float
    calibration: Calibration
    history: tuple[Figures, ...]
    stack: Stack
    decision: DecisionNumbers | None = None


@dataclass(frozen=True)
class CompressOutcome(Outcome):
    """The student that is served.

    Attributes:
      calibration: of the compressed student.
      megabytes: 10^6 bytes of weights, by form: "float" and "served".
      figures: accuracy, ROC-AUC and log loss, by form, split and metric.
      rows: for each table its buckets, the rows that are stored, and whether ids are mapped to them.
      decision: of a binary task; None of others.
    """

    calibration: Calibration
    megabytes: Mapping[str, float]
    figures: Mapping[str, Any]
    rows: Mapping[str, Any]
    decision: DecisionNumbers | None = None


@dataclass(frozen=True)
class ExportOutcome(Outcome):
    """The exported model's version folder, and its size in 10^6 bytes."""

    model: str
    megabytes: float

    def is_intact(self) -> bool:
        """Says whether the model is still there."""
        return Path(self.model).exists()


@dataclass(frozen=True)
class ReportOutcome(Outcome):
    """The report: its table as text, the page, and the exported model that it is about."""

    table: str
    report: str
    model: str


def _dataclass(cls: Any, value: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(cls)
    return cls(**{name: _value(hint, value[name]) for name, hint in hints.items() if name in value})


def _value(hint: Any, value: Any) -> Any:
    """Returns a JSON value as the field's type has it: nested dataclasses, and tuples for lists."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(options[0], item) for item in value)
    if value is not None and (kind := next(filter(dataclasses.is_dataclass, (hint, *options)), None)):
        return _dataclass(kind, value)
    return value
