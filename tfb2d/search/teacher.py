"""The teacher's scores of single titles, on demand: it is slow, so it looks only at what somebody asks it about."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tfb2d.data.task import Task
from tfb2d.errors import UserError
from tfb2d.probability import probabilities
from tfb2d.teachers.saved import read_about

if TYPE_CHECKING:
    from tfb2d.teachers.teacher import Teacher


class TeacherOnDemand:
    """A saved teacher that is loaded at its first question, which takes some seconds, and answers one at a time.

    Args:
      folder: of a saved teacher, such as `runs/shop/teachers/bert`.

    Raises:
      ConfigError: there is no teacher.
      UserError: the teacher takes single texts.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        task = Task.from_json(read_about(self.folder)["task"])
        if len(task.fields) != 2 or task.n_logits != 1:
            raise UserError(
                f"{folder} reads {', '.join(task.fields)}: a teacher that scores search takes query and title"
            )
        self._lock = Lock()
        self._teacher: Teacher | None = None

    def score(self, query: str, titles: Sequence[str]) -> list[float]:
        """Returns the teacher's probability (or grade) for each title, uncalibrated, from 0 to 1."""
        with self._lock:
            if self._teacher is None:
                from tfb2d.teachers.teacher import load_teacher

                self._teacher = load_teacher(self.folder)
            logits = self._teacher.logits([[query] * len(titles), list(titles)])
        return [float(score) for score in probabilities(logits)]
