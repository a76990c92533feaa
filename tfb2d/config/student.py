"""Settings of the student: its shape, its training, and how it is made small for serving."""

from dataclasses import dataclass, field

from tfb2d.config.checks import require, require_not_negative, require_one_of, require_positive, require_share
from tfb2d.config.label import RayConfig
from tfb2d.config.mapping import without_effect

CLUSTERS = ("multi_worker", "parameter_server")  # strategies of several processes that TF_CONFIG describes
STRATEGIES = ("mirrored", *CLUSTERS, "ray")


@dataclass(frozen=True)
class StudentConfig:
    """The student's shape: hashed n-grams, pooled fields and their interaction, a feed-forward network."""

    buckets: int = 2**18  # rows of the n-gram table
    dim: int = 64  # its width
    orders: tuple[int, ...] = (1, 2)  # n-gram orders
    # Single texts: 0 looks each n-gram up in a row of its own. Otherwise an n-gram of `window` tokens is the sum of its
    # tokens' vectors, and `orders` is unused.
    window: int = 0
    # With a window: the dilations of the convolutions over n-grams, for example (1, 2). A convolution with dilation d reads
    # the n-grams d tokens before and after.
    convolutions: tuple[int, ...] = ()
    convolution_width: int = 0  # of the convolutions' hidden layer, for example 256; 0 has no hidden layer
    # The width of the vectors that convolutions read, for example 32: table rows are projected to it, and their own pool
    # goes beside that of the convolutions. 0 keeps `dim`.
    convolution_dim: int = 0
    # With convolutions: above 0, a cheap second output decides the texts of which it is certain, and only the others go
    # through the convolutions. The value is the log loss that this may cost on validation, for example 0.005.
    early_exit: float = 0.0
    # With a window: the largest number of tokens with rows of their own, the most frequent ones (each three times or more).
    # All other tokens share a row. 0 hashes every token to a row.
    vocabulary: int = 0
    # With a window: bytes of a token's prefix and suffix, for example (5, 3). Both are hashed to rows of the table as well,
    # so that rare words differ. () uses neither.
    affixes: tuple[int, ...] = ()
    max_tokens: int = 256  # tokens kept of a field
    ffn: tuple[int, ...] = (256, 64)  # widths of the hidden layers; BERT2DNN: (1024, 512, 128, 64)
    dropout: float = 0.1  # before each dense layer
    ngram_dropout: float = 0.1  # share of the n-grams left out in training
    products: bool = True  # pairs: pooled query * pooled title
    differences: bool = True  # pairs: |pooled query - pooled title|
    matched: bool = True  # pairs: separate pools of matched and unmatched n-grams
    soft_match: bool = True  # pairs: K-NRM kernel pooling (Xiong et al. 2017, arXiv 1706.06613)
    kernels: int = 11  # RBF kernels of soft_match
    soft_buckets: int = 2**16  # rows of the token table that soft_match compares with
    # Pairs: whether a query's word that the transfer set's different texts have fewer than three times is read as the most
    # frequent word there that is one edit away, `lenoov` as `lenovo` (students/spelling.py).
    spelling: bool = False
    teacher_init: bool = True  # start token rows from the teacher's own vectors (PCA to `dim`)

    def __post_init__(self) -> None:
        require_positive(self, "student", "buckets", "dim", "max_tokens", "kernels", "soft_buckets")
        require(self.buckets < 2**31, f"student.buckets is {self.buckets}; the hash reaches 2^31 - 1")
        require(bool(self.orders), "student.orders is empty; (1, 2) takes words and word pairs")
        require(all(1 <= n <= 5 for n in self.orders), f"student.orders is {self.orders}; orders go from 1 to 5")
        require(list(self.orders) == sorted(set(self.orders)), f"student.orders {self.orders} must rise")
        require(0 <= self.window <= 16, f"student.window is {self.window}; it counts tokens, up to 16; 0 is none")
        require_not_negative(self, "student", "vocabulary", "convolution_width", "convolution_dim", "early_exit")
        for names, needed in (
            (("convolutions", "affixes", "vocabulary"), "window"),
            (("convolution_width", "convolution_dim", "early_exit"), "convolutions"),
        ):
            for name in names:
                fits = bool(getattr(self, needed)) or not getattr(self, name)
                require(fits, f"student.{name} goes with student.{needed}, which is not set")
        sizes = len(self.affixes) in (0, 2) and all(size > 0 for size in self.affixes)
        require(sizes, f"student.affixes is {self.affixes}; (prefix, suffix) in bytes, each above 0; () is none")
        taken = (self.vocabulary + 2) * self.window if self.vocabulary else 0  # two: a text's end, all other tokens
        room = taken + bool(self.affixes)
        require(
            room <= self.buckets,
            f"student.vocabulary={self.vocabulary} takes {room:,} rows with student.window={self.window}, and "
            f"student.buckets are {self.buckets:,}",
        )
        near = all(0 < dilation < self.max_tokens for dilation in self.convolutions)
        rule = "each counts tokens: 1 or more, below student.max_tokens"
        require(near, f"student.convolutions is {self.convolutions}; {rule}")
        require_share(self, "student", "dropout", "ngram_dropout")


