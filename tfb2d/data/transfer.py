"""Makes the transfer set of training text, unlabelled text and augmentations, without held-out texts and repeats."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from tfb2d.config import AugmentConfig, DataConfig
from tfb2d.data import tables
from tfb2d.data.augment import augmented, sentences
from tfb2d.data.examples import Example, batch_of, schema
from tfb2d.data.indicative_words import IndicativeWords, framed
from tfb2d.data.keys import HashSet, text_hashes
from tfb2d.data.recombine import SAMPLE, Recombiner
from tfb2d.data.splits import HeldOut, Texts, text_rows
from tfb2d.data.treebank import treebank, without_markup

BATCH_ROWS = 4096
LEAST_Z = 1.0  # z-score of a negated word's share of positive labels


class TransferSet:
    """Writes the transfer set into a folder: labelled rows, then unlabelled rows, then augmentations.

    It remembers the exact texts that it took by 64-bit hashes (`HashSet`: 8 bytes a row). `left_out` counts rows not taken,
    by `HeldOut.leak`'s reasons and "duplicates". Augmentations count as "augmented_left_out" and outside teachers' rows,
    which may be test rows, as "scored_left_out", whatever the reason.
    """

    def __init__(self, folder: Path, data: DataConfig, held: HeldOut) -> None:
        self.data = data
        self.held = held
        self.left_out: Counter[str] = Counter()
        self._labelled = 0  # rows
        self._seen = HashSet()
        self._writer = tables.ShardWriter(folder, schema(data))

    @property
    def rows(self) -> int:
        """Returns how many rows were taken."""
        return self._writer.rows

    def add_labelled(self, batch: pa.RecordBatch) -> None:
        """Takes rows of the train split, which leak nothing."""
        new = self._unseen(batch)
        self.left_out["duplicates"] += batch.num_rows - new.num_rows
        self._writer.write(new)
        self._labelled += new.num_rows

    def add_unlabelled(self, batch: pa.RecordBatch) -> None:
        """Takes unlabelled rows, cut and written as `data.augment` says."""
        form = self.data.augment
        if form.reshapes:
            made = (
                ((piece,), group)
                for (text,), group in text_rows(batch, self.data.fields)
                for piece in pieces(text, form)
            )
            for cut in self._batches(made):
                self._add(cut)
        else:
            self._add(batch)

    def add_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Takes (query, title) pairs that were made; the query is their group, where there are groups of queries."""
        by_query = self.data.group_column == self.data.fields[0]
        for batch in self._batches((pair, pair[0] if by_query else "") for pair in pairs):
            self._add(batch)

    def add_scored(self, batch: pa.RecordBatch) -> None:
        """Takes rows that an outside teacher scored. They stay whole, since their scores are joined by text."""
        self._add(batch, "scored_left_out")

    def _add(self, batch: pa.RecordBatch, counted_as: str = "") -> None:
        """Writes rows that are new and not held out; counts the others by reason, or all as `counted_as`."""
        reasons: Counter[str] = Counter()
        kept = self.held.keep(batch, self.data.fields, reasons)
        new = self._unseen(kept)
        reasons["duplicates"] += kept.num_rows - new.num_rows
        self.left_out.update({counted_as: reasons.total()} if counted_as else reasons)
        self._writer.write(new)

    def augment(self, mask_token: str, progress: bool, rows: int) -> None:
        """Adds augmentations of the first `rows` rows, or of the labelled rows alone (`data.augment.labelled`)."""
        self._writer.flush()
        left = self._labelled if self.data.augment.labelled else rows
        with tqdm(total=left, desc="augment", unit=" rows", unit_scale=True, disable=not progress) as bar:
            for part in tables.part_files(self._writer.folder):
                for source in tables.iter_part(part, rows=1024):
                    made = (
                        (fields, group)
                        for old, group in text_rows(source.slice(0, left), self.data.fields)
                        for fields in augmented(old, self.data.augment, mask_token, self.data.split_seed)
                    )
                    for batch in self._batches(made):
                        self._add(batch, "augmented_left_out")
                    bar.update(min(left, source.num_rows))
                    left -= min(left, source.num_rows)
                    if not left:
                        return

    def negate(self, labelled: pa.Table) -> None:
        """Adds words of labelled texts that go with one class, in frames such as "not {}" (`data.augment.negated`)."""
        form, (field,) = self.data.augment, self.data.fields
        indicative = IndicativeWords(labelled.column(field).to_pylist(), labelled.column("label").to_numpy())
        low, high = indicative.by_class(form.degrees, LEAST_Z)
        texts = framed([*low[: form.negated], *high[: form.negated]], indicative.known(form.negations))
        for batch in self._batches(((text,), "") for text in texts):
            self._add(batch, "augmented_left_out")

    def recombine(self, rows: int, progress: bool) -> None:
        """Adds texts made of parts of the first `rows` rows (`data.augment.clauses`, `crossings`)."""
        form, seed = self.data.augment, self.data.split_seed
        self._writer.flush()
        texts = Recombiner(self._sample(rows, seed), form.conjunctions, seed)
        made = chain(texts.clauses(form.clauses), texts.crossings(form.crossings))
        total = form.recombined
        with tqdm(made, total=total, desc="recombine", unit=" rows", unit_scale=True, disable=not progress) as bar:
            for batch in self._batches(((text,), "") for text in bar):
                self._add(batch, "augmented_left_out")

    def _sample(self, rows: int, seed: int) -> list[str]:
        """Returns the texts of the first `rows` rows, or `SAMPLE` of them, drawn at random."""
        chosen = np.arange(rows)
        if rows > SAMPLE:
            chosen = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
        texts: list[str] = []
        start = 0
        for batch in tables.iter_batches(self._writer.folder, self.data.fields):
            first, last = np.searchsorted(chosen, [start, start + batch.num_rows])
            texts += batch.column(0).take(pa.array(chosen[first:last] - start)).to_pylist()
            start += batch.num_rows
        return texts

    def close(self) -> None:
        """Writes the last part."""
        self._writer.close()

    def _unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        new = self._seen.add(text_hashes(fields for fields, _ in text_rows(batch, self.data.fields)))
        return batch.filter(pa.array(new))

    def _batches(self, made: Iterable[Texts]) -> Iterator[pa.RecordBatch]:
        """Yields rows without a label as record batches."""
        rows = (Example(fields, group=group) for fields, group in made)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch_of(batch, self.data)


def pieces(text: str, form: AugmentConfig) -> Iterator[str]:
    """Yields the rows that an unlabelled text is made into."""
    if form.markup:
        text = without_markup(text)
    for piece in sentences(text) if form.sentences else [text]:
        if form.treebank:
            piece = treebank(piece)
        words = len(piece.split())
        if words and form.min_words <= words <= (form.max_words or words):
            yield piece
