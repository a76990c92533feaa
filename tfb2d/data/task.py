"""Describes the task of a run: which texts a model reads, and what kind of label it gives."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfb2d.config import DataConfig
from tfb2d.data.rows import read_number

_WHOLE = re.compile(r"(-?\d+)\.0*")


@dataclass(frozen=True)
class Task:
    """Describes what is learnt: text fields, and what kind of label belongs to them."""

    fields: tuple[str, ...]  # one text, or a (query, title) pair
    kind: str = "binary"  # "binary" (labels 0 and 1), "multiclass" (class indices) or "graded" (labels within [0, 1])
    # Names of the classes; of a binary task (negative, positive), or () where its labels are numbers
    classes: tuple[str, ...] = ()
    label: str = "label"  # the label's column in the user's files
    label_range: tuple[float, ...] = ()  # (lowest, highest) label of a graded task, else ()

    @classmethod
    def from_config(cls, data: DataConfig) -> "Task":
        """Returns the task that the settings describe."""
        return cls(data.fields, data.kind, data.classes, data.label, data.label_range)

    @property
    def n_logits(self) -> int:
        """Returns how many logits a model gives a row: as many as classes, or 1."""
        return len(self.classes) if self.kind == "multiclass" else 1

    def to_json(self) -> dict[str, Any]:
        """Returns the task in plain JSON types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Task":
        """Reads what `to_json` returned."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**fields)

    def known_labels(self) -> str:
        """Lists the labels that a row may have, for messages."""
        if self.kind == "graded":
            return "numbers from {:g} to {:g}".format(*self.label_range)
        names = self.classes or ("0", "1")
        return ", ".join(names[:20]) + (f", ... ({len(names)} classes)" if len(names) > 20 else "")

    def read_label(self, value: Any) -> float | None:
        """Reads a label, by the same rule whether a file holds it as text, number or boolean.

        A label is a class if it is the class's name, or both are the same whole number or truth value: 1, 1.0, "1" and
        "1.0" are class "1", true and "True" class "true". Returns a number within [0, 1], or a class's index; None
        where it is none of the task's labels.
        """
        if self.classes:
            text = name(value)
            if text in self.classes:
                return float(self.classes.index(text))
            same = [index for index, known in enumerate(self.classes) if _canonical(known) == _canonical(text)]
            return float(same[0]) if len(same) == 1 else None
        number = read_number({"true": 1, "false": 0}.get(name(value).lower(), value))
        if number is None:
            return None
        if self.kind == "graded":
            low, high = self.label_range
            return (number - low) / (high - low) if low <= number <= high else None
        return number if number in (0.0, 1.0) else None


def name(value: Any) -> str:
    """Returns a label's, group's or id's value as text: 1 and 1.0 are "1", True is "true", None is ""."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _canonical(label: str) -> str:
    """Returns a whole number without its zeros after the point, a truth value in lower case, any other label as it is."""
    if match := _WHOLE.fullmatch(label):
        return match[1]
    return label.lower() if label.lower() in ("true", "false") else label
