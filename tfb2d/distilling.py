"""`tfb2d.distil`: a whole run from Python."""

from dataclasses import dataclass
from pathlib import Path

from tfb2d.config import Config


@dataclass(frozen=True)
class Distilled:
    """What a run made.

    Attributes:
      table: teacher and student side by side, as text.
      report: the page with pictures.
      model: the exported version's folder, which `tfb2d.load` takes.
    """

    table: str
    report: str
    model: str


def distil(config: Config, workdir: str | Path = "", progress: bool = True) -> Distilled:
    """Trains a student from raw rows to a served model. Called again, it goes on where it stopped.

    Args:
      config: what to do.
      workdir: the run folder; by default `runs/<config.name>`.
      progress: whether to show progress bars.

    Raises:
      ConfigError, DataError, RunBusyError, FloatingPointError: settings or rows that cannot work, a folder that another
        process works in, a training that diverged.
    """
    from tfb2d.pipeline import Pipeline

    outcome = Pipeline(config, Path(workdir or Path("runs") / config.name), progress).run()
    return Distilled(outcome["table"], outcome["report"], outcome["model"])
