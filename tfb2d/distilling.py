"""`tfb2d.distil`: a whole run from Python."""

from pathlib import Path
from typing import cast

from tfb2d import pipeline
from tfb2d.config import Config
from tfb2d.outcomes import ReportOutcome
from tfb2d.runs import Run


def distil(config: Config, workdir: str | Path = "", progress: bool = True) -> ReportOutcome:
    """Trains a student from raw rows to a served model. Called again, it goes on where it stopped.

    Args:
      config: what to do.
      workdir: the run folder; by default `runs/<config.name>`.
      progress: whether to show progress bars.

    Returns:
      The report's table as text, the page's path, and the exported model's folder, which `tfb2d.load` takes.

    Raises:
      ConfigError, DataError, RunError, RunBusyError, FloatingPointError: see `pipeline.run`.
    """
    run = Run(Path(workdir or Path("runs") / config.name), progress)
    return cast(ReportOutcome, pipeline.run(run, config))
