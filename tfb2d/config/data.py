"""Settings of the data stage: which rows are read, how they are split, and what the transfer set holds."""

import keyword
from dataclasses import dataclass, field

from tfb2d.config.checks import require, require_not_negative, require_one_of, require_positive, require_share
from tfb2d.config.mapping import renamed

# How words are negated, and the words that stand before adjectives. They are English; a config may set others.
NEGATIONS = ("not {}", "hardly {}", "never {}", "far from {}", "not {} at all")
DEGREES = ("very", "so", "too", "quite", "rather", "more", "most", "less", "as", "not", "never")
# Words before which a clause begins, also English.
_OF_TIME = ("after", "before", "since", "until", "when", "while")
_OF_REASON = ("although", "as", "because", "despite", "if", "so", "though", "unless", "whereas", "yet")
CONJUNCTIONS = ("and", "but", "or", "that", "where", "which", "who", *_OF_TIME, *_OF_REASON)


def check_frames(setting: str, frames: tuple[str, ...]) -> None:
    """Raises ConfigError unless every frame is words and one `{}`."""
    for frame in frames:
        right = frame.count("{}") == 1 and bool(frame.replace("{}", "").strip())
        require(right, f"{setting} has {frame!r}; a frame is words with one {{}}, as 'not {{}}'")


@dataclass(frozen=True)
class AugmentConfig:
    """Says how more unlabelled text is made from what there is (Tang et al. 2019, arXiv 1903.12136, section 3.2)."""

    copies: int = 0  # augmented rows made of each source row; 0 is none
    labelled: bool = renamed(False, "judged")  # whether copies are made of labelled rows alone
    mask: float = 0.1  # probability that a word is replaced by the teacher's mask token
    ngram: float = 0.25  # probability that a row is cut down to one n-gram of 1 to 5 words
    # Single texts: how many texts are made of parts of others, such as a student can label (`teachers.*.students`).
    clauses: int = 0  # neighbouring clauses of a text, which end after punctuation or before a conjunction
    crossings: int = 0  # texts that begin as one text and, from two words that both have, go on as another
    conjunctions: tuple[str, ...] = CONJUNCTIONS  # in lower case; they are English, and a config may set others
    # Single texts with two classes: how many words of each class are put into the frames below, such as "not good", for the
    # teacher to label. Words are taken that go with one class (`data/indicative_words.py`) and often follow a word of
    # degree, as adjectives do; `degrees=()` takes all. Frames with words that the text lacks are left out.
    negated: int = 0
    negations: tuple[str, ...] = (*NEGATIONS, "isn't {}", "is not {}", "not very {}", "not so {}", "very {}")
    degrees: tuple[str, ...] = DEGREES
    # The form of the unlabelled text (single-text tasks only), in the order in which it is made:
    markup: bool = False  # take HTML out
    sentences: bool = False  # cut into sentences
    treebank: bool = False  # write as the Penn Treebank does: lower-cased, spaces around punctuation and clitics
    min_words: int = 0  # leave out texts with fewer words (with spaces between them)
    max_words: int = 0  # leave out texts with more words; 0 sets no bound

    def __post_init__(self) -> None:
        check_frames("data.augment.negations", self.negations)
        counts = ("copies", "clauses", "crossings", "negated", "min_words", "max_words")
        require_not_negative(self, "data.augment", *counts)
        for name in ("mask", "ngram"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"data.augment.{name} is {value}; it is a probability")

    @property
    def recombined(self) -> int:
        """Returns how many texts are made of parts of others, at most."""
        return self.clauses + self.crossings

    @property
    def reshapes(self) -> str:
        """Returns the name of the first setting that changes the form of unlabelled text; "" if none does."""
        names = ("markup", "sentences", "treebank", "min_words", "max_words")
        return next((name for name in names if getattr(self, name)), "")


