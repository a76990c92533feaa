"""Outcomes of a run's stages: frozen dataclasses, kept as JSON in the stages' folders.

`Stack` and `Calibration` are here too: several packages compute with them.
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
    """Adds the teachers' logits up: a weighted sum, plus a bias per class; `distill.stack.fit_stack` learns it."""

    weights: tuple[float, ...]  # a weight per teacher
    bias: tuple[float, ...]  # a number per class

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
    """

    scale: float = 1.0  # above 0
    bias: tuple[float, ...] = (0.0,)  # one number, or one for each class
    note: str = ""  # the reason where nothing was learnt

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
    """Rows of the splits and of the transfer set."""

    train: int
    valid: int
    test: int
    transfer: int
    unlabelled: int  # of the transfer set; its labelled rows are the first
    augmented: int  # of the transfer set
    rejected: int
    details: Mapping[str, Any] = field(default_factory=dict)  # the other counts of `data/stats.json`

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
    """An adapted encoder; `steps`, `rows` and `seconds` are those of training."""

    steps: int
    rows: int
    seconds: float
    weights: str  # a digest of the encoder's weights
    history: tuple[Figures, ...]  # an evaluation per entry, the first before any step


@dataclass(frozen=True)
class TeacherOutcome(Outcome):
    """A fine-tuned teacher; `steps`, `rows`, `valid_rows` and `seconds` are those of training."""

    steps: int = 0
    rows: int = 0
    valid_rows: int = 0
    seconds: float = 0.0
    best: Figures | None = None  # the evaluation whose weights were kept; None where the last weights are the outcome
    history: tuple[Figures, ...] = ()  # an evaluation per entry


@dataclass(frozen=True)
class LogitsOutcome(Outcome):
    """A teacher's logits of "transfer", "valid" and "test": counts by split."""

    rows: Mapping[str, int]  # with a logit
    # Without one: scores from outside left them out, or the teacher gave no finite number.
    missing: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)  # scored texts that the split does not hold


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
    """A trained student."""

    rows: int  # that it learnt from
    calibration: Calibration  # from its logits to probabilities, learnt on the validation split
    history: tuple[Figures, ...]  # of each epoch
    stack: Stack | None = None  # how the teachers' logits were added up; None if it learnt from labels alone
    decision: DecisionNumbers | None = None  # of a binary task; None of others


@dataclass(frozen=True)
class TwinOutcome(Outcome):
    """A trained twin; `steps` and `seconds` are those of training, the others as of a student."""

    rows: int
    steps: int
    seconds: float
    calibration: Calibration
    history: tuple[Figures, ...]  # `epoch`, `train_loss`, `valid_loss`, and the headline, such as `valid_roc_auc`
    stack: Stack
    decision: DecisionNumbers | None = None


@dataclass(frozen=True)
class CompressOutcome(Outcome):
    """The student that is served."""

    calibration: Calibration  # of the compressed student
    megabytes: Mapping[str, float]  # 10^6 bytes of weights, by form: "float" and "served"
    figures: Mapping[str, Any]  # accuracy, ROC-AUC and log loss, by form, split and metric
    rows: Mapping[str, Any]  # for each table its buckets, the rows that are stored, and whether ids are mapped to them
    decision: DecisionNumbers | None = None  # of a binary task; None of others


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
