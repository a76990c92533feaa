"""The stages `cross_pairs`, `twin_transformer`, `twin` and `export_twin`: from the teachers' scores to a SavedModel."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d import __version__
from tfb2d.atomic import read_json
from tfb2d.config import Config
from tfb2d.config.mapping import changed_settings
from tfb2d.config.twin import SCRATCH, TwinConfig
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.distill.targets import fit
from tfb2d.errors import DataError
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ExportOutcome, LogitsOutcome, Stack, TwinOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

if TYPE_CHECKING:
    from tfb2d.twin.encoders import Source
    from tfb2d.twin.pairs import Pairs
    from tfb2d.twin.training import PairTraining, Validation

VERSION = 1  # of the code: raise it when the same rows and settings give another twin
CROSS_VERSION = 1  # ... other cross pairs
EXPORT_VERSION = 2  # ... another SavedModel of the same twin
SUFFIX = "_twin"  # after the model's name, beside the student's


def train_twin(run: Run, config: Config) -> TwinOutcome:
    """Trains the twin that is served; of the asymmetric kind, the look-up query tower of the finished transformer twin."""
    if config.twin.kind != "asymmetric":
        return _train_towers(run, config, config.twin, run.twin)
    from tfb2d.twin.look_up import LookUpTraining
    from tfb2d.twin.model import load_twin

    task = Task.from_config(config.data)
    pairs, stack = _training_pairs(run, config, task)
    valid = _validation(run, config, task)
    transformer = load_twin(run.twin_transformer, config.twin.mixed_precision)
    return _finish(LookUpTraining(transformer, pairs, valid, config.twin, run.twin), stack, run.progress)


def train_transformer(run: Run, config: Config) -> TwinOutcome:
    """Trains the transformer twin that the asymmetric one begins with."""
    return _train_towers(run, config, config.twin.symmetric(), run.twin_transformer)


def label_cross_pairs(run: Run, config: Config) -> LogitsOutcome:
    """Writes the teachers' logits of cross pairs, `in_batch_negatives` a query; see `twin/pairs.py`."""
    from tfb2d.twin.pairs import score_cross_pairs

    task, names = Task.from_config(config.data), list(config.teachers)
    outs = [run.cross_pairs(name) for name in names]
    count, seed = config.twin.in_batch_negatives, config.twin.seed
    folders = [run.teacher(name) for name in names]
    rows = score_cross_pairs(folders, outs, run.split("transfer"), task, count, seed, config.label, run.progress)
    return LogitsOutcome({"transfer": rows})


def export_twin(run: Run, config: Config) -> ExportOutcome:
    """Writes the next version of the twin below `export.folder`, unless the last version is this very one."""
    output = Path(config.export.folder) / (config.model_name + SUFFIX)
    version = _export(run.twin, output, run.split("transfer"), config.export.warmup_rows, config.twin.weights)
    return ExportOutcome(str(version), megabytes(version))


def export_folder(folder: Path, output: Path) -> tuple[Path, float]:
    """Writes a trained twin's folder as the next version of a model; returns the version's folder, and its size in MB.

    Where the folder belongs to a run, warm-up requests are rows of the run's transfer set. Raises DataError where the
    twin has no calibration, ConfigError where the folder holds no twin.
    """
    version = _export(folder, output, Run(folder.parent).split("transfer"))
    return version, megabytes(version)


def _export(folder: Path, output: Path, transfer: Path, warmup_rows: int = 32, weights: str = "") -> Path:
    from tfb2d.serving.version_folder import warmup_texts
    from tfb2d.twin.model import FILE, WEIGHTS, load_twin
    from tfb2d.twin.saved_model import export

    twin = load_twin(folder)
    about = read_json(folder / FILE)
    calibration = about.get("calibration")
    if not calibration:
        raise DataError(f"{folder / FILE} has no calibration; train the twin again")
    weights = weights or twin.config.weights
    scale, (bias,) = calibration["scale"], calibration["bias"]
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return export(
        twin,
        output.resolve(),
        scale=scale,
        bias=bias,
        warmup=warmup_texts(transfer, twin.task.fields, warmup_rows),
        fingerprint=fingerprint(digest, about, weights, __version__, EXPORT_VERSION),
        weights=weights,
        decision=about.get("decision"),
    )


def source_teacher(config: Config) -> str:
    """Returns the name of the teacher whose encoder or word pieces the towers take; "" where they take none."""
    if config.twin.preset not in ("", SCRATCH) or not config.twin.reads_word_pieces:
        return ""
    return next(name for name, teacher in config.teachers.items() if teacher.preset)


def twin_settings(config: TwinConfig) -> dict[str, object]:
    """Returns the settings that training depends on."""
    return {name: value for name, value in changed_settings(config).items() if name != "weights"}


def _train_towers(run: Run, config: Config, settings: TwinConfig, out: Path) -> TwinOutcome:
    from tfb2d.twin.model import new_twin
    from tfb2d.twin.training import TwinTraining

    task = Task.from_config(config.data)
    pairs, stack = _training_pairs(run, config, task)
    valid = _validation(run, config, task)
    twin = new_twin(settings, task, _source(run, config, settings))
    return _finish(TwinTraining(twin, pairs, valid, settings, out), stack, run.progress)


def _finish(training: "PairTraining", stack: Stack, progress: bool) -> TwinOutcome:
    """Trains to the end, calibrates on validation, saves the twin."""
    from tfb2d.evaluation.calibration import calibrate
    from tfb2d.evaluation.headline import decide

    state, twin = training.train(progress), training.twin
    labels, logits = training.valid.pairs.labels.astype(np.float64), training.valid_logits()[:, 0]
    calibration = calibrate(twin.task, labels, logits)
    outcome = TwinOutcome(
        rows=len(training.pairs),
        steps=state.step,
        seconds=round(state.seconds, 1),
        calibration=calibration,
        history=tuple(state.history),
        stack=stack,
        decision=decide(twin.task, labels, calibration.apply(logits)),
    )
    written = outcome.to_json()
    twin.save(training.out, {name: written[name] for name in ("calibration", "decision")})
    training.tidy()
    return outcome


def _training_pairs(run: Run, config: Config, task: Task) -> tuple["Pairs", Stack]:
    from tfb2d.twin.pairs import training_pairs

    labels = read_table(run.split("valid"), ["label"]).column("label").to_numpy().astype(np.float64)
    stack = fit(config.distill, [run.logits(name, "valid") for name in config.teachers], task, labels)
    logits = [run.logits(name) for name in config.teachers]
    cross = [run.cross_pairs(name) for name in config.teachers] if config.twin.in_batch_negatives else []
    return training_pairs(run.split("transfer"), logits, task, stack, config.distill, cross), stack


def _validation(run: Run, config: Config, task: Task) -> "Validation":
    from tfb2d.evaluation.headline import headline_on
    from tfb2d.twin.pairs import labelled_pairs
    from tfb2d.twin.training import Validation

    table = run.split("valid")
    return Validation(labelled_pairs(table, task), headline_on(task, read_table(table), config.report.headline))


def _source(run: Run, config: Config, settings: TwinConfig) -> "Source | None":
    from tfb2d.teachers.saved import MODEL
    from tfb2d.twin.encoders import read_source

    if not settings.reads_word_pieces:
        return None
    name = source_teacher(config)
    preset = str(run.teacher(name) / MODEL) if name else settings.preset
    return read_source(preset, max(settings.query_length, settings.title_length))
