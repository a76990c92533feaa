"""The stage `export`: writes the compressed student as a SavedModel that takes raw strings."""

import hashlib
from pathlib import Path

from tfb2d import __version__
from tfb2d.config import Config
from tfb2d.data.tables import iter_batches
from tfb2d.data.task import Task
from tfb2d.outcomes import ExportOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

VERSION = 1  # of the code: raise it when the same student gives another SavedModel


def export_student(run: Run, config: Config) -> ExportOutcome:
    """Writes the next version of the model below `export.folder`, unless the last version is this very one."""
    from tfb2d.serving.export import export, folder_megabytes
    from tfb2d.students.model import WEIGHTS, load_student
    from tfb2d.students.text_spec import SPEC

    task, calibration = Task.from_config(config.data), run.compress_outcome().calibration
    transfer = next(iter_batches(run.split("transfer"), task.fields, config.export.warmup_rows))
    weights = hashlib.sha256((run.compressed / WEIGHTS).read_bytes()).hexdigest()
    made_from = [weights, calibration.scale, calibration.bias, SPEC["version"], __version__, config.export.edge]
    version = export(
        load_student(run.compressed),
        Path(config.export.folder).resolve() / config.model_name,
        scale=calibration.scale,
        bias=calibration.bias,
        warmup=[transfer.column(name).to_pylist() for name in task.fields],
        fingerprint=fingerprint(*made_from),
        edge="int8" if config.export.edge else "",
    )
    return ExportOutcome(str(version), folder_megabytes(version))


def export_contents(folder: Path, outcome: ExportOutcome) -> dict[str, str]:
    """Returns a digest of the model's path; a model that was deleted and made again may have another path."""
    return {"": fingerprint(outcome.model)}
