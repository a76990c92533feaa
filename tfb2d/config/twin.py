"""Settings of a twin: two towers that embed query and title separately, and how they are trained. Imports nothing heavy.

Reference: TwinBERT (Lu et al. 2020, arXiv 2002.06275).
"""

import dataclasses
from dataclasses import dataclass

from tfb2d.config.checks import require, require_not_negative, require_one_of, require_positive, require_share
from tfb2d.config.mapping import without_effect

KINDS = ("transformer", "ngram", "asymmetric")
SCRATCH = "scratch"


@dataclass(frozen=True)
class TwinConfig:
    """A twin's shape and training. The temperature, the stack and the share of hard labels are those of `distill`."""

    # "transformer": both towers. "ngram": both look hashed n-grams up. "asymmetric": a transformer twin is trained first;
    # then a look-up tower of hashed n-grams takes the place of its query tower, against its title vectors.
    kind: str = "transformer"

    # The transformer towers.
    preset: str = ""  # "" takes the first teacher's fine-tuned encoder; else a preset as teachers have, or "scratch"
    layers: int = 3  # Transformer layers that a tower has
    take: str = "spaced"  # which of a longer encoder's layers: "spaced" evenly, the last among them, or the "first"
    shared: bool = True  # one tower for queries and titles, or one each
    inputs: str = "wordpiece"  # or "triletters": hashed letters of words, no vocabulary; only from scratch
    pooling: str = "mean"  # "mean", "cls", or "weighted": softmax over a learnt score of each token
    query_length: int = 32  # tokens (tri-letters: words), special ones included
    title_length: int = 64
    letter_buckets: int = 2**15  # rows of the table of tri-letters
    hidden: int = 384  # width of an encoder from scratch
    heads: int = 6
    intermediate: int = 1536
    dropout: float = 0.0  # within the encoder, while training

    # The look-up towers.
    buckets: int = 2**18  # rows of the n-gram table
    orders: tuple[int, ...] = (1, 2)
    max_tokens: int = 64
    width: int = 128  # of the table
    vector_weight: float = 1.0  # asymmetric: weight of the cosine distance to the transformer's query vector

    # What both have.
    dim: int = 128  # numbers of an embedding
    # "cosine" is what an index of nearest neighbours computes, too. "max", "concat" and "two_layer" score pairs better by
    # little, and only pairs; see `twin/crossing.py`.
    crossing: str = "cosine"

    # Training.
    in_batch_negatives: int = 0  # for each query, pairs with titles of other queries, scored by the teachers first
    margin_weight: float = 0.0  # weight of the margin loss: differences of two titles' logits against the teachers'
    epochs: int = 3
    batch_size: int = 256
    learning_rate: float = 1e-4  # AdamW, the encoder; the peak, a cosine to 0 follows
    head_learning_rate: float = 1e-3  # AdamW, all between the encoder and the logit
    table_learning_rate: float = 0.02  # row-wise Adagrad, tables of n-grams and tri-letters
    look_up_epochs: int = 10  # asymmetric: of the query tower
    warmup: float = 0.05  # share of the steps, linear from 0
    weight_decay: float = 0.01
    clip_norm: float = 1.0  # largest global norm of the gradients; 0 does not clip
    mixed_precision: bool = False  # bfloat16, as of teachers
    checkpoint_seconds: float = without_effect(60.0)
    seed: int = 0

    # Serving.
    weights: str = "int8"  # how the exported model stores them: "int8", "bfloat16" or "float"

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", KINDS),
            ("take", ("spaced", "first")),
            ("inputs", ("wordpiece", "triletters")),
            ("pooling", ("mean", "cls", "weighted")),
            ("crossing", ("cosine", "max", "concat", "two_layer")),
            ("weights", ("int8", "bfloat16", "float")),
        ):
            require_one_of(self, "twin", name, known)
        counts = ("letter_buckets", "hidden", "heads", "intermediate", "buckets", "max_tokens", "width", "dim")
        rates = ("epochs", "look_up_epochs", "batch_size", "learning_rate", "head_learning_rate", "table_learning_rate")
        require_positive(self, "twin", *counts, *rates)
        require(1 <= self.layers <= 48, f"twin.layers is {self.layers}; a tower has 1 to 48")
        for name in ("query_length", "title_length"):
            value = getattr(self, name)
            require(3 <= value <= 512, f"twin.{name} is {value}; 3 to 512 tokens, of which two are special")
        require(self.hidden % self.heads == 0, f"twin.hidden is {self.hidden}; a multiple of twin.heads={self.heads}")
        fits = self.preset == SCRATCH or self.inputs == "wordpiece"
        require(fits, "twin.inputs='triletters' goes with twin.preset='scratch'; pretrained encoders read word pieces")
        require(self.letter_buckets >= 2, f"twin.letter_buckets is {self.letter_buckets}; 2 or more")
        require(self.buckets < 2**31, f"twin.buckets is {self.buckets}; the hash reaches 2^31 - 1")
        rising = list(self.orders) == sorted(set(self.orders)) and all(1 <= order <= 5 for order in self.orders)
        rising = rising and bool(self.orders)
        require(rising, f"twin.orders is {self.orders}; rising orders from 1 to 5, such as (1, 2)")
        require_share(self, "twin", "dropout", "warmup")
        weights = ("margin_weight", "vector_weight", "weight_decay", "clip_norm")
        require_not_negative(self, "twin", "in_batch_negatives", *weights)

    @property
    def has_transformer(self) -> bool:
        """Says whether a tower is a transformer."""
        return self.kind != "ngram"

    @property
    def reads_word_pieces(self) -> bool:
        """Says whether a tower reads word pieces."""
        return self.has_transformer and self.inputs == "wordpiece"

    def symmetric(self) -> "TwinConfig":
        """Returns the settings of the transformer twin that an asymmetric one begins with; look-up settings are default."""
        names = ("buckets", "orders", "max_tokens", "width", "vector_weight", "look_up_epochs")
        default = {item.name: item.default for item in dataclasses.fields(self) if item.name in names}
        return dataclasses.replace(self, kind="transformer", **default)  # type: ignore[arg-type]
