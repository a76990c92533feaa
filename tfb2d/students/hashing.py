"""Hashes texts into the folders that `rows.HashedRows` reads, so that each text is tokenized and hashed once.

Words repeat. So texts are cut at ASCII white space first, and each distinct word of a batch is folded, cut into tokens and
hashed once. No token spans white space, and folding does not look at neighbours. So the hashes are those of whole texts.

A table is hashed in numbered pieces; the local loop and Ray's actors run the same code, so bytes are equal. A piece is
written whole or not at all, so a stopped run goes on with those that are missing. At the end the pieces are joined to the
files that training maps into memory.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tqdm import tqdm

from tfb2d.atomic import atomic_path, sync, write_json
from tfb2d.config.label import LabelConfig
from tfb2d.data.tables import TableRows
from tfb2d.errors import DataError
from tfb2d.students import text
from tfb2d.students.ngrams import take
from tfb2d.students.rows import ABOUT, HashedRows, TrainingRows, with_targets
from tfb2d.students.spelling import Dictionary
from tfb2d.students.spelling_graph import Spelling

PIECE_ROWS = 65_536  # with another number a stopped run's pieces would be taken for others: raise `stage.ROWS_VERSION`
BATCH_ROWS = 16_384  # hashed by a thread at once; the more there are, the more words repeat
PIECES = "_pieces"  # subfolder of the pieces, until they are joined
Hashed = list[tuple[np.ndarray, np.ndarray]]  # of some texts: token hashes and splits, int64, for each field


def hash_rows(
    columns: Sequence[np.ndarray],
    targets: np.ndarray,
    out: Path,
    max_tokens: int,
    affixes: Sequence[int] = (),
    dictionary: Dictionary | None = None,
) -> TrainingRows:
    """Hashes texts that are in memory into a folder; see `hash_table` and `with_targets`.

    Args:
      columns: the texts, str or bytes, one object array `[n]` a field.
      targets: `[n, k]` float32.
      out: the folder.
      max_tokens: tokens kept of a text.
      affixes: as of `text_spec.token_hash`.
      dictionary: with which the first field's texts, queries, are read; None reads them as typed.
    """
    hashed = _in_batches(hasher(max_tokens, affixes, dictionary), [arrow_texts(column) for column in columns])
    return with_targets(_write(hashed, out, row_settings(max_tokens, affixes, dictionary)), targets)


def hash_table(
    source: Path,
    fields: Sequence[str],
    out: Path,
    max_tokens: int,
    affixes: Sequence[int] = (),
    config: LabelConfig | None = None,
    progress: bool = True,
    spelling: Path | None = None,
) -> HashedRows:
    """Hashes the texts of a table, by the engine that labels it; goes on with the pieces that a stopped run left.

    Args:
      source: the table's folder.
      fields: its text columns.
      out: gets the rows. What is in it was made of the same table; whole rows of other settings are made anew.
      max_tokens, affixes: see `hash_rows`.
      config: names the engine, and where Ray runs; None works in this process.
      progress: whether to show a bar.
      spelling: file of the dictionary with which the first field's texts, queries, are read; None reads them as typed.

    Raises:
      DataError: the table is damaged, or machines do not share its storage.
    """
    pieces = out / PIECES
    dictionary = Dictionary.load(spelling) if spelling else None
    if (out / ABOUT).exists():
        shutil.rmtree(pieces, ignore_errors=True)  # a kill may have left some after the join
        hashed = HashedRows(out)
        if hashed.settings == row_settings(max_tokens, affixes, dictionary):
            return hashed
    config = config or LabelConfig()
    pieces.mkdir(parents=True, exist_ok=True)
    part_rows = TableRows(source, fields).part_rows
    paths = (str(source.absolute()), str(pieces.absolute()))
    threads = max(1, int(config.ray.cpus_per_actor)) if config.engine == "ray" and config.ray.actors else None
    known = str(spelling.absolute()) if spelling else None
    job = HashJob(*paths, part_rows, tuple(fields), max_tokens, tuple(affixes), PIECE_ROWS, threads, known)
    starts = range(0, sum(part_rows), PIECE_ROWS)
    todo = [index for index in range(len(starts)) if not piece_path(pieces, index).exists()]
    missing = sum(min(PIECE_ROWS, sum(part_rows) - starts[index]) for index in todo)
    with tqdm(
        total=sum(part_rows),
        initial=sum(part_rows) - missing,
        desc=f"hash {out.name}",
        unit="row",
        disable=not progress,
        leave=False,
    ) as bar:
        for rows in _done(job, todo, config):
            bar.update(rows)
    read = (_read(piece_path(pieces, index)) for index in range(len(starts)))
    hashed = _write(read, out, row_settings(max_tokens, affixes, dictionary))
    shutil.rmtree(pieces)
    return hashed


@dataclass(frozen=True)
class HashJob:
    """Describes the hashing of a table; a machine of a cluster can start it.

    Attributes:
      source, pieces: absolute paths of the table and of the pieces' folder, on storage that all machines share.
      part_rows: rows of each part of `source`.
      fields: the text columns.
      max_tokens, affixes: see `hash_rows`.
      rows_per_piece: rows of a piece.
      threads: that hash; None takes one a core.
      spelling: absolute path of the dictionary with which queries are read; None where they are read as typed.
    """

    source: str
    pieces: str
    part_rows: tuple[int, ...]
    fields: tuple[str, ...]
    max_tokens: int
    affixes: tuple[int, ...]
    rows_per_piece: int
    threads: int | None = None
    spelling: str | None = None

    def start(self) -> Callable[[int], int]:
        """Returns the function that hashes a piece and says how many rows it has.

        Raises:
          DataError: this machine has another folder than the driver.
        """
        if not Path(self.pieces).exists():
            raise DataError(f"{self.pieces} is not the driver's folder; all machines must share the rows' storage")
        table = TableRows(Path(self.source), self.fields, self.part_rows)
        dictionary = Dictionary.load(Path(self.spelling)) if self.spelling else None
        hash_texts = hasher(self.max_tokens, self.affixes, dictionary)

        def work(index: int) -> int:
            rows = table.read(index * self.rows_per_piece, self.rows_per_piece)
            columns = [column.cast(pa.large_string()).combine_chunks() for column in rows.columns]
            batches = _in_batches(hash_texts, columns, self.threads)
            arrays: dict[str, Any] = {}
            for i, parts in enumerate(zip(*batches, strict=True)):
                arrays[f"hashes_{i}"] = np.concatenate([hashes for hashes, _ in parts])
                arrays[f"lengths_{i}"] = np.concatenate([np.diff(splits) for _, splits in parts])
            with atomic_path(piece_path(Path(self.pieces), index)) as path, path.open("wb") as file:
                np.savez(file, **arrays)
            return rows.num_rows

        return work


def piece_path(pieces: Path, index: int) -> Path:
    """Returns where a piece stands: of each field its hashes, and how many tokens each row has."""
    return pieces / f"{index:05d}.npz"


def _done(job: HashJob, todo: Sequence[int], config: LabelConfig) -> Iterator[int]:
    if config.engine == "ray":
        from tfb2d.scale.ray_actors import run_on_actors

        for index, rows in run_on_actors(job, todo, replace(config.ray, gpus_per_actor=0.0)):
            if not piece_path(Path(job.pieces), index).exists():
                raise DataError(f"{job.pieces} lacks piece {index}, which an actor wrote; all machines must share it")
            yield rows
    elif todo:
        yield from map(job.start(), todo)


def hasher(
    max_tokens: int, affixes: Sequence[int] = (), dictionary: Dictionary | None = None
) -> Callable[[Sequence[pa.Array]], Hashed]:
    """Returns the function from a batch's texts, `[n]` strings a field, to their hashes; threads may share it.

    With a `dictionary` the first field's words are read by it.
    """
    of_words = _word_hasher(max_tokens, affixes)
    if not dictionary:
        return of_words
    of_queries = _word_hasher(max_tokens, affixes, Spelling(dictionary))
    return lambda columns: of_queries(columns[:1]) + of_words(columns[1:])


def _word_hasher(
    max_tokens: int, affixes: Sequence[int], spelling: Spelling | None = None
) -> Callable[[Sequence[pa.Array]], Hashed]:
    """Returns the function that hashes texts of fields that are read alike; see `hasher`."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of_words(words: tf.Tensor) -> tf.RaggedTensor:
        return text.token_hashes(words, max_tokens, affixes, spelling)

    def hash_texts(columns: Sequence[pa.Array]) -> Hashed:
        # What stands behind the last cut is left in one piece, and hashed as a word is.
        texts = [pc.ascii_split_whitespace(column, max_splits=max_tokens) for column in columns]
        encoded = pa.concat_arrays([words.flatten() for words in texts]).dictionary_encode()
        words_as_bytes = encoded.dictionary.view(pa.large_binary()).to_numpy(zero_copy_only=False)
        distinct = of_words(tf.constant(words_as_bytes, tf.string))
        values, ends, numbers = distinct.values.numpy(), distinct.row_splits.numpy(), encoded.indices.to_numpy()
        hashed, start = [], 0
        for words in texts:
            offsets = words.offsets.to_numpy()
            hashes, behind = take(values, ends, numbers[start : start + offsets[-1]])
            hashed.append(_first_tokens(hashes, behind[offsets], max_tokens))
            start += offsets[-1]
        return hashed

    return hash_texts