@dataclass(frozen=True)
class TrainingConfig:
    """Says how the student is trained."""

    epochs: int = 5
    batch_size: int = 512
    table_learning_rate: float = 0.05  # row-wise Adagrad, the tables
    learning_rate: float = 1e-3  # Adam, the dense layers
    warmup: float = 0.02  # share of the steps; linear decay to 0 follows
    patience: int = 0  # epochs without a better headline measure on validation before training stops; 0 never stops
    # Weight of the squared error of margins between two titles of a query, beside the cross-entropy
    # (`students/margin.py`); for example 0.1. 0 is none.
    margin_weight: float = 0.0
    # Matrix products in bfloat16, on CPUs with AVX512-BF16 or AMX; elsewhere it changes nothing. A student with
    # three wide convolutions trains 1.2 times as fast with it (results/sst2.md).
    mixed_precision: bool = False
    checkpoint_seconds: float = without_effect(60.0)
    seed: int = 0
    # "" trains in this process on one device. Of tf.distribute: "mirrored" takes all devices of this machine; TF_CONFIG
    # says who takes part in "multi_worker" and "parameter_server"; "ray" is "multi_worker" in workers of Ray Train.
    # The student is the same to rounding (docs/scale.md).
    strategy: str = without_effect("")
    ray: RayConfig = field(default_factory=RayConfig)

    def __post_init__(self) -> None:
        require_positive(self, "training", "epochs", "batch_size", "table_learning_rate", "learning_rate")
        if self.strategy:  # "" is one device
            require_one_of(self, "training", "strategy", STRATEGIES)
        require_not_negative(self, "training", "margin_weight")
        whole = not (self.margin_weight and self.strategy)
        require(whole, "training.margin_weight pairs the rows of a whole batch; training.strategy splits it")
        fits = self.margin_weight == 0 or self.batch_size % 2 == 0
        require(fits, f"training.batch_size is {self.batch_size}; training.margin_weight takes an even one")


@dataclass(frozen=True)
class CompressConfig:
    """Says how the trained student is made small for serving."""

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
        require_one_of(self, "compress", "tables", ("int8", "float"))
        require_not_negative(self, "compress", "max_megabytes", "qat_epochs")
        bounded = self.max_megabytes > 0 and self.tables != "int8"
        require(not bounded, "compress.max_megabytes goes with compress.tables='int8'")
        require_share(self, "compress", "sparsity")
        few = self.clusters == 0 or 2 <= self.clusters <= 256
        require(few, f"compress.clusters is {self.clusters}; 2 to 256, or 0 for none")
        require_positive(self, "compress", "epochs", "batch_size", "learning_rate")

    @property
    def tunes_dense(self) -> bool:
        """Says whether compressing trains the dense layers further."""
        return bool(self.sparsity or self.clusters or self.qat_epochs)
