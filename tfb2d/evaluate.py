"""Measures an exported model on labelled rows: its metrics, their intervals and, beside a teacher, what it keeps.

  tfb2d evaluate --model=saved_models/quickstart --data=labelled.tsv
  tfb2d evaluate --model=saved_models/shop --data=labelled.parquet --group=query --json=metrics.json
  tfb2d evaluate --model=saved_models/shop --data=labelled.tsv --teacher_logits=runs/shop/logits/bert/test

Measures, each with a 95% interval by bootstrap:

  all            accuracy, ROC-AUC, PR-AUC, expected calibration error (15 bins), log loss; NDCG@10 within groups
  two classes    F1, precision and recall at the threshold that validation chose when the model was trained
  grades         Spearman's and Pearson's correlation, RMSE on your scale, share of a group's pairs in the right order
  pairs          the measures of order for BM25, too; its documents are the titles of your rows
  --teacher_logits   fidelity and retention, on the rows with a teacher's score; how much of the teacher's gain over BM25
                     the model reaches

The model knows its text fields, label column and classes. --fields and --label name the file's columns where these are
called otherwise. --teacher_logits takes Parquet, TSV, ... with the text fields and `logit` (`logit_0..k-1`, or `score`).
They are joined by text, exactly or up to spaces, case and HTML escapes.
"""

from argparse import Namespace
from typing import Any

from tfb2d.cli.arguments import Parser, model_flag, reading_flags


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    model_flag(files)
    files.words("data", "Labelled files, globs or folders, separated by commas.", required=True, metavar="FILE,...")
    what = "Files with a teacher's logits of these rows, for fidelity and retention."
    files.words("teacher_logits", what, metavar="FILE,...")
    files.flag("json", "Also write the figures to this file.", "", metavar="FILE")
    columns = parser.group("columns")
    what = "A column (movie): NDCG within its groups, intervals by drawing groups. [default: the query of pairs]"
    columns.flag("group", what, "")
    columns.flag("label", "The label column, where it is not called as in training.", "")
    columns.words("fields", "Columns of the text fields where they have other names.", metavar="FIELD=COLUMN,...")
    reading_flags(parser.group("reading"))
    work = parser.group("work")
    work.switch("bm25", "Measure BM25 beside a model of pairs; it takes a pass over all titles for each query.", True)
    work.integer("resamples", "Bootstrap resamples; 0 leaves the intervals out.", 1000, 0)
    work.integer("seed", "Of the resamples.", 0, 0)
    work.switch("progress", "Show a progress bar.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.atomic import write_json
    from tfb2d.data.files import expand

    for files in (options.data, options.teacher_logits):
        expand(files)  # reports a missing file before the model loads
    from tfb2d.data.readers import Reading
    from tfb2d.evaluation.labelled import evaluate, score_labelled_rows
    from tfb2d.evaluation.results import plain
    from tfb2d.evaluation.scorer import Scorer, field_columns

    scorer = Scorer(options.model)
    scored = score_labelled_rows(
        scorer,
        options.data,
        texts=field_columns(scorer.task.fields, options.fields),
        label=options.label,
        group=options.group,
        reading=Reading.of(options),
        progress=options.progress,
    )
    figures = evaluate(
        scorer.task,
        scored,
        options.teacher_logits,
        decision=scorer.about.get("decision"),
        bm25=options.bm25,
        resamples=options.resamples,
        seed=options.seed,
    )
    figures = plain({"model": str(scorer.folder), "data": options.data, **figures})
    if options.json:
        write_json(options.json, figures)
    print(table(figures))


def table(figures: dict[str, Any]) -> str:
    """Lays out the figures as text for a terminal."""
    from tfb2d.data.join import Matches
    from tfb2d.evaluation.models import MODELS
    from tfb2d.evaluation.table import METRICS, figure, layout, named_line, ndcg_note, percent, span

    models = {MODELS[key]: figures[key] for key in ("student", "bm25", "teacher") if figures[key]}
    rows = [["metric", *(cell for name in models for cell in (name if len(models) > 1 else "value", "95% interval"))]]
    for name in figures["student"]:
        results = [of_model.get(name, {"value": None, "ci95": None}) for of_model in models.values()]
        rows.append(
            [METRICS[name], *(cell for result in results for cell in (figure(result["value"]), span(result["ci95"])))]
        )
    lines = [layout(rows), ""]

    def line(name: str, text: str) -> None:
        lines.append(named_line(name, text))

    shown = [(name, figures[name], "") for name in ("fidelity", "retention")]
    if figures["headline_measure"] != "accuracy":
        title = f"of {METRICS[figures['headline_measure']]}"
        shown.append((title, figures["headline_retention"], "  the share of the teacher's that is kept"))
    for name, share, note in shown:
        if share:
            line(name, f"{figure(share['value'])}  {span(share['ci95'])}{note}")
    shares = [(figures["headline_measure"], figures["over_bm25"]), ("ndcg10", figures["ndcg10_over_bm25"])]
    ways = {METRICS[name]: percent(share["value"]) for name, share in shares if share and share["value"] is not None}
    if ways:
        reached = ", ".join(f"{way} by {name}" for name, way in ways.items())
        line("over BM25", f"{reached}: the share of the way from BM25 to the teacher")
    if decision := figures["decision"]:
        there = ", ".join(f"{METRICS[name]} {figure(decision[name])}" for name in ("f1", "precision", "recall"))
        threshold = figure(decision["threshold"])
        line("threshold", f"{threshold}, from which score on the answer is yes; chosen on validation,")
        line("", f"where it had {there}; its figures on these rows are above")
    line("rows", f"{figures['rows']:,}" + (f" in {figures['groups']:,} groups" if figures["groups"] else ""))
    if figures["ndcg_groups"]:
        means = {name: of_model["ndcg10_all"]["value"] for name, of_model in models.items()}
        lines.append(ndcg_note(figures["ndcg_groups"], means))
    if figures["teacher"]:
        line("teacher", f"has scores for {figures['teacher_rows']:,} of them; fidelity and retention are theirs")
        line("", str(Matches(**figures["teacher_matches"])))
    if figures["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in figures["reasons"].items())
        line("rejected", f"{figures['rejected']:,}: {reasons}")
    for warning in figures["warnings"]:
        line("warning", warning)
    return "\n".join(lines)


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("evaluate")