@dataclass(frozen=True)
class OffersConfig:
    """A catalogue of offers clustered by product, from which (query, title) pairs are made (`tfb2d/data/offers`).

    With `files`, the pairs take the place of `data.train`, `valid`, `test` and `unlabelled`.
    """

    files: tuple[str, ...] = ()  # an offer per row
    title: str = "product_title"  # column of the offer's title
    cluster: str = "cluster_id"  # column of the product's id
    name: str = "cluster_label"  # column of the product's name
    category: str = "category_label"  # column of the product's category; may be missing
    titles: tuple[str, ...] = ()  # further titles, without a product, for the transfer set
    titles_column: str = "title"  # "": those files have no header, and titles are their last column
    labelled: int = renamed(40_000, "judged")  # labelled training pairs, at most; six per query
    queries: int = 1_500  # of test, and of valid; at most
    candidates: int = 20  # titles of each such query
    transfer: int = 400_000  # unlabelled pairs, at most; twelve per query
    # Grades 1 to 4 by how nearly a title is related to the query's product, with a judge's confusions, in place of labels 0
    # and 1. `data.retrieve` then makes the unlabelled pairs, and `transfer` is unused.
    graded: bool = False
    transfer_queries: int = 4_000  # graded: queries of which unlabelled pairs are made
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "data.offers", "labelled", "queries", "transfer", "transfer_queries")
        require(self.candidates > 1, f"data.offers.candidates is {self.candidates}; a ranking takes 2 or more")
        require(bool(self.files) or not self.titles, "data.offers.titles goes with data.offers.files")


@dataclass(frozen=True)
class RetrieveConfig:
    """Which titles each query is paired with, where unlabelled pairs are made of texts (`tfb2d/data/retrieve.py`)."""

    # Also where neither `data.queries` nor `data.titles` names files: the labelled training rows' own queries and titles
    # serve then, never those of valid and test. False makes pairs only where files are named.
    labelled: bool = False
    nearest: int = 8  # titles that BM25 ranks first
    near_misses: int = 4  # titles that hold some of the query's words, drawn from those that rank lower
    random: int = 2  # any titles
    title_queries: int = 1  # queries made of each title's words, at most; they fill up what is left of `pairs`
    pairs: int = 150_000  # at most; where the queries would give more, some of them are drawn
    seed: int = 0

    def __post_init__(self) -> None:
        require_not_negative(self, "data.retrieve", "nearest", "near_misses", "random", "title_queries")
        some = self.nearest + self.near_misses + self.random > 0
        require(some, "data.retrieve pairs queries with no title: nearest, near_misses and random are all 0")
        require_positive(self, "data.retrieve", "pairs")


