"""Reads what a saved teacher's folder says of it, without Keras."""

from pathlib import Path
from typing import Any

from tfb2d.atomic import read_json
from tfb2d.config import ConfigError

FILE = "teacher.json"  # describes the teacher; written last, so that a folder that has it is whole
MODEL = "model"  # a KerasHub preset, which `keras_hub.models.TextClassifier.from_preset` reads, too


def read_about(folder: str | Path) -> dict[str, Any]:
    """Reads a saved teacher's `teacher.json`; raises ConfigError where there is none."""
    path = Path(folder) / FILE
    if not path.exists():
        raise ConfigError(f"{folder} has no {FILE}: it is no saved teacher, or its fine-tuning was not finished")
    return dict(read_json(path))


def teacher_identity(folder: str | Path) -> list[Any]:
    """Returns all that a saved teacher's logits depend on: its weights' digest, and how it reads texts."""
    about = read_about(folder)
    # A teacher of tfb2d 0.1 has no "tokens"; None stands for the way in which it cuts texts.
    return [about.get(name) for name in ("weights", "max_length", "mixed_precision", "tokens")]
