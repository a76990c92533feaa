"""Turns the sample into fresh transfer data: labelled by the teacher, without repeats and without test text."""

import pprint
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfb2d.atomic import fingerprint_files, read_json, write_atomic
from tfb2d.config import LabelConfig, TeacherConfig
from tfb2d.data.checked_rows import read_texts
from tfb2d.data.files import expand, file_identity
from tfb2d.data.keys import text_key
from tfb2d.data.readers import Reading
from tfb2d.data.tables import ShardWriter, count_rows, logit_names, part_files, read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.outcomes import LogitsOutcome
from tfb2d.resume import bring_up, fingerprint, set_aside


@dataclass(frozen=True)
class SampledRow:
    """Holds a row of the sample."""

    texts: tuple[str, ...]
    scores: NDArray[np.float32]  # logged, [k]
    time: int  # seconds since 1970
    request: int  # index of the request in the log
    version: int  # of the model


def write_sample(folder: Path, task: Task, sample: Sequence[SampledRow]) -> list[int]:
    """Writes the sample's texts, each once, as a table that `tfb2d label` reads; returns each item's row in it."""
    row_of: dict[tuple[str, ...], int] = {}
    rows = [row_of.setdefault(item.texts, len(row_of)) for item in sample]
    columns = list(zip(*row_of, strict=True)) or [()] * len(task.fields)
    arrays = [pa.array(column, pa.string()) for column in columns]
    with _replacing(folder, pa.schema([(name, pa.string()) for name in task.fields])) as writer:
        writer.write(pa.record_batch(arrays, list(task.fields)))
    return rows


def relabel(
    sample: Path, task: Task, out: Path, teacher: Path | None, logits: Sequence[str], quoting: str, progress: bool
) -> NDArray[np.float32]:
    """Returns the teacher's logits of the sample's table, `[rows, k]`; NaN where the files of `logits` lack a text.

    `sample` is the folder of `write_sample`. Without a teacher's folder, `logits` are files with the task's fields and
    logits, made elsewhere (`TeacherConfig.logits`). `out` gets the labelled shards; a stopped labelling continues there.
    Raises ConfigError or DataError for no such teacher, a teacher of another task, or files that cannot be used.
    """
    rows = fingerprint_files(part_files(sample))
    if logits:
        from tfb2d.teachers.external import attach_logits

        def work(folder: Path) -> LogitsOutcome:
            counts = attach_logits(TeacherConfig(logits=tuple(logits)), task, sample, folder, Reading(quoting=quoting))
            return LogitsOutcome({"sample": counts["matched"]}, {"sample": counts["missing"]})

        read_as = [] if quoting == "auto" else [quoting]
        made_from = fingerprint("outside", rows, task.to_json(), file_identity(logits), *read_as)
    else:
        from tfb2d.teachers.label import label_folder
        from tfb2d.teachers.saved import read_about, teacher_identity

        assert teacher is not None
        other = Task.from_json(read_about(teacher)["task"])
        if (other.fields, other.kind, other.n_logits) != (task.fields, task.kind, task.n_logits):
            raise DataError(
                f"{teacher} is a teacher of {', '.join(other.fields)} ({other.kind}), the model of "
                f"{', '.join(task.fields)} ({task.kind})"
            )

        def work(folder: Path) -> LogitsOutcome:
            label_folder(teacher, sample, folder, LabelConfig(), progress, set_aside(folder))
            return LogitsOutcome({"sample": count_rows(folder)})

        made_from = fingerprint("teacher", rows, task.to_json(), teacher_identity(teacher))
    bring_up(out, made_from, work, LogitsOutcome)
    table = read_table(out, logit_names(task.n_logits))
    return np.stack([table.column(name).to_numpy() for name in table.column_names], 1).astype(np.float32)


def held_out(patterns: Sequence[str], fields: Sequence[str], quoting: str = "auto") -> set[str]:
    """Returns the keys of test texts, which must not be trained on."""
    return {text_key(*texts) for texts in read_texts(expand(patterns) if patterns else (), fields, quoting=quoting)}


