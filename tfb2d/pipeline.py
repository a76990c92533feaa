"""The stages of a run, in order: which function does the work, what it reads, and what its outcome depends on.

Only commands and `tfb2d.distil` import this module. Each stage's function stands in the room whose work it does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from absl import logging

from tfb2d import word_vectors
from tfb2d.compress import stage as compress
from tfb2d.config import Config, ConfigError, adapt_settings
from tfb2d.config.mapping import changed_settings
from tfb2d.config.twin import SCRATCH
from tfb2d.data import stage as data
from tfb2d.data.files import file_identity, folder_identity
from tfb2d.evaluation import stage as evaluation
from tfb2d.outcomes import (
    AdaptOutcome,
    CompressOutcome,
    DataOutcome,
    ExportOutcome,
    LogitsOutcome,
    Outcome,
    ReportOutcome,
    RowsOutcome,
    StudentOutcome,
    TeacherOutcome,
    TwinOutcome,
    WordsOutcome,
)
from tfb2d.resume import bring_up, fingerprint, remove
from tfb2d.runs import Run
from tfb2d.serving import stage as serving
from tfb2d.students import stage as students
from tfb2d.teachers import stage as teachers
from tfb2d.twin import export as twin_export
from tfb2d.twin import stage as twins

LABELLED = ":labelled"  # behind a stage's name: only what it made of the labelled rows is read


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
      name: of the stage, and of its folder below the run folder.
      work: does the work, going on from what a stopped run left in that folder.
      kind: type of its outcome.
      reads: the stages whose outcome it reads, perhaps only the part that belongs to labelled rows (LABELLED).
      version: of the stage's code, raised by hand when its outcome changes.
      settings: all else that the outcome depends on, as JSON can hold it.
      contents: see `resume.bring_up`.
    """

    name: str
    work: Callable[[Run, Config], Outcome]
    kind: type[Outcome]
    reads: tuple[str, ...]
    version: int
    settings: Any = None
    contents: Callable[[Path, Any], Mapping[str, str]] | None = None


def run(run: Run, config: Config, until: str = "", force: Sequence[str] = ()) -> Outcome:
    """Brings all stages up to `until` up to date: what is done is skipped, what was stopped goes on.

    Args:
      run: the run folder.
      config: what to do.
      until: name of the last stage; "" takes all.
      force: names of stages to do anew, and with them all that read them.

    Returns:
      The last stage's outcome; a `ReportOutcome` where `until` is "".

    Raises:
      ConfigError: there is no stage of a name in `until` or `force`, or settings that cannot work.
      RunBusyError: another process is at work in the run folder.
      RunError: the folder holds something else, or a run of tfb2d 0.1.
      DataError: input that cannot be used.
      FloatingPointError: training diverged.
    """
    todo = stages(config)
    names = [stage.name for stage in todo]
    for name in (*force, *([until] if until else [])):
        if name not in names:
            raise ConfigError(f"there is no stage {name!r}; this run has {', '.join(names)}")
    last = names.index(until or names[-1])
    with run.locked():
        run.check_version()
        run.write_config(config)
        _forget(run, todo, force)
        for stage in todo[: last + 1]:
            outcome = bring_up(
                run.folder / stage.name,
                _fingerprint(run, stage),
                lambda _, stage=stage: stage.work(run, config),  # type: ignore[misc]
                stage.kind,
                stage.contents,
                stage.name,
            )
    return outcome


def follow(run: Run, config: Config, seconds: float = 2.0) -> None:
    """Helps the chief, which runs the stages, to train the student; returns once it is trained.

    Workers that train along wait until the chief has come to the stage `student` with the same settings and inputs.
    Parameter servers and their workers do what the chief sends them.

    Args:
      run: the chief's run folder, which this process can read.
      config: as the chief's.
      seconds: between two looks at the folder.
    """
    (stage,) = (stage for stage in stages(config) if stage.name == "student")
    logging.info("student: waits for the chief in %s", run.folder)
    trains = config.training.strategy == "multi_worker"
    server = None if trains else students.start_server()  # lives as long as this variable
    while True:
        record = run.record(stage.name)
        read = [name.partition(":")[0] for name in stage.reads]
        if record is not None and all(map(run.finished, read)) and record.fingerprint == _fingerprint(run, stage):
            if record.finished:
                break
            if trains:
                return students.train_along(run, config)
        time.sleep(seconds)
    del server


def stages(config: Config) -> list[Stage]:
    """Returns the stages of a run, in order."""
    listed = [
        Stage(
            "data",
            data.prepare_data,
            DataOutcome,
            (),
            data.VERSION,
            data.data_settings(config),
            data.data_contents,
        )
    ]
    for name in config.teachers:
        listed += _teacher_stages(config, name)
    if "student" in config.models:
        listed += _student_stages(config)
    if "twin" in config.models:
        listed += _twin_stages(config)
    before = tuple(stage.name for stage in listed)
    report = partial(evaluation.write_run_report, stages=before, load_teacher=teachers.load_scorer)
    return [
        *listed,
        Stage("report", report, ReportOutcome, before, evaluation.VERSION, changed_settings(config.report)),
    ]


