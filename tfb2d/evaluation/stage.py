"""The last stage, `report`: teacher, distilled models and baselines on the test split, measured and written down."""

import dataclasses
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from tfb2d.atomic import read_json
from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.evaluation.headline import groups_of, headline_on
from tfb2d.evaluation.run_scores import LoadTeacher, RunScores, exported_models
from tfb2d.outcomes import ReportOutcome
from tfb2d.runs import Run

VERSION = 4  # of the code: raise it when the same run gives another report
PACKAGES = ("tfb2d", "tensorflow", "tf_keras", "keras", "keras-hub", "numpy", "pyarrow")


def write_run_report(run: Run, config: Config, stages: Sequence[str], load_teacher: LoadTeacher) -> ReportOutcome:
    """Scores the test split with every model and writes `report.json`, `report.html` and the split's logits.

    Distilled models are measured as served: the exported SavedModel, strings in, calibrated probabilities out. The scores
    of teachers and baselines are calibrated on the validation split, too. `stages` are those before this one, whose seconds
    are reported; `load_teacher` is that of `RunScores`.
    """
    from tfb2d.evaluation.page import write_report
    from tfb2d.evaluation.results import RunResults
    from tfb2d.evaluation.table import print_table
    from tfb2d.evaluation.test_logits import write_test_logits

    scores = RunScores(run, config, load_teacher)
    task, test = scores.task, scores.tables["test"]
    several = len(config.teachers) > 1
    alone = {name: scores.teacher(name) for name in config.teachers}
    models = {"teacher": scores.stacked_teachers() if several else next(iter(alone.values()))}
    models |= {key: scores.exported(key, exported) for key, exported in exported_models(run, config).items()}
    if config.report.labels_only and "student" in config.models:
        models["labels_only"] = scores.labels_only()
    if len(task.fields) == 2 and task.kind != "multiclass":
        models["bm25"] = scores.bm25()
    results = RunResults(
        name=config.name,
        task=task,
        columns=scores.columns("test"),
        labels=test.column("label").to_numpy(),
        models=models,
        teachers=alone if several else {},
        groups=groups_of(test, task),
        data=read_json(run.data / "stats.json"),
        seconds=run.seconds(stages),
        compression=_compression(run) if "student" in config.models else {},
        config=dataclasses.asdict(config),
        headline=headline_on(task, scores.tables["valid"], config.report.headline).measure,
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        command=run.command,
        resamples=config.report.resamples,
        examples=config.report.examples,
        contrasts=_contrasts(run, config, scores),
    )
    write_test_logits(results, run.test_logits)
    written = write_report(results, run.folder)
    return ReportOutcome(print_table(written), str(run.report_page), written["model"])


def _contrasts(run: Run, config: Config, scores: RunScores) -> dict[str, Any] | None:
    """Returns words of the training text, plain and negated, as the teacher and each distilled model score them."""
    from tfb2d.evaluation.contrasts import contrasts

    if not (config.data.has_negations and config.report.negations):
        return None
    train = read_table(run.split("train"))
    (field,) = scores.task.fields
    teacher = scores.score_by_teachers()
    score = {} if teacher is None else {"teacher": teacher}
    score |= {key: scores.score_by(exported) for key, exported in exported_models(run, config).items()}
    texts, labels = train.column(field).to_pylist(), train.column("label").to_numpy()
    return contrasts(texts, labels, score, config.report.negations, config.report.degrees)


def _compression(run: Run) -> dict[str, Any]:
    compressed = run.compress_outcome()
    return {"megabytes": compressed.megabytes, "figures": compressed.figures, "rows": compressed.rows}