def write_fresh(
    folder: Path,
    sample: Path,
    task: Task,
    logits: NDArray[np.float32],
    held_out_keys: set[str],
    aliases: Sequence[str] = (),
) -> dict[str, int]:
    """Writes `part-*.parquet` with the fields, also under their `aliases`, and `logit` (or `logit_0..k-1`).

    Leaves out rows without a logit, and texts that repeat an earlier row or a held-out text. Texts are compared up to case,
    punctuation and spacing (`text_key`). `sample` is the folder of `write_sample`, `logits` are what `relabel` returned.
    Returns `{"rows", "duplicates", "held_out", "unlabelled"}`.
    """
    left, seen, kept = Counter[str](), set[str](), []
    table = read_table(sample, task.fields)
    for row, texts in enumerate(zip(*(table.column(name).to_pylist() for name in task.fields), strict=True)):
        key = text_key(*texts)
        reason = "held_out" if key in held_out_keys else "duplicates" if key in seen else ""
        reason = reason or ("" if np.isfinite(logits[row]).all() else "unlabelled")
        seen.add(key)
        left[reason] += 1
        if not reason:
            kept.append(row)
    sources = dict(zip(task.fields, task.fields, strict=True))
    sources |= {name: field for name, field in zip(aliases, task.fields, strict=False) if name not in sources}
    columns = {name: table.column(source).take(pa.array(kept, pa.int64())) for name, source in sources.items()}
    columns |= dict(zip(logit_names(task.n_logits), map(pa.array, logits[kept].T), strict=True))
    whole = pa.table(columns)
    with _replacing(folder, whole.schema) as writer:
        for batch in whole.to_batches():
            writer.write(batch)
    return {"rows": len(kept), **{name: left[name] for name in ("duplicates", "held_out", "unlabelled")}}


def write_recipe(out: Path, run: Path | None, teacher: Path | None, fresh: Path, task: Task) -> str:
    """Writes `next.py`, the run's recipe with the fresh rows in its transfer set; returns the command that trains it.

    Without a run it writes no recipe, and the command has a placeholder for the labelled rows.
    """
    name = "pairs" if len(task.fields) == 2 else "text"
    if run is None:
        plain = task.fields in (("text",), ("query", "title"))
        fields = "" if plain else f" --config.data.fields={','.join(task.fields)}"
        unlabelled = f"--config.data.unlabelled={shlex.quote(str(fresh))}"
        command = f"tfb2d train --config={name} --workdir=runs/next --config.data.train=LABELLED"
        return f"{command}{fields} {unlabelled}"
    settings = read_json(run / "config.json")
    settings["data"]["unlabelled"] = [*settings["data"]["unlabelled"], str(fresh)]
    if teacher is not None:
        for key, settings_of_teacher in settings["teachers"].items():
            if settings_of_teacher["preset"] and (run / "teachers" / key / "teacher.json").exists():
                settings_of_teacher["preset"] = str(run / "teachers" / key)  # used without further fine-tuning
    settings["export"]["name"] = settings["export"]["name"] or settings["name"]
    named = run if run.name not in ("", "..") else run.resolve()
    workdir = named.with_name(f"{named.name}-next")
    recipe = out / "next.py"
    command = f"tfb2d train --config={shlex.quote(str(recipe))} --workdir={shlex.quote(str(workdir))}"
    write_atomic(recipe, _RECIPE.format(run=run, command=command, settings=pprint.pformat(settings, sort_dicts=False)))
    return command


@contextmanager
def _replacing(folder: Path, schema: pa.Schema) -> Iterator[ShardWriter]:
    """Writes a table beside its folder; when it is whole, its parts replace those in the folder."""
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    with ShardWriter(beside, schema) as writer:
        yield writer
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.parquet"):  # no other file: the folder may hold the user's own
        old.unlink()
    for part in part_files(beside):
        part.replace(folder / part.name)
    beside.rmdir()


_RECIPE = '''"""{run} again, with texts of its request log in the transfer set; written by tfb2d monitor.

  {command}
"""

from ml_collections import ConfigDict

from tfb2d.config import Config

SETTINGS = {settings}


def get_config() -> ConfigDict:
    """Returns the recipe."""
    return Config.from_dict(SETTINGS).to_dict()
'''
