"""The chief's process: trains a run's student with other processes (`python -m tfb2d.students.chief RUN PROGRESS`)."""

import os
import sys
import threading
from pathlib import Path

from absl import logging

from tfb2d.atomic import write_json
from tfb2d.errors import RunError
from tfb2d.resume import CHECKPOINTS
from tfb2d.runs import Run
from tfb2d.students import stage
from tfb2d.students.member import OUTCOME, leave, train_as_member


def main(folder: Path, progress: bool) -> None:
    """Trains the student of a run folder; the stage that started this process waits for it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run = Run(folder, progress)
    try:
        outcome = train_as_member(run, run.config(), stage.train_here)
    except RunError as error:
        leave(str(error))
    write_json(run.student / CHECKPOINTS / OUTCOME, outcome.to_json())
    leave()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    main(Path(sys.argv[1]), sys.argv[2] == "1")