def _student_stages(config: Config) -> list[Stage]:
    """Returns the stages that make, compress and export the student."""
    listed: list[Stage] = []
    hashing = [config.student.max_tokens, students.HASH_SPEC, *config.student.affixes]
    training = [changed_settings(config.student), changed_settings(config.training), students.HASH_SPEC]
    training += _chosen_by(config) if config.training.patience else []
    learnt = tuple(f"logits/{name}" for name in config.teachers)
    if (word_teacher := students.word_teacher(config)) is not None:
        reads = (f"teachers/{word_teacher}", "data")
        listed.append(Stage("words", word_vectors.take_words, WordsOutcome, reads, word_vectors.VERSION, hashing))
        learnt += ("words",)
    listed += [
        Stage(
            "rows",
            students.hash_splits,
            RowsOutcome,
            ("data",),
            students.ROWS_VERSION,
            hashing,
            students.hashed_contents,
        ),
        Stage(
            "student",
            students.train,
            StudentOutcome,
            ("data", "rows", *learnt),
            students.TRAIN_VERSION,
            [*training, changed_settings(config.distill)],
        ),
    ]
    if config.report.labels_only:
        reads = (f"data{LABELLED}", f"rows{LABELLED}")
        listed.append(
            Stage("labels_only", students.train_labels_only, StudentOutcome, reads, students.TRAIN_VERSION, training)
        )
    return [
        *listed,
        Stage(
            "compress",
            compress.compress_student,
            CompressOutcome,
            ("student",),
            compress.VERSION,
            changed_settings(config.compress),
        ),
        Stage(
            "export",
            serving.export_student,
            ExportOutcome,
            ("compress",),
            serving.VERSION,
            [changed_settings(config.export), config.model_name],
            serving.export_contents,
        ),
    ]


def _twin_stages(config: Config) -> list[Stage]:
    """Returns the stages that make and export the twin."""
    twin = config.twin
    reads: tuple[str, ...] = ("data", *(f"logits/{name}" for name in config.teachers))
    if teacher := twins.source_teacher(config):
        reads += (f"teachers/{teacher}",)
    preset = folder_identity(twin.preset) if twin.preset not in ("", SCRATCH) else []
    listed = []
    if twin.in_batch_negatives:
        sources = ("data", *(f"teachers/{name}" for name in config.teachers))
        sampling = [twin.in_batch_negatives, twin.seed, changed_settings(config.label)]
        work = twins.label_cross_pairs
        listed.append(Stage("cross_pairs", work, LogitsOutcome, sources, twins.CROSS_VERSION, sampling))
        reads += ("cross_pairs",)
    if twin.kind == "asymmetric":
        settings = [twins.twin_settings(twin.symmetric()), changed_settings(config.distill), preset]
        listed.append(Stage("twin_transformer", twins.train_transformer, TwinOutcome, reads, twins.VERSION, settings))
        reads += ("twin_transformer",)
    settings = [twins.twin_settings(twin), changed_settings(config.distill), preset]
    exporting = [changed_settings(config.export), config.model_name, twin.weights]
    return [
        *listed,
        Stage("twin", twins.train_twin, TwinOutcome, reads, twins.VERSION, settings),
        Stage(
            "export_twin",
            twin_export.export_twin,
            ExportOutcome,
            ("data", "twin"),
            twin_export.VERSION,
            exporting,
            serving.export_contents,
        ),
    ]


def _teacher_stages(config: Config, name: str) -> list[Stage]:
    """Returns the stages that make one teacher and take its logits."""
    teacher = config.teachers[name]
    labelling = [changed_settings(teacher), changed_settings(config.label)]
    label = partial(teachers.label, name=name)
    if teacher.logits:  # the scores themselves, which no table of the data stage holds
        scores = [*labelling, file_identity(teacher.logits)]
        return [Stage(f"logits/{name}", label, LogitsOutcome, ("data",), teachers.LABEL_VERSION, scores)]
    listed = []
    preset = folder_identity(teacher.preset)
    reads: tuple[str, ...] = (f"data{LABELLED}",)  # more unlabelled text leaves a teacher as it is
    if (adapted := teachers.adapted_as(config, name)) is not None:
        reads += (f"adapted/{adapted}",)
    if adapted == name:
        adapt = partial(teachers.adapt_encoder, name=name)
        settings = [adapt_settings(teacher), preset]
        listed.append(Stage(f"adapted/{name}", adapt, AdaptOutcome, ("data",), teachers.ADAPT_VERSION, settings))
    fine_tune = partial(teachers.fine_tune_teacher, name=name)
    settings = [changed_settings(teacher), preset, *_chosen_by(config)]
    return [
        *listed,
        Stage(f"teachers/{name}", fine_tune, TeacherOutcome, reads, teachers.FINE_TUNE_VERSION, settings),
        Stage(
            f"logits/{name}",
            label,
            LogitsOutcome,
            (f"teachers/{name}", "data"),
            teachers.LABEL_VERSION,
            labelling,
        ),
    ]


def _chosen_by(config: Config) -> list[str]:
    """Returns the measure that says which weights are kept, where the user chose one."""
    return [config.report.headline] if config.report.headline else []


def _fingerprint(run: Run, stage: Stage) -> str:
    """Returns what a stage's outcome is known by; the stages that it reads are finished."""
    return fingerprint(stage.name, stage.version, stage.settings, [_identity(run, name) for name in stage.reads])


def _identity(run: Run, name: str) -> str:
    """Returns what stands for a finished stage, or a part of it, in the fingerprints of its readers."""
    stage, _, part = name.partition(":")
    record = run.record(stage)
    assert record is not None  # stages are listed behind those that they read
    return record.identity(part)


def _forget(run: Run, todo: Sequence[Stage], names: Sequence[str]) -> None:
    """Deletes the outcomes of some stages, and of those that read them, so that a stopped run goes on with them all."""
    gone = set(names)
    for stage in todo:
        if gone & {stage.name, *(name.partition(":")[0] for name in stage.reads)}:
            gone.add(stage.name)
    for stage in reversed(todo):
        if stage.name in gone:
            remove(run.folder / stage.name)
