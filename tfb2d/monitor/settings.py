"""The settings of the monitor, and what it finds by them in a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfb2d.errors import DataError
from tfb2d.monitor.alerts import Thresholds


@dataclass(frozen=True)
class Settings:
    """Holds the settings of the monitor, as the flags of `tfb2d monitor` describe them; "", 0, () and None are defaults."""

    logs: Sequence[str]
    model: str
    output: Path
    teacher: Path | None = None
    teacher_logits: Sequence[str] = ()
    run: Path | None = None
    reference: Sequence[str] = ()
    test: Sequence[str] = ()
    quoting: str = "auto"
    name: str = ""
    version: int = 0
    sample: int = 2000
    seed: int = 0
    window: str = ""
    orders: tuple[int, ...] = ()
    show_text: bool = False
    progress: bool = True
    thresholds: Thresholds = field(default_factory=Thresholds)

    def run_folder(self) -> Path | None:
        """Returns `run`, or else the folder above the teacher's, if it is a run's; raises DataError where `run` is none."""
        if self.run is not None:
            if not (self.run / "config.json").exists():
                raise DataError(f"{self.run} has no config.json; --run takes a run folder of tfb2d train")
            return self.run
        above = self.teacher.parent.parent if self.teacher is not None else None
        return above if above is not None and (above / "config.json").exists() else None

    def only_teacher(self) -> Path | None:
        """Returns the run's teacher, or None where it has none or logits are given; raises DataError of several."""
        run = self.run_folder()
        if run is None or self.teacher_logits:
            return None
        teachers = sorted(path.parent for path in run.glob("teachers/*/teacher.json"))
        if len(teachers) > 1:
            listed = ", ".join(map(str, teachers))
            raise DataError(f"{run} has {len(teachers)} teachers; --teacher takes one of {listed}")
        return teachers[0] if teachers else None


def parts(run: Path | None, name: str) -> list[str]:
    """Returns the folder of a run's table, in a list; an empty one where it has no parts."""
    return [str(run / name)] if run is not None and list((run / name).glob("part-*.parquet")) else []
