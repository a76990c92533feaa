"""A summary of a student's training rows for the monitor: n-grams as bits, scores as a histogram, no text."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from tfb2d.atomic import atomic_path
from tfb2d.data.checked_rows import read_texts
from tfb2d.data.files import expand, file_identity
from tfb2d.data.tables import part_files
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.evaluation.scores import decisions
from tfb2d.monitor.drift import histogram
from tfb2d.monitor.ngrams import Bloom, Hasher
from tfb2d.monitor.sample import Reservoir
from tfb2d.runs import Run, run_of
from tfb2d.students import ngrams
from tfb2d.students.text_spec import SPEC

if TYPE_CHECKING:
    from tfb2d.students.rows import HashedRows

SCORED = 20_000  # rows of the histogram of scores
BATCH = 8192
TOKEN_BYTES = 5  # least bytes of text for each token, with its space


@dataclass
class Reference:
    """Summarises the training rows that logs are compared with."""

    known: Bloom  # the n-grams of all rows
    scores: NDArray[np.int64]  # `drift.histogram` of the model's scores, on a sample without augmented rows
    classes: NDArray[np.int64]  # counts of the decisions of these scores
    rows: int  # that were read
    orders: tuple[int, ...]  # of the n-grams
    max_tokens: int  # of a text that have n-grams
    model: str  # fingerprint of the scoring model
    source: str  # a hash of the files' paths, sizes and times, and of the settings
    hash_spec: int = 1  # version of the spec that tokenizes and hashes texts; 1 of files without it

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        arrays: dict[str, NDArray[Any]] = {"known": self.known.bits, "scores": self.scores, "classes": self.classes}
        about = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in arrays}
        with atomic_path(path) as temporary:
            save_file(arrays, temporary, {"reference": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Reads what `save` wrote; raises DataError of another kind of file."""
        try:
            with safe_open(path, "numpy") as file:
                about = json.loads(file.metadata()["reference"])
                arrays = {name: file.get_tensor(name) for name in ("known", "scores", "classes")}
            known = Bloom(arrays.pop("known"))
            return cls(known, **arrays, **{**about, "orders": tuple(about["orders"])})
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not a reference that tfb2d monitor wrote: {error}") from error


def load_or_build(
    patterns: Sequence[str], scorer: Scorer, hasher: Hasher, cache: Path, seed: int, quoting: str, progress: bool
) -> Reference:
    """Loads the reference of transfer rows from `cache`, or builds and saves it where files or settings changed.

    `patterns` name rows with the task's fields (a run's transfer table), or one `reference.safetensors` from elsewhere.
    `seed` is of the sample that is scored. Raises DataError for files that cannot be used, or a reference with other
    n-grams.
    """
    shape = (hasher.orders, hasher.max_tokens, SPEC["version"])
    if len(patterns) == 1 and patterns[0].endswith(".safetensors"):
        reference = Reference.load(Path(patterns[0]))
        if (reference.orders, reference.max_tokens, reference.hash_spec) != shape:
            raise DataError(
                f"{patterns[0]} has n-grams of {reference.orders} tokens, {reference.max_tokens} kept of a text, "
                f"by hash spec {reference.hash_spec}; this is {hasher.orders}, {hasher.max_tokens}, {SPEC['version']}"
            )
        return reference
    read_as = [] if quoting == "auto" else [quoting]
    origin = [file_identity(patterns), *shape, seed, scorer.fingerprint, *read_as]
    source = hashlib.sha256(json.dumps(origin, default=str).encode()).hexdigest()
    if cache.exists():
        reference = Reference.load(cache)
        if reference.source == source:
            return reference
    reference = build(patterns, scorer, hasher, seed, source, quoting, progress)
    reference.save(cache)
    return reference


def build(
    patterns: Sequence[str], scorer: Scorer, hasher: Hasher, seed: int, source: str, quoting: str, progress: bool
) -> Reference:
    """Builds the reference by reading the rows once, streamed; see `load_or_build`."""
    paths = expand(patterns)
    sizes = {path: path.stat().st_size for path in paths}
    text = sum(4 * size if path.suffix in (".parquet", ".gz", ".zst") else size for path, size in sizes.items())
    known = Bloom.for_count(len(hasher.orders) * text // TOKEN_BYTES)
    kept: Reservoir[tuple[str, ...]] = Reservoir(SCORED, seed)
    written, rows, hashed = _written_rows(paths), 0, _hashed_rows(paths, hasher)
    for tokens, splits in ngrams.chunks(hashed) if hashed is not None else ():
        for grams in hasher.of_tokens(tokens, splits).values():
            known.add(grams.hashes)
    with tqdm(
        total=sum(sizes.values()), desc="reference", unit="B", unit_scale=True, disable=not progress, leave=False
    ) as bar:
        for batch in _batches(paths, scorer.task.fields, quoting, bar):
            for column in zip(*batch, strict=True) if hashed is None else ():
                for grams in hasher(column).values():
                    known.add(grams.hashes)
            kept.offer(int(max(0, min(len(batch), written - rows))), batch.__getitem__)
            rows += len(batch)
    if not rows:
        raise DataError(f"{', '.join(patterns)}: no rows to compare the log with")
    scores = scorer.score(list(zip(*kept.items(), strict=True)))[0]
    best = scores.max(1) if scores.ndim == 2 else scores
    classes = np.bincount(decisions(scores.astype(np.float64)), minlength=max(2, scorer.task.n_logits))
    shape = hasher.orders, hasher.max_tokens, scorer.fingerprint
    return Reference(known, histogram(best), classes, rows, *shape, source, SPEC["version"])


def _run_of_transfer(paths: Sequence[Path]) -> Run | None:
    """Returns the run whose transfer table these files are, or None."""
    table = paths[0].absolute().parent
    run = run_of(table.parent)
    return run if run is not None and table == run.split("transfer") and run.finished("data") else None


def _hashed_rows(paths: Sequence[Path], hasher: Hasher) -> "HashedRows | None":
    """Returns the run's hashed rows of these files; None where the run has none, or `hasher` differs."""
    from tfb2d.students.rows import HashedRows

    run = _run_of_transfer(paths)
    if run is None or not run.finished("rows") or len(paths) != len(part_files(run.split("transfer"))):
        return None
    rows = HashedRows(run.rows("transfer"))
    return rows if (rows.max_tokens, rows.affixes) == (hasher.max_tokens, ()) else None


def _written_rows(paths: Sequence[Path]) -> float:
    """Returns the number of rows before the augmented ones, which come last in a run's transfer table."""
    run = _run_of_transfer(paths)
    if run is None:
        return float("inf")
    data = run.data_outcome()
    return data.transfer - data.augmented


def _batches(paths: Sequence[Path], fields: Sequence[str], quoting: str, bar: tqdm) -> Iterator[list[tuple[str, ...]]]:
    texts = read_texts(paths, fields, bar.update, quoting)
    while batch := list(islice(texts, BATCH)):
        yield batch
