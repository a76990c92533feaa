"""What the tests of the data stage share: files of random texts, and what a folder or a process holds."""

import random
import re
from pathlib import Path

from tfb2d.config import AugmentConfig, DataConfig

PAIR = ("query", "title")
WORDS = [f"word{i}" for i in range(200)]


def write(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> str:
    """Writes rows as a TSV file; returns its path."""
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [columns, *rows]), encoding="utf-8")
    return str(path)


def phrase(draw: random.Random, size: int) -> str:
    """Draws a text of `size` WORDS."""
    return " ".join(draw.choices(WORDS, k=size))


def content(folder: Path) -> dict[str, bytes]:
    """Reads every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def peak_memory() -> int:
    """Reads the most memory that this process held, in kB; getrusage would count the parent's as well."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def logged_texts(folder: Path, seed: int = 0) -> DataConfig:
    """Returns settings for labelled texts `a.tsv` and a log, `log.tsv` with augmentations or `log.tsv.gz` without."""
    log, augment = folder / "log.tsv", AugmentConfig(copies=1)
    if not log.exists():
        log, augment = folder / "log.tsv.gz", AugmentConfig()
    return DataConfig((str(folder / "a.tsv"),), unlabelled=(str(log),), split_seed=seed, augment=augment)
