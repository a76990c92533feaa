"""The stage `export`: writes the compressed student as a SavedModel that takes raw strings."""

from pathlib import Path

from tfb2d.config import Config
from tfb2d.model_folder import served_megabytes
from tfb2d.outcomes import ExportOutcome
from tfb2d.resume import fingerprint
from tfb2d.runs import Run

VERSION = 6  # of the code: raise it when the same student gives another SavedModel


def export_student(run: Run, config: Config) -> ExportOutcome:
    """Writes the next version of the model below `export.folder`, unless the last version is this very one."""
    from tfb2d.serving.forms import export_saved_model
    from tfb2d.students.model import load_student

    settings, folder = config.export, run.compressed
    output = Path(settings.folder) / config.model_name
    edge = "int8" if settings.edge else ""
    compressed = run.compress_outcome()
    version = export_saved_model(
        load_student(folder), folder, output, compressed.calibration, edge, settings.warmup_rows, compressed.decision
    )
    return ExportOutcome(str(version), served_megabytes(version))


def export_contents(folder: Path, outcome: ExportOutcome) -> dict[str, str]:
    """Returns a digest of the model's path; a model that was deleted and made again may have another path."""
    return {"": fingerprint(outcome.model)}
