"""The stage `export_twin`: writes the trained twin as a SavedModel that takes raw strings."""

import hashlib
from pathlib import Path

from tfb2d import __version__
from tfb2d.config import Config
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ExportOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

VERSION = 1  # of the code: raise it when the same twin gives another SavedModel
SUFFIX = "_twin"  # behind the model's name: student and twin of a run lie side by side


def export_twin(run: Run, config: Config) -> ExportOutcome:
    """Writes the next version of the twin below `export.folder`, unless the last version is this very one."""
    from tfb2d.serving.version_folder import warmup_texts
    from tfb2d.twin.model import WEIGHTS, load_twin
    from tfb2d.twin.saved_model import export

    settings, folder = config.export, run.twin
    twin = load_twin(folder)
    calibration = run.twin_outcome().calibration
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    version = export(
        twin,
        (Path(settings.folder) / (config.model_name + SUFFIX)).resolve(),
        scale=calibration.scale,
        bias=calibration.bias[0],
        warmup=warmup_texts(run.split("transfer"), twin.task.fields, settings.warmup_rows),
        fingerprint=fingerprint(digest, calibration.scale, calibration.bias, config.twin.weights, __version__, VERSION),
        weights=config.twin.weights,
    )
    return ExportOutcome(str(version), megabytes(version))
