"""The stage `data`: turns files into checked splits and the transfer set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfb2d.atomic import fingerprint_files
from tfb2d.config import Config, ConfigError
from tfb2d.config.mapping import changed_settings
from tfb2d.data.files import file_identity
from tfb2d.data.prepare import prepare
from tfb2d.data.splits import SPLITS
from tfb2d.data.tables import part_files
from tfb2d.outcomes import DataOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

VERSION = 3  # of the code: raise it when the same files and settings give other tables


def prepare_data(run: Run, config: Config) -> DataOutcome:
    """Reads, checks and splits the rows into `data/`; see `prepare`."""
    data = config.data
    if not any(teacher.scores_new_texts for teacher in config.teachers.values()):  # nothing would score made pairs
        data = replace(data, retrieve=replace(data.retrieve, labelled=False))
    stats = prepare(data, run.data, outside_scores(config), progress=run.progress)
    return DataOutcome.from_stats(stats)


def outside_scores(config: Config) -> list[tuple[str, ...]]:
    """Returns the file sets of scores from outside, which stand for teachers; their rows join the transfer set."""
    return [teacher.logits for teacher in config.teachers.values() if teacher.logits]


def data_settings(config: Config) -> list[Any]:
    """Returns what the tables depend on: settings, and the files with their sizes and times.

    Raises ConfigError where no labelled rows are named.
    """
    data, scores = config.data, outside_scores(config)
    if not (data.train or data.offers.files):
        raise ConfigError("data.train names no file; a run needs labelled rows")
    files = [*data.train, *data.valid, *data.test, *data.unlabelled, *data.offers.files, *data.offers.titles]
    files += [*data.queries, *data.titles]
    return [changed_settings(data), scores, file_identity([*files, *sum(scores, ())])]


def data_contents(folder: Path, outcome: DataOutcome) -> dict[str, str]:
    """Returns digests of what other stages read: "" of all, "labelled" of the splits without the transfer set.

    Labelling depends on these and not on the files' times, which change when files are copied to another machine.
    """
    task = folder / "task.json"
    labelled = fingerprint_files([task, *(part for split in SPLITS for part in part_files(folder / split))])
    transfer = fingerprint_files(part_files(folder / "transfer"))
    return {"": fingerprint(outcome.to_json(), labelled, transfer), "labelled": labelled}