def arrow_texts(texts: Iterable[str | bytes]) -> pa.Array:
    """Returns texts as `hasher` takes them. Bytes may be anything, also what is not UTF-8."""
    encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return pa.array(encoded, pa.large_binary()).view(pa.large_string())


def _first_tokens(hashes: np.ndarray, splits: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.diff(splits)
    if lengths.max(initial=0) <= max_tokens:
        return hashes, splits
    positions = np.arange(len(hashes)) - np.repeat(splits[:-1], lengths)
    return hashes[positions < max_tokens], np.concatenate([[0], np.cumsum(np.minimum(lengths, max_tokens))])


def _in_batches(
    hash_texts: Callable[[Sequence[pa.Array]], Hashed], columns: Sequence[pa.Array], threads: int | None = None
) -> Iterator[Hashed]:
    """Hashes texts in batches, in their order; by threads, because each of the ops that do it uses one core."""

    def hash_batch(start: int) -> Hashed:
        return hash_texts([column[start : start + BATCH_ROWS] for column in columns])

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        yield from pool.map(hash_batch, range(0, len(columns[0]), BATCH_ROWS))


def _read(path: Path) -> Hashed:
    with np.load(path) as file:
        fields = range(len(file.files) // 2)
        return [(file[f"hashes_{i}"], np.concatenate([[0], np.cumsum(file[f"lengths_{i}"])])) for i in fields]


def row_settings(max_tokens: int, affixes: Sequence[int], dictionary: Dictionary | None = None) -> dict[str, Any]:
    """Returns what `rows.json` says of how texts were hashed; a dictionary by its size, since the run's data make it."""
    spelling = {"known_words": len(dictionary)} if dictionary else {}
    return {"max_tokens": max_tokens, "affixes": list(affixes), **spelling}


def _write(hashed: Iterable[Hashed], out: Path, settings: dict[str, Any]) -> HashedRows:
    """Writes hashed texts into a folder, one part after another; `rows.json` is written last."""
    out.mkdir(parents=True, exist_ok=True)
    columns: list[_Column] = []
    with ExitStack() as stack:
        for part in hashed:
            columns = columns or [_Column(out, i, stack) for i in range(len(part))]
            for column, (hashes, splits) in zip(columns, part, strict=True):
                column.write(hashes, splits)
    for path in out.glob("*.i64"):
        sync(path)
    rows = columns[0].rows if columns else 0
    write_json(out / ABOUT, {"rows": rows, "fields": len(columns), **settings})
    return HashedRows(out)


class _Column:
    """Appends one field's hashes and splits."""

    def __init__(self, folder: Path, number: int, stack: ExitStack) -> None:
        self.hashes, self.splits = (
            stack.enter_context((folder / f"{number}.{part}.i64").open("wb")) for part in ("hashes", "splits")
        )
        self.splits.write(np.zeros(1, np.int64).tobytes())
        self.rows = self.end = 0

    def write(self, hashes: np.ndarray, splits: np.ndarray) -> None:
        self.hashes.write(hashes.tobytes())
        self.splits.write((splits[1:] + self.end).astype(np.int64).tobytes())
        self.rows += len(splits) - 1
        self.end += int(splits[-1])
