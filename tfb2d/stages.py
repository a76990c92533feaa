"""The stages of a run, in order: which function does the work, what it reads, and what its outcome depends on.

Each stage's function is in the package whose work it does; `pipeline.py` runs them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tfb2d import word_vectors
from tfb2d.compress import stage as compress
from tfb2d.config import Config, adapt_settings
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
from tfb2d.runs import Run
from tfb2d.serving import stage as serving
from tfb2d.students import stage as students
from tfb2d.teachers import stage as teachers
from tfb2d.twin import stage as twins

READ_ALIKE = ("max_chars", "quoting")  # settings of the data stage by which score files are read, too
LABELLED = ":labelled"  # after a stage's name: only what it made of the labelled rows is read


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str  # also of its folder below the run folder
    work: Callable[[Run, Config], Outcome]  # continues from what a stopped run left in that folder
    kind: type[Outcome]
    reads: tuple[str, ...]  # stages whose outcome it reads, or only the part that belongs to labelled rows (LABELLED)
    version: int  # of the stage's code, raised by hand when its outcome changes
    settings: Any = None  # all else that the outcome depends on, as JSON can hold it
    contents: Callable[[Path, Any], Mapping[str, str]] | None = None  # see `resume.bring_up`


def stages(config: Config) -> list[Stage]:
    """Returns the stages of a run, in order."""
    files = data.data_settings(config)
    listed = [Stage("data", data.prepare_data, DataOutcome, (), data.VERSION, files, data.data_contents)]
    for name in config.teachers:
        listed += _teacher_stages(config, name)
    if "student" in config.models:
        listed += _student_stages(config)
    if "twin" in config.models:
        listed += _twin_stages(config)
    before = tuple(stage.name for stage in listed)
    report = partial(evaluation.write_run_report, stages=before, load_teacher=teachers.load_scorer)
    settings = changed_settings(config.report)
    return [*listed, Stage("report", report, ReportOutcome, before, evaluation.VERSION, settings)]


def _student_stages(config: Config) -> list[Stage]:
    """Returns the stages that make, compress and export the student."""
    listed: list[Stage] = []
    hashing = [config.student.max_tokens, students.HASH_SPEC, *config.student.affixes]
    spelling = ["spelling"] * config.student.spelling
    training = [changed_settings(config.student), changed_settings(config.training), students.HASH_SPEC]
    training += _chosen_by(config) if config.training.patience else []
    hash_work, hash_version = students.hash_splits, students.ROWS_VERSION
    reads: tuple[str, ...] = ("data", "rows", *(f"logits/{name}" for name in config.teachers))
    if (word_teacher := students.word_teacher(config)) is not None:
        sources = (f"teachers/{word_teacher}", "data")
        listed.append(Stage("words", word_vectors.take_words, WordsOutcome, sources, word_vectors.VERSION, hashing))
        reads += ("words",)
    listed.append(
        Stage("rows", hash_work, RowsOutcome, ("data",), hash_version, [*hashing, *spelling], students.hashed_contents)
    )
    settings = [*training, changed_settings(config.distill)]
    listed.append(Stage("student", students.train, StudentOutcome, reads, students.TRAIN_VERSION, settings))
    if config.report.labels_only:
        parts = (f"data{LABELLED}", f"rows{LABELLED}")
        work = students.train_labels_only
        listed.append(Stage("labels_only", work, StudentOutcome, parts, students.TRAIN_VERSION, training))
    small = changed_settings(config.compress)
    listed.append(Stage("compress", compress.compress_student, CompressOutcome, ("student",), compress.VERSION, small))
    return [*listed, _export(config, "export", serving.export_student, ("compress",), serving.VERSION)]


def _export(
    config: Config, name: str, work: Callable[[Run, Config], Outcome], reads: tuple[str, ...], version: int, *more: Any
) -> Stage:
    """Returns a stage that exports a model."""
    settings = [changed_settings(config.export), config.model_name, *more]
    return Stage(name, work, ExportOutcome, reads, version, settings, serving.export_contents)


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
    return [
        *listed,
        Stage("twin", twins.train_twin, TwinOutcome, reads, twins.VERSION, settings),
        _export(config, "export_twin", twins.export_twin, ("data", "twin"), twins.EXPORT_VERSION, twin.weights),
    ]


def _teacher_stages(config: Config, name: str) -> list[Stage]:
    """Returns the stages that make one teacher and take its logits."""
    teacher = config.teachers[name]
    labelling = [changed_settings(teacher), changed_settings(config.label)]
    label = partial(teachers.label, name=name)
    if teacher.logits:  # the scores themselves, which no table of the data stage holds
        reading = {name: value for name, value in changed_settings(config.data).items() if name in READ_ALIKE}
        scores = [*labelling, file_identity(teacher.logits), *([reading] if reading else [])]
        return [Stage(f"logits/{name}", label, LogitsOutcome, ("data",), teachers.LABEL_VERSION, scores)]
    if teacher.students:
        models = [*labelling, [folder_identity(model) for model in teacher.students]]
        return [Stage(f"logits/{name}", label, LogitsOutcome, ("data",), teachers.LABEL_VERSION, models)]
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
    sources = (f"teachers/{name}", "data", *(f"logits/{other}" for other in teachers.teachers_before(config, name)))
    return [
        *listed,
        Stage(f"teachers/{name}", fine_tune, TeacherOutcome, reads, teachers.FINE_TUNE_VERSION, settings),
        Stage(f"logits/{name}", label, LogitsOutcome, sources, teachers.LABEL_VERSION, labelling),
    ]


def _chosen_by(config: Config) -> list[str]:
    """Returns the measure that says which weights are kept, where the user chose one."""
    return [config.report.headline] if config.report.headline else []
