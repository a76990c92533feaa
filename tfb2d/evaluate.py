"""Judges an exported model on labelled rows: its metrics, how sure they are and, beside a teacher, what it keeps.

  python -m tfb2d.evaluate --model=saved_models/quickstart --data=judged.tsv
  python -m tfb2d.evaluate --model=saved_models/shop --data=judged.parquet --group=query --json=metrics.json
  python -m tfb2d.evaluate --model=saved_models/shop --data=judged.tsv --teacher_logits=runs/shop/logits/bert/test

Accuracy, ROC-AUC, PR-AUC, NDCG@10 within groups, expected calibration error (15 bins) and log loss, each with its 95%
interval by bootstrap. The model knows its text fields, label column and classes; --fields and --label say where the file
has other names. --teacher_logits takes Parquet, TSV, ... with the text fields and `logit` (`logit_0..k-1`, or `score`);
they are joined by text, exactly or up to spaces, case and HTML escapes; fidelity and retention are those of the rows that
have one.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model", None, "The exported model: its folder (the highest version is taken) or a version's."
)
_DATA = flags.DEFINE_list("data", None, "Labelled files, globs or folders, apart by commas.")
_GROUP = flags.DEFINE_string(
    "group", "", "A column (query, movie): NDCG within its groups, intervals by drawing groups."
)
_LABEL = flags.DEFINE_string("label", "", "The label column, where it is not called as in training.")
_FIELDS = flags.DEFINE_list("fields", [], "Columns of the text fields where they have other names: field=column,...")
_TEACHER = flags.DEFINE_list(
    "teacher_logits", [], "Files with a teacher's logits of these rows, for fidelity and retention."
)
_JSON = flags.DEFINE_string("json", "", "Also write the figures to this file.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Bootstrap resamples; 0 leaves the intervals out.", 0)
_SEED = flags.DEFINE_integer("seed", 0, "Of the resamples.", 0)
_MAX_REJECTED = flags.DEFINE_float("max_rejected", 0.01, "Share of bad rows at which to stop.", 0.0, 1.0)
_PROGRESS = flags.DEFINE_bool("progress", True, "Show a progress bar.")


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.config import ConfigError
    from tfb2d.data.errors import DataError
    from tfb2d.data.files import expand, write_json
    from tfb2d.evaluation.judging import compare, judge
    from tfb2d.evaluation.results import plain
    from tfb2d.evaluation.scorer import Scorer, field_columns

    try:
        for files in (_DATA.value, _TEACHER.value):
            expand(files)  # before the model takes its seconds
        scorer = Scorer(_MODEL.value)
        judged = judge(
            scorer,
            _DATA.value,
            texts=field_columns(scorer.task.fields, _FIELDS.value),
            label=_LABEL.value,
            group=_GROUP.value,
            max_rejected=_MAX_REJECTED.value,
            progress=_PROGRESS.value,
        )
        figures = compare(scorer.task, judged, _TEACHER.value, resamples=_RESAMPLES.value, seed=_SEED.value)
        figures = plain({"model": str(scorer.folder), "data": _DATA.value, **figures})
        if _JSON.value:
            write_json(_JSON.value, figures)
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"error: {error}")
    print(table(figures))


def table(figures: dict[str, Any]) -> str:
    """The figures as text for a terminal."""
    from tfb2d.data.join import Matches
    from tfb2d.evaluation.table import METRICS, figure, layout, ndcg_note, span

    models = {"student": figures["student"]} | ({"teacher": figures["teacher"]} if figures["teacher"] else {})
    rows = [["metric", *(cell for name in models for cell in (name if len(models) > 1 else "value", "95% interval"))]]
    for name in figures["student"]:
        cells = [cell for one in models.values() for cell in (figure(one[name]["value"]), span(one[name]["ci95"]))]
        rows.append([METRICS[name], *cells])
    lines = [layout(rows), ""]
    for name in ("fidelity", "retention"):
        if figures[name]:
            lines.append(f"{name:10s} {figure(figures[name]['value'])}  {span(figures[name]['ci95'])}".rstrip())
    if figures["headline_retention"] and figures["headline_measure"] != "accuracy":
        kept = figures["headline_retention"]
        name = f"of {METRICS[figures['headline_measure']]}"
        lines.append(
            f"{name:10s} {figure(kept['value'])}  {span(kept['ci95'])}  the teacher's share that is kept".rstrip()
        )
    lines.append(
        f"{'rows':10s} {figures['rows']:,}" + (f" in {figures['groups']:,} groups" if figures["groups"] else "")
    )
    if figures["ndcg_groups"]:
        lines.append(
            ndcg_note(figures["ndcg_groups"], {name: one["ndcg10_all"]["value"] for name, one in models.items()})
        )
    if figures["teacher"]:
        lines.append(
            f"{'teacher':10s} has scores for {figures['teacher_rows']:,} of them; fidelity and retention are theirs"
        )
        lines.append(f"{'':10s} {Matches(**figures['teacher_matches'])}")
    if figures["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in figures["reasons"].items())
        lines.append(f"{'rejected':10s} {figures['rejected']:,}: {reasons}")
    lines += [f"{'warning':10s} {warning}" for warning in figures["warnings"]]
    return "\n".join(lines)


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["model", "data"])
    app.run(main)


if __name__ == "__main__":
    run()
