"""Turns files into checked splits and the transfer set, as sharded Parquet."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from tfb2d.atomic import sync, write_json
from tfb2d.config import DataConfig
from tfb2d.data import tables
from tfb2d.data.augment import MASK
from tfb2d.data.examples import read_examples, schema
from tfb2d.data.files import expand
from tfb2d.data.offers.pairs import make
from tfb2d.data.rejects import Rejects
from tfb2d.data.retrieve import add_made_pairs
from tfb2d.data.splits import SPLITS, TORN, Cutter, HeldOut, PhraseCutter, check_split, count_by_name, text_rows
from tfb2d.data.task import Task
from tfb2d.data.transfer import TransferSet
from tfb2d.errors import DataError

LEAKS = ("leaked", "leaked_valid", "near_leaked", "group_leaked")
LEFT_OUT = (*LEAKS, TORN, "duplicates", "scored_left_out", "augmented_left_out")


def prepare(
    data: DataConfig, out: Path, extra_unlabelled: Sequence[tuple[str, ...]] = (), progress: bool = True
) -> dict[str, Any]:
    """Reads, checks, splits and writes the data of a run.

    `out` gets `train/`, `valid/`, `test/` and `transfer/` (tables of `examples.schema`), `task.json`, `rejected.jsonl`
    and, last, `stats.json`. `transfer` holds the training texts with their labels, then the unlabelled texts, then pairs
    that were made, then augmentations of all but made pairs, then texts made of parts of others; no row stands there
    twice. The same inputs give the same bytes. Everything is made beside the old state and renamed at the end: a run that
    is stopped, killed or out of disk leaves what was there.

    The file sets `extra_unlabelled` are outside teachers' scores, whose rows join the transfer set. Their columns are
    named as `data.fields`.

    Returns:
      What `stats.json` holds, in rows:
        `train`, `valid`, `test`, `transfer`; of the last, `unlabelled` and `augmented`.
        `rejected` and `rejected_by_reason`.
        `dialects`: how each file was read.
        `leaked`, `leaked_valid`, `near_leaked`, `group_leaked`: left out, see `HeldOut.leak`; `leaked_from` says of
          which files `leaked` rows are.
        `torn`: left out, see `PhraseCutter`.
        `duplicates`: left out of transfer, which has the text already.
        `augmented_left_out`, `scored_left_out`: augmentations, and rows of `extra_unlabelled`, left out for any reason.
        `labels`: each split's rows by label.
        `offers`: what `data.offers` made.
        `made_pairs`: what was made of queries and titles, if anything: see `add_made_pairs`.

    Raises:
      DataError: input that cannot be used; `rejected.jsonl` is written all the same.
    """
    work = out / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for left in out.glob(".rejected.jsonl.*.tmp"):
        left.unlink()
    try:
        made: dict[str, Any] = {}
        with Rejects(out / "rejected.jsonl", data.max_rejected) as rejects:
            if data.offers.files:
                data, made = make(data, work / "made", rejects)
            stats = {**_write(data, work, _Reader(data, rejects, progress), extra_unlabelled), "offers": made}
        write_json(work / "task.json", Task.from_config(data).to_json())
        write_json(work / "stats.json", stats)
        (out / "stats.json").unlink(missing_ok=True)  # a folder that has it is whole
        for name in (*SPLITS, "transfer"):
            shutil.rmtree(out / name, ignore_errors=True)
            (work / name).rename(out / name)
        for name in ("task.json", "stats.json"):
            (work / name).replace(out / name)
        sync(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return stats


class _Reader:
    """Calls `read_examples` with a progress bar."""

    def __init__(self, data: DataConfig, rejects: Rejects, progress: bool) -> None:
        self.data = data
        self.rejects = rejects
        self.progress = progress

    def read(self, name: str, patterns: Sequence[str], **options: Any) -> Iterator[pa.RecordBatch]:
        size, count = sum(path.stat().st_size for path in expand(patterns)), 0
        with tqdm(total=size, desc=f"read {name}", unit="B", unit_scale=True, disable=not self.progress) as bar:
            options = {"rejects": self.rejects, "progress": lambda more: bar.update(more) and None, **options}
            for batch in read_examples(patterns, self.data, **options):
                count += batch.num_rows
                bar.set_postfix_str(f"{count:,} rows", refresh=False)
                yield batch


def _write(
    data: DataConfig, work: Path, reader: _Reader, extra_unlabelled: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    """Writes the four tables into `work`; returns the counts."""
    held = HeldOut()
    left_out = _spool(data, work, reader)
    labels = {name: _split(data, work, name, held, left_out) for name in ("test", "valid", "train")}
    for name in SPLITS:
        check_split(data, work, name, labels[name], left_out)

    transfer = TransferSet(work / "transfer", data, held)
    for batch in tables.iter_batches(work / "train"):
        transfer.add_labelled(batch)
    labelled = transfer.rows
    if data.unlabelled:
        options = {"columns": data.unlabelled_fields or None, "limit": data.max_unlabelled}
        for batch in reader.read("unlabelled", data.unlabelled, labelled=False, **options):
            transfer.add_unlabelled(batch)
    for patterns in extra_unlabelled:
        for batch in reader.read("scored", patterns, labelled=False):
            transfer.add_scored(batch)
    given = transfer.rows
    made: dict[str, Any] = {}
    if data.makes_pairs:
        made = add_made_pairs(transfer, data, work, reader.rejects, reader.progress)
    real = transfer.rows
    if data.augment.copies:
        transfer.augment(MASK, reader.progress, given)
    if data.augment.recombined:
        transfer.recombine(given, reader.progress)
    if data.augment.negated and data.has_negations:
        transfer.negate(tables.read_table(work / "train"))
    transfer.close()

    leaked = {"labelled": left_out["leaked"], "unlabelled": transfer.left_out["leaked"]}
    left_out.update(transfer.left_out)
    return {
        **{name: labels[name].total() for name in SPLITS},
        "transfer": transfer.rows,
        "unlabelled": real - labelled,
        "augmented": transfer.rows - real,
        "rejected": reader.rejects.count,
        "rejected_by_reason": dict(sorted(reader.rejects.reasons.items())),
        "dialects": {path: how for path, how in reader.rejects.dialects.items() if work not in Path(path).parents},
        **{reason: left_out[reason] for reason in LEFT_OUT},
        "leaked_from": leaked,
        "labels": {name: count_by_name(labels[name], data.classes) for name in SPLITS},
        **({"made_pairs": made} if made else {}),
    }


def _spool(data: DataConfig, work: Path, reader: _Reader) -> Counter[str]:
    """Copies the labelled files' rows into a table per split; counts the rows that belong to no split."""
    if not data.train:
        raise DataError("data.train is empty; it names the files with labelled rows")
    torn: Counter[str] = Counter()
    cutter = PhraseCutter(data, _texts(data)) if data.phrases else Cutter(data)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(tables.ShardWriter(work / "spool" / name, schema(data))) for name in SPLITS
        }
        for name in SPLITS:
            patterns: tuple[str, ...] = getattr(data, name)
            for batch in reader.read(name, patterns, labelled=True) if patterns else ():
                if name == "train":
                    cuts = np.array([cutter.split(*row) for row in text_rows(batch, data.fields)])
                    for split in SPLITS:
                        writers[split].write(batch.filter(pa.array(cuts == split)))
                    torn[TORN] += int((cuts == TORN).sum())
                else:
                    writers[name].write(batch)
    return torn


def _texts(data: DataConfig) -> Iterator[str]:
    """Yields the texts of the training files."""
    for batch in read_examples(data.train, data, labelled=True, rejects=Rejects(None, 1)):
        yield from batch.column(data.fields[0]).to_pylist()


def _split(data: DataConfig, work: Path, name: str, held: HeldOut, left_out: Counter[str]) -> Counter[float]:
    """Writes a split without the rows that would leak an earlier one (test, valid, train); counts its labels."""
    labels: Counter[float] = Counter()
    with tables.ShardWriter(work / name, schema(data)) as writer:
        for batch in tables.iter_batches(work / "spool" / name):
            writer.write(held.keep(batch, data.fields, left_out))
    shutil.rmtree(work / "spool" / name)
    for batch in tables.iter_batches(work / name):
        labels.update(batch.column("label").to_pylist())
        if name != "train":
            held.add(name, text_rows(batch, data.fields))
    return labels
