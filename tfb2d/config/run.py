"""Settings of a whole run: `Config` holds those of every stage, and checks what several of them must agree on."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from tfb2d.config.checks import require, require_one_of, require_positive
from tfb2d.config.data import DEGREES, NEGATIONS, DataConfig, check_frames
from tfb2d.config.label import LabelConfig
from tfb2d.config.mapping import build, config_dict
from tfb2d.config.student import CompressConfig, StudentConfig, TrainingConfig
from tfb2d.config.teacher import TeacherConfig
from tfb2d.config.twin import SCRATCH, TwinConfig


@dataclass(frozen=True)
class DistillConfig:
    """Says how the teachers' logits become the student's targets (BERT2DNN, arXiv 2010.10442, section 3.2)."""

    temperature: float = 1.0  # divides the teachers' logits only
    # "mean", "weighted", "logistic" (fitted on validation), or "last": the last teacher's, where it has scored the row
    stack: str = "mean"
    weights: tuple[float, ...] = ()  # for "weighted", in the teachers' order
    hard_weight: float = 0.0  # share of the hard-label loss on rows that have a label

    def __post_init__(self) -> None:
        require_positive(self, "distill", "temperature")
        require_one_of(self, "distill", "stack", ("mean", "weighted", "logistic", "last"))
        require((self.stack == "weighted") == bool(self.weights), "distill.weights goes with stack='weighted'")
        require(not self.weights or min(self.weights) > 0, f"distill.weights is {self.weights}; each must be above 0")
        require(0 <= self.hard_weight <= 1, f"distill.hard_weight is {self.hard_weight}; it is a share")


@dataclass(frozen=True)
class ExportConfig:
    """Says where the served model lands: `<folder>/<name>/<version>`."""

    folder: str = "saved_models"
    name: str = ""  # "" takes the recipe's name
    warmup_rows: int = 32
    edge: bool = True  # also the TensorFlow Lite form, int8, in the version's assets.extra/edge

    def __post_init__(self) -> None:
        require_positive(self, "export", "warmup_rows")


# Headline measures by kind of label; NDCG@10 and the share of pairs in order need groups, too.
HEADLINES = {
    "binary": ("accuracy", "roc_auc", "pr_auc", "f1", "ndcg10", "log_loss"),
    "graded": ("spearman", "pearson", "rmse", "ndcg10", "pair_order", "roc_auc", "pr_auc", "accuracy", "log_loss"),
    "multiclass": ("accuracy", "macro_f1", "roc_auc", "pr_auc", "log_loss"),
}


@dataclass(frozen=True)
class ReportConfig:
    """Says what the report holds."""

    # The measure of retention and gain, by which teachers, students and sweeps choose on validation, too: see HEADLINES.
    # "" takes the task's own: accuracy of balanced classes, macro F1 of several unbalanced ones, ROC-AUC of pairs and of
    # two unbalanced classes, Spearman's correlation of grades (`evaluation/headline.py`).
    headline: str = ""
    labels_only: bool = True  # also train the same student without a teacher, for comparison
    resamples: int = 1000  # bootstrap
    latency_rows: int = 200
    examples: int = 12  # most and least agreeing examples shown
    # Single texts with two classes: frequent words of the training text are scored plain and in these frames, such as
    # "good" and "not good", by teacher and student. () leaves that out, as does text without the frames' words.
    negations: tuple[str, ...] = NEGATIONS
    # The words are those that often follow one of these, as adjectives do; () takes all.
    degrees: tuple[str, ...] = DEGREES

    def __post_init__(self) -> None:
        require_positive(self, "report", "resamples", "latency_rows")
        check_frames("report.negations", self.negations)


@dataclass(frozen=True)
class Config:
    """A whole run. `teachers` maps names, which are also their folders', to settings, in the order of `distill.weights`."""

    name: str = "student"
    models: tuple[str, ...] = ("student",)  # what is made of the teachers' scores: "student", "twin" or both
    data: DataConfig = field(default_factory=DataConfig)
    teachers: Mapping[str, TeacherConfig] = field(default_factory=dict)
    label: LabelConfig = field(default_factory=LabelConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    compress: CompressConfig = field(default_factory=CompressConfig)
    twin: TwinConfig = field(default_factory=TwinConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        for name in ("valid", "test"):
            rows = getattr(self.data, name) or getattr(self.data, f"{name}_fraction") > 0
            require(bool(rows), f"data.{name}_fraction is 0 and data.{name} names no files; a run needs {name} rows")
        require(bool(self.teachers), "teachers is empty; a run needs at least one")
        single = len(self.data.fields) == 1
        require(single or not self.student.window, "student.window is for single texts; pairs compare their n-grams")
        require(
            not (single and self.student.spelling), "student.spelling corrects queries: it takes a query and a title"
        )
        for name in self.teachers:
            plain = name.replace("_", "").replace("-", "").isalnum()
            require(plain, f"teachers.{name}: a teacher's name is its folder's: letters, digits, '-' and '_'")
            taken = name in ("teacher", "student", "twin", "labels_only", "bm25", "constant")
            require(not taken, f"teachers.{name}: the report has something else under this name; choose another")
        for number, (name, teacher) in enumerate(self.teachers.items()):
            require(
                not teacher.doubtful or (number > 0 and self.data.kind != "graded"),
                f"teachers.{name}.doubtful takes the rows of which the teachers before it are least sure: it goes with "
                "classes, and not with the first teacher",
            )
        if chosen := self.report.headline:
            measures = HEADLINES[self.data.kind]
            message = f"report.headline is {chosen!r}; {self.data.kind} labels have {', '.join(measures)}"
            require(chosen in measures, message)
        grouped = chosen not in ("ndcg10", "pair_order") or self.data.is_grouped
        require(grouped, f"report.headline {chosen!r} ranks within groups; data.group names their column")
        pairs = len(self.data.fields) == 2 and len(self.data.classes) <= 2
        rule = "training.margin_weight compares titles of a query: it takes pairs with labels 0 and 1 or grades"
        require(pairs or not self.training.margin_weight, rule)
        scorers = any(teacher.scores_new_texts for teacher in self.teachers.values())
        fits = scorers or not (self.data.queries or self.data.titles)
        require(fits, "data.queries and data.titles make new pairs, which scores from files do not cover")
        if self.distill.weights:
            same = len(self.distill.weights) == len(self.teachers)
            require(same, f"distill.weights has {len(self.distill.weights)} numbers, {len(self.teachers)} teachers")
        known = set(self.models) <= {"student", "twin"} and len(set(self.models)) == len(self.models)
        require(bool(self.models) and known, f"models is {self.models}; it takes student, twin, or both")
        if "twin" in self.models:
            self._check_twin()

    def _check_twin(self) -> None:
        fields, classes = self.data.fields, self.data.classes
        require(
            len(fields) == 2, f"models has twin, which takes pairs: data.fields is {fields}; name a query and a title"
        )
        require(len(classes) <= 2, "models has twin, which takes labels 0 and 1 or grades, not several classes")
        models = [name for name, teacher in self.teachers.items() if teacher.preset]
        pieces = self.twin.preset not in ("", SCRATCH) or bool(models) or not self.twin.reads_word_pieces
        require(
            pieces,
            "twin.preset: no teacher has word pieces to read texts with, all are scores; name a preset, or take "
            "twin.preset='scratch' with twin.inputs='triletters'",
        )
        scorers = not self.twin.in_batch_negatives or len(models) == len(self.teachers)
        require(
            scorers,
            "twin.in_batch_negatives: encoders score these pairs; scores from files cannot, students do not",
        )

    @property
    def model_name(self) -> str:
        """Returns the exported model's name."""
        return self.export.name or self.name

    def to_dict(self) -> ConfigDict:
        """Returns the settings in the form that `--config.x.y=` can change."""
        return config_dict(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Config":
        """Builds and checks a Config; raises ConfigError as `mapping.build` does."""
        if isinstance(settings, ConfigDict):
            settings = settings.to_dict()
        return typing.cast("Config", build(cls, settings))
