"""An exported model's folder: its versions are the numbered folders in it, as TensorFlow Serving reads them."""

from pathlib import Path

from tfb2d.errors import DataError

# Within a version's folder:
ABOUT = "assets.extra/tfb2d.json"  # what tfb2d knows of the model: task, calibration, threshold, fingerprint
EDGE = "assets.extra/edge"  # the TensorFlow Lite form
WARMUP = "assets.extra/tf_serving_warmup_requests"  # PredictionLog TFRecords that a server replays before it serves


def version_folders(model: Path) -> list[Path]:
    """Returns the version folders of a model's folder, by rising number; none where it is not a folder."""
    folders = [path for path in model.glob("*") if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    return sorted(folders, key=lambda path: int(path.name))


def megabytes(path: Path) -> float:
    """Returns the size of a file, or of all files below a folder, in 10^6 bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def served_megabytes(version: Path) -> float:
    """Returns the size of a version's folder without the edge form, which no server loads, in 10^6 bytes."""
    return megabytes(version) - megabytes(version / EDGE)


def newest_version(model: Path, file: str = "") -> Path:
    """Returns the version folder with the highest number; versions without `file` within do not count.

    Raises:
      FileNotFoundError: there is none; the message names the folder.
    """
    folders = [path for path in version_folders(model) if (path / file).exists()]
    if not folders:
        lacking = f" with {file}" if file else ""
        raise FileNotFoundError(f"{model} holds no version (a folder named by a number){lacking}")
    return folders[-1]


def version_folder(model: str | Path) -> Path:
    """Returns the folder itself if it is a SavedModel, otherwise its version folder with the highest number.

    Raises:
      DataError: there is no SavedModel; the message lists the folder's content.
    """
    folder = Path(model)
    if (folder / "saved_model.pb").exists():
        return folder
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; a model is what tfb2d train exported")
    try:
        return newest_version(folder, "saved_model.pb")
    except FileNotFoundError:
        inside = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        message = f"{folder}: neither a SavedModel nor a folder of numbered versions; it holds {inside}"
        raise DataError(message) from None
