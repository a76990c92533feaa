"""Writes a trained twin as a SavedModel that takes raw strings: the stage `export_twin`, and `tfb2d export`."""

import hashlib
from pathlib import Path

from tfb2d import __version__
from tfb2d.atomic import read_json
from tfb2d.config import Config
from tfb2d.errors import DataError
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ExportOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

VERSION = 2  # of the code: raise it when the same twin gives another SavedModel
SUFFIX = "_twin"  # behind the model's name: student and twin of a run lie side by side


def export_twin(run: Run, config: Config) -> ExportOutcome:
    """Writes the next version of the twin below `export.folder`, unless the last version is this very one."""
    output = Path(config.export.folder) / (config.model_name + SUFFIX)
    version = _export(run.twin, output, run.split("transfer"), config.export.warmup_rows, config.twin.weights)
    return ExportOutcome(str(version), megabytes(version))


def export_folder(folder: Path, output: Path) -> tuple[Path, float]:
    """Writes a trained twin's folder as the next version of a model.

    Args:
      folder: of `Twin.save`; where it belongs to a run, warm-up requests are rows of the run's transfer set.
      output: the model's folder.

    Returns:
      The version's folder, and its size in 10^6 bytes.

    Raises:
      DataError: the twin has no calibration.
      ConfigError: the folder holds no twin.
    """
    version = _export(folder, output, Run(folder.parent).split("transfer"))
    return version, megabytes(version)


def _export(folder: Path, output: Path, transfer: Path, warmup_rows: int = 32, weights: str = "") -> Path:
    from tfb2d.serving.version_folder import warmup_texts
    from tfb2d.twin.model import FILE, WEIGHTS, load_twin
    from tfb2d.twin.saved_model import export

    twin = load_twin(folder)
    calibration = read_json(folder / FILE).get("calibration")
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
        fingerprint=fingerprint(digest, read_json(folder / FILE), weights, __version__, VERSION),
        weights=weights,
        decision=read_json(folder / FILE).get("decision"),
    )