@dataclass(frozen=True)
class DataConfig:
    """Which files hold which rows, which columns are read, and how rows are split.

    File settings take paths, globs, folders and `pypi:` resources (`tfb2d/data/resources.py`); TSV, CSV, JSONL (each also
    .gz or .zst) and Parquet are known by their endings.
    """

    train: tuple[str, ...] = ()  # labelled rows; also the source of valid and test where those are empty
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()  # the transfer set, beside the training text; may be far larger than memory
    fields: tuple[str, ...] = ("text",)  # text columns; two of them make a (query, title) task
    unlabelled_fields: tuple[str, ...] = ()  # the same fields under other names in the unlabelled files
    label: str = "label"  # label column
    classes: tuple[str, ...] = ()  # label names; two: binary, the second is positive; more: multi-class; none: numbers
    label_range: tuple[float, ...] = ()  # (lowest, highest) of graded labels, mapped to [0, 1]
    group: str = ""  # rows that share this column's value (movie) land in the same split; of pairs by default the query
    phrases: bool = False  # training rows are phrases of sentences; all phrases of a sentence land in the same split
    quoting: str = "auto"  # of TSV and CSV: csv, backslash (Spark, R), none, or auto: as the fields look
    id: str = ""  # a column whose values must be unique
    valid_fraction: float = 0.1  # of the groups, where `valid` is empty
    test_fraction: float = 0.1  # of the groups, where `test` is empty
    split_seed: int = 0
    max_rejected: float = 0.01  # share of a file set's rows that may be rejected before the run stops
    max_chars: int = 20_000  # a row with a longer field is rejected
    max_unlabelled: int = 0  # the largest number of unlabelled rows that are read; 0 is all
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    offers: OffersConfig = field(default_factory=OffersConfig)
    # Texts of which (query, title) pairs without a label are made, as `retrieve` says: .txt files with one text a line, or
    # tables with the field's column. Where one of the two is empty, the labelled training rows' own texts serve.
    queries: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    retrieve: RetrieveConfig = field(default_factory=RetrieveConfig)

    @property
    def kind(self) -> str:
        """Returns the kind of the labels: "binary", "multiclass" or "graded"."""
        return "graded" if self.label_range else "multiclass" if len(self.classes) > 2 else "binary"

    @property
    def has_negations(self) -> bool:
        """Says whether negating a word may change a row's class: single texts with two classes."""
        return len(self.fields) == 1 and self.kind == "binary"

    @property
    def is_grouped(self) -> bool:
        """Says whether rows have a group: a column's value, or a pair's query."""
        return bool(self.group) or len(self.fields) == 2

    def __post_init__(self) -> None:
        require(len(self.fields) in (1, 2), f"data.fields is {self.fields}; a single text or a (query, title) pair")
        require(len(set(self.fields)) == len(self.fields), f"data.fields names a column twice: {self.fields}")
        reserved = {"label", "group", "logit"} & set(self.fields)
        require(not reserved, f"data.fields has {', '.join(sorted(reserved))}, which tfb2d's own tables use; rename it")
        for name in self.fields:
            plain = name.isidentifier() and not keyword.iskeyword(name)
            require(plain, f"data.fields has {name!r}; a served input needs a plain name: rename the column")
        require(self.label not in self.fields, f"data.label {self.label!r} is also a text field")
        named = len(self.unlabelled_fields)
        require(
            named in (0, len(self.fields)), f"data.unlabelled_fields has {named} names, data.fields {len(self.fields)}"
        )
        several = len(self.classes) != 1
        require(several, "data.classes has a single name; two make a binary task, more a multi-class one")
        require(len(set(self.classes)) == len(self.classes), f"data.classes has a name twice: {self.classes}")
        require(not (self.classes and self.label_range), "data.classes and data.label_range exclude each other")
        if self.label_range:
            ordered = len(self.label_range) == 2 and self.label_range[0] < self.label_range[1]
            require(ordered, f"data.label_range is {self.label_range}; it takes (lowest, highest)")
        require_one_of(self, "data", "quoting", ("auto", "csv", "backslash", "none"))
        require_share(self, "data", "valid_fraction", "test_fraction", "max_rejected")
        require(self.valid_fraction + self.test_fraction < 1, "data.valid_fraction and test_fraction leave no train")
        if len(self.fields) > 1:
            name = self.augment.reshapes or ("clauses and crossings" if self.augment.recombined else "")
            require(not name, f"data.augment.{name} is for single texts; this task has two fields")
            require(not self.phrases, "data.phrases is for single texts; this task has two fields")
        if self.queries or self.titles:
            require(len(self.fields) == 2, f"data.queries and data.titles make pairs; data.fields is {self.fields}")
        require(not (self.phrases and self.group), "data.phrases and data.group exclude each other")
        if self.offers.files:
            require(len(self.fields) == 2, f"data.offers makes (query, title) pairs; data.fields is {self.fields}")
            made, labels = ((1, 4), "grades 1 to 4") if self.offers.graded else ((), "labels 0 and 1")
            fits = not self.classes and tuple(self.label_range) == made
            require(fits, f"data.offers makes {labels}; leave data.classes empty and take data.label_range={made}")

    @property
    def makes_pairs(self) -> bool:
        """Says whether unlabelled pairs are made of queries and titles."""
        return bool(self.queries or self.titles) or (self.retrieve.labelled and len(self.fields) == 2)

    @property
    def group_column(self) -> str:
        """Returns the column whose rows of equal value land in the same split; "" if there is none.

        It is `group`, or the first field of pairs whose splits are cut.
        """
        cut = not (self.valid and self.test)
        return self.group or (self.fields[0] if len(self.fields) == 2 and cut else "")
