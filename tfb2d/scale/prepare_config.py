"""Settings of preparing a transfer set."""

from dataclasses import dataclass, field

from tfb2d.config.checks import require
from tfb2d.config.label import ENGINES, RayConfig
from tfb2d.config.mapping import without_effect

MEGABYTE = 2**20
MOST_MB = 1024  # of a part: a column of Arrow's strings holds 2 GiB, and parts are not equally large


@dataclass(frozen=True)
class PrepareConfig:
    """Says which rows of a transfer set stay, and in which order."""

    fields: tuple[str, ...]  # the text columns
    keep: tuple[str, ...] = ("id", "label")  # more columns to keep, as text, where a file has them
    group: str = ""  # column whose values must not be shared with the held-out rows; "" compares the texts alone
    # Jaccard similarity of words from which on a text is a near duplicate, or a leak; 0 looks for none
    near: float = 0.8
    seed: int = 0  # of the shuffle
    rows_per_shard: int = 65_536  # rows of an output file
    # Megabytes of rows that are brought together at once. It does not change the output, but a stopped run continues with
    # the same number alone
    part_mb: int = 32
    max_rejected: float = without_effect(0.01)  # share of bad rows at which to stop
    # max_chars, quoting: see `data.readers.read_rows`
    max_chars: int = 20_000
    quoting: str = "auto"
    engine: str = without_effect("local")  # "local" works in this process, "ray" in Ray's actors; the bytes are equal
    ray: RayConfig = field(default_factory=RayConfig)  # where Ray runs

    def __post_init__(self) -> None:
        require(bool(self.fields), "name at least one text column (fields)")
        require(len(set(self.fields)) == len(self.fields), f"a text column is named twice: {', '.join(self.fields)}")
        require(0 <= self.near <= 1, f"near is {self.near:g}; it is a similarity from 0 to 1")
        require(self.rows_per_shard > 0, f"rows_per_shard is {self.rows_per_shard}; it must be above 0")
        require(0 < self.part_mb <= MOST_MB, f"part_mb is {self.part_mb}; it must be from 1 to {MOST_MB}")
        require(self.engine in ENGINES, f"engine is {self.engine!r}; there are {', '.join(ENGINES)}")

    @property
    def part_bytes(self) -> int:
        """Returns the bytes of a part, as it is on disk between two passes."""
        return self.part_mb * MEGABYTE

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns that the output has."""
        more = [column for column in (self.group, *self.keep) if column and column not in self.fields]
        return (*self.fields, *dict.fromkeys(more))
