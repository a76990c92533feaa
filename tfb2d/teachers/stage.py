"""The stages `adapted/NAME`, `teachers/NAME` and `logits/NAME`: make a teacher, and write its logits of all rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfb2d.config import Config, adapt_settings
from tfb2d.data.tables import count_rows
from tfb2d.data.task import Task
from tfb2d.outcomes import AdaptOutcome, LogitsOutcome, TeacherOutcome
from tfb2d.resume import set_aside
from tfb2d.runs import SPLITS, Run

if TYPE_CHECKING:
    import numpy as np

ADAPT_VERSION = 2  # of the code: raise it when the same settings and rows give another encoder
FINE_TUNE_VERSION = 3  # ... another teacher
# ... other logits, by more than rounding. Logits of another backend or another order of the same products are the same:
# to 1e-4 in float32, and in bfloat16 as near to the float32 logits as before. Users keep what they have labelled.
LABEL_VERSION = 2


def adapt_encoder(run: Run, config: Config, name: str) -> AdaptOutcome:
    """Trains a teacher's encoder on transfer text, before fine-tuning; see `adapt`."""
    from tfb2d.teachers.adapt import adapt

    return adapt(config.teachers[name], run.data, Task.from_config(config.data), run.adapted(name), run.progress)


def fine_tune_teacher(run: Run, config: Config, name: str) -> TeacherOutcome:
    """Fine-tunes a teacher on the labelled rows; see `fine_tune`."""
    from tfb2d.teachers.fine_tune import fine_tune

    adapted = adapted_as(config, name)
    return fine_tune(
        config.teachers[name],
        run.data,
        Task.from_config(config.data),
        run.teacher(name),
        run.progress,
        adapted=None if adapted is None else run.adapted(adapted),
        headline=config.report.headline,
    )


def load_scorer(folder: Path) -> Callable[[Sequence[Sequence[str]]], "np.ndarray"]:
    """Returns the function by which a saved teacher scores texts, a list a field: logits `[n, k]`."""
    from tfb2d.teachers.teacher import load_teacher

    return load_teacher(folder).logits


def label(run: Run, config: Config, name: str) -> LogitsOutcome:
    """Writes a teacher's logits of the transfer set and of the validation and test splits, row for row.

    Texts that the teacher has scored before keep their logits, though the tables may have changed.
    """
    teacher = config.teachers[name]
    if teacher.logits:
        from tfb2d.data.readers import Reading
        from tfb2d.teachers.external import attach_splits

        data = config.data
        task = Task.from_config(data)
        splits = {split: (run.split(split), run.logits(name, split)) for split in SPLITS}
        reading = Reading.of(data)
        counts = attach_splits(teacher, task, splits, reading)
        by_split = [{split: counts[split][key] for split in SPLITS} for key in ("matched", "missing", "unused")]
        return LogitsOutcome(*by_split)
    if teacher.students:
        from tfb2d.teachers.student_labels import label_by_students

        task, shard = Task.from_config(config.data), config.label.rows_per_shard
        labelled = {
            split: label_by_students(
                teacher.students, task, run.split(split), run.logits(name, split), shard, run.progress
            )
            for split in SPLITS
        }
        return LogitsOutcome(labelled)
    from tfb2d.teachers.doubtful import DOUBTFUL, label_doubtful
    from tfb2d.teachers.label import label_folder

    folder = run.logits(name)
    without: dict[str, int] = {}
    rows: dict[str, int] = {}
    for split in SPLITS:
        out = run.logits(name, split)
        earlier = [path / out.relative_to(folder) for path in set_aside(folder)]
        # A share that has changed keeps what was labelled with the one before.
        labelling = (
            config.label,
            run.progress,
            [*earlier, *(path / DOUBTFUL for path in earlier)],
            config.data.max_rejected,
        )
        if split == "transfer" and teacher.doubtful:
            before = [run.logits(other) for other in teachers_before(config, name)]
            rows[split], without[split] = label_doubtful(
                run.teacher(name), run.split(split), before, teacher.doubtful, out, *labelling
            )
        else:
            without[split] = label_folder(run.teacher(name), run.split(split), out, *labelling)
            rows[split] = count_rows(out) - without[split]
    return LogitsOutcome(rows, without if any(without.values()) else {})


def teachers_before(config: Config, name: str) -> list[str]:
    """Returns the names of the teachers that say which rows this one labels; [] where it labels all."""
    names = list(config.teachers)
    return names[: names.index(name)] if config.teachers[name].doubtful else []


def adapted_as(config: Config, name: str) -> str | None:
    """Returns the name of the first teacher with the same adapted encoder; None if the encoder is not adapted."""
    teachers = config.teachers
    if not (teachers[name].preset and teachers[name].adapt.rows):
        return None
    settings = adapt_settings(teachers[name])
    return next(other for other, teacher in teachers.items() if adapt_settings(teacher) == settings)
