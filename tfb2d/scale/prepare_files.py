"""Prepares a transfer set: files in, distinct rows out, shuffled, without what leaks held-out texts."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfb2d.atomic import atomic_path, read_json, write_json
from tfb2d.config.checks import require
from tfb2d.config.mapping import changed_settings
from tfb2d.data.files import expand, file_identity
from tfb2d.data.readers import columns_of
from tfb2d.errors import DataError, RunError
from tfb2d.outcomes import Outcome
from tfb2d.resume import CHECKPOINTS, bring_up, fingerprint, read_record
from tfb2d.runs import beside, locked
from tfb2d.scale.object_store import bring_here
from tfb2d.scale.passes import Counts, PreparePass
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.ray_actors import run_on_actors
from tfb2d.scale.ray_cluster import connected

VERSION = 2  # of the code: raise it when the same files and settings give other rows
MANIFEST = "_manifest.json"
LEFT_OUT = ("rejected", "leaked", "group_leaked", "near_leaked", "duplicates", "near_duplicates")


@dataclass(frozen=True)
class PrepareOutcome(Outcome):
    """Counts the rows that were read; all but `rows` and `shards` sum up to it."""

    rows: int
    rejected: int  # that could not be used
    # leaked, group_leaked, near_leaked: left out, see `HeldOut.leak`; near ones also by similarity
    leaked: int
    group_leaked: int
    near_leaked: int
    duplicates: int  # left out, because another row has the same text (`data.keys.text_key`)
    near_duplicates: int  # left out, because an earlier row is near
    kept: int
    shards: int


def prepare_files(
    inputs: Sequence[str], held_out: Sequence[str], out: Path, config: PrepareConfig, progress: bool = True
) -> PrepareOutcome:
    """Writes the distinct rows of files, shuffled, without held-out texts. What was stopped is resumed.

    The output depends on the rows, the settings and the seed: not on how the input is cut into files, nor on the engine.

    Args:
      inputs: paths, globs, folders, `pypi:` resources, and files of object stores (`scale.object_store`).
      held_out: the same of the rows that must not leak, which have the same text columns. They are held in memory.
      out: gets `part-*.parquet` with `config.columns` as text, and `_manifest.json`. Rows that cannot be used go to
        `<out>.rejected.jsonl`.

    Raises:
      RunBusyError: another process prepares into `out`.
      RunError: `out` holds something else, or rows of other files or settings.
      DataError: a file that cannot be used, too many bad rows, or no row left.
      ConfigError: a group without held-out rows.
      ModuleNotFoundError: datasketch is not installed, and near texts are looked for.
    """
    if config.near:
        import_module("datasketch")  # where it is not installed this ends here, and not after the first pass
    copies = beside(out, "inputs")
    with locked(out, beside(out, "lock")):
        here, held_here = bring_here(inputs, copies / "rows"), bring_here(held_out, copies / "held_out")
        files, held = expand(here), expand(held_here)
        config = _with_columns_there_are(files, held, config)
        made_from = fingerprint(VERSION, changed_settings(config), file_identity(here), file_identity(held_here))
        if (record := read_record(out)) is not None and record.fingerprint != made_from:
            raise RunError(
                f"{out} holds rows that were made of other files or settings; name another folder, or delete it"
            )

        def work(folder: Path) -> PrepareOutcome:
            with connected(config.ray) if config.engine == "ray" else nullcontext():  # once for all passes
                return _Driver(files, held, folder, config, progress).run()

        outcome = bring_up(out, made_from, work, PrepareOutcome)
        shutil.rmtree(copies, ignore_errors=True)
        return outcome


def _with_columns_there_are(files: Sequence[Path], held: Sequence[Path], config: PrepareConfig) -> PrepareConfig:
    """Checks that each file has the columns that it must have; leaves out of `keep` what no file has."""
    has_held = not config.group or bool(held)
    require(has_held, f"group={config.group} is compared with held-out rows; name some (held_out)")
    needed = (*config.fields, *[config.group] * bool(config.group))
    present: set[str] = set()
    for path in (*files, *held):
        columns = columns_of(path, config.quoting)
        if missing := set(needed) - set(columns):
            raise DataError(f"{path}: there is no column {min(missing)!r}; it has {', '.join(columns)}")
        if path not in held:
            present |= set(columns)
    return replace(config, keep=tuple(column for column in config.keep if column in present))


class _Driver:
    """Runs the passes in turn, by either engine."""

    def __init__(
        self, files: Sequence[Path], held: Sequence[Path], out: Path, config: PrepareConfig, progress: bool
    ) -> None:
        self._out, self._work, self._config, self._progress = out, (out / CHECKPOINTS).absolute(), config, progress
        rows, leaks = (tuple(str(path.absolute()) for path in paths) for paths in (files, held))
        self._job = PreparePass("", str(self._work), str(out.absolute()), rows, leaks, config, 0)

    def run(self) -> PrepareOutcome:
        """Returns the counts of all passes."""
        self._work.mkdir(exist_ok=True)
        read = self._pass("split", len(self._job.files))
        counts: Counter[str] = Counter()
        for each in read:
            counts.update({name: value for name, value in each.items() if isinstance(value, int)})
        self._check_rejected(counts["rows"], [each["reasons"] for each in read])
        merged = self._pass("merge", self._parts(read), len(read), ["split"])
        left = merged
        if self._config.near:
            near = self._pass("bands", self._parts(merged), len(merged), ["bands"])
            left = self._pass("drop", len(merged), len(near), ["near"])
        for each in (*merged, *(left if left is not merged else ())):
            counts.update({name: each.get(name, 0) for name in ("near_leaked", "duplicates", "near_duplicates")})
        rows = tuple(each["kept"] for each in left)
        if not sum(rows):
            raise DataError(f"no row is left of {counts['rows'] + counts['rejected']:,}: {_summary(counts)}")
        shards = -(-sum(rows) // self._config.rows_per_shard)
        self._pass("shards", shards, part_rows=rows)
        left_out = {name: counts[name] for name in LEFT_OUT}
        outcome = PrepareOutcome(counts["rows"] + counts["rejected"], **left_out, kept=sum(rows), shards=shards)
        moved = sum(each["bytes"] for each in (*read, *merged))  # between passes: written once, read once
        settings = {"fields": self._config.fields, "near": self._config.near, "seed": self._config.seed, "moved": moved}
        write_json(self._out / MANIFEST, outcome.to_json() | settings)
        return outcome

    def _pass(
        self, name: str, pieces: int, before: int = 0, reads: Iterable[str] = (), part_rows: tuple[int, ...] = ()
    ) -> list[Counts]:
        """Does the pieces of a pass that are missing; returns the counts of all.

        Files that the pass alone reads are deleted after it.
        """
        job = replace(self._job, name=name, pieces=pieces, before=before, part_rows=part_rows)
        done = [job.counts_path(piece) for piece in range(pieces)]
        todo = [piece for piece, path in enumerate(done) if not path.exists()]
        with tqdm(total=pieces, initial=pieces - len(todo), desc=name, disable=not self._progress, leave=False) as bar:
            for piece in self._work_on(job, todo):
                if not done[piece].exists():
                    raise DataError(
                        f"an actor wrote {done[piece]}, which is missing; all machines must share the folder"
                    )
                bar.update()
        for read in reads:
            for piece in range(before):
                job.rows_path(read, piece).unlink(missing_ok=True)
        return [read_json(path) for path in done]

    def _work_on(self, job: PreparePass, todo: Sequence[int]) -> Iterator[int]:
        if self._config.engine == "ray":
            yield from (piece for piece, _ in run_on_actors(job, todo, self._config.ray))
        elif todo:
            work: Callable[[int], Any] = job.start()
            for piece in todo:
                work(piece)
                yield piece

    def _check_rejected(self, rows: int, reasons: Sequence[dict[str, int]]) -> None:
        """Brings the lists of rejected rows together; stops where there are too many."""
        listed = self._out.with_name(f"{self._out.name}.rejected.jsonl")
        with atomic_path(listed) as path, path.open("wb") as whole:
            for piece in range(len(reasons)):
                with (self._work / "split" / f"{piece:05d}.rejected.jsonl").open("rb") as part:
                    shutil.copyfileobj(part, whole)
        by_reason = sum(map(Counter, reasons), Counter())
        rejected = by_reason.total()
        if rejected > self._config.max_rejected * (rows + rejected):
            counted = ", ".join(f"{count:,} {reason}" for reason, count in by_reason.most_common())
            raise DataError(
                f"{rejected:,} of {rows + rejected:,} rows cannot be used, more than max_rejected="
                f"{self._config.max_rejected:g} allows: {counted}; all of them are in {listed}"
            )
        if not rows + rejected:
            raise DataError(f"{', '.join(self._job.files)}: no rows")

    def _parts(self, counts: Sequence[Counts]) -> int:
        """Returns into how many parts to cut what a pass left."""
        return max(1, -(-sum(each["bytes"] for each in counts) // self._config.part_bytes))


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in LEFT_OUT if counts[name])
