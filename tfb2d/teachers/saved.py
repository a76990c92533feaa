"""A saved teacher's folder, as far as it can be read without Keras."""

from pathlib import Path
from typing import Any

from tfb2d.config import ConfigError
from tfb2d.data.files import read_json

FILE = "teacher.json"  # what the teacher is; written last, so that a folder that has it is whole
ADAPTED = "adapted.json"  # what an adapted encoder is, written last likewise
MODEL = "model"  # a KerasHub preset, which `keras_hub.models.TextClassifier.from_preset` reads, too


def read_about(folder: str | Path) -> dict[str, Any]:
    """A saved teacher's `teacher.json`.

    Raises:
      ConfigError: there is none.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise ConfigError(f"{folder} has no {FILE}: it is no saved teacher, or its fine-tuning was not finished")
    return dict(read_json(path))
