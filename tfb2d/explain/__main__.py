"""Says why a student scores as it does: what each n-gram adds to the logit.

  tfb2d explain --model=saved_models/quickstart "not a good film" --html=why.html
  tfb2d explain --model=runs/shop "red shoes" "Nike Air Zoom, red" "garden hose"
  tfb2d explain --model=runs/quickstart --nearest="not good" --data=reviews.tsv
  tfb2d explain --model=runs/quickstart --disagree
  tfb2d explain --model=runs/shop --disagree --data=labelled.tsv --teacher_logits=scores.parquet

For a model of one text every TEXT is a row. For a (query, title) model the first TEXT is the query, the others its titles.
Contributions come from integrated gradients. Where a student has convolutions, an n-gram's share includes what it does to
its neighbours. All contributions sum to the logit less the logit of an empty row. --model takes a run folder or a student's
folder. It also takes a SavedModel whose run lies in runs/; the student's logits are then compared with the served ones.

--nearest lists an n-gram's nearest n-grams by the cosine of their table rows. Candidates are the n-grams of --data, or of
the run's transfer set: a hash does not tell its n-gram. --disagree lists rows that teacher and student decide differently,
and what is unusual about them by measurement. In a run folder these are rows of --split.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import Parser, quoting_flag
from tfb2d.errors import UserError

if TYPE_CHECKING:
    from tfb2d.explain.source import Source
    from tfb2d.explain.views import View


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to explain")
    what.texts("texts", "Texts to explain; after -- they may begin with dashes.")
    what.flag("model", "A run folder, a student's folder, an exported model or a version of it.", required=True)
    what.flag("student", "The student's folder, where it cannot be found from --model.", "", metavar="DIR")
    what.flag("class", "Explain this class's logit. [default: the likeliest's]", "", dest="class_name")
    what.integer("steps", "Steps of the integral of gradients.", 256, 1)
    near = parser.group("nearest n-grams")
    near.flag("nearest", "An n-gram whose nearest ones are listed; may be repeated.", repeated=True, metavar="NGRAM")
    near.integer("min_count", "How often a candidate of --nearest must occur in the texts.", 5, 1)
    differ = parser.group("disagreements")
    differ.switch("disagree", "List the rows that teacher and student decide differently.")
    differ.words("teacher_logits", "With --data: files with the teacher's logits of these rows.", metavar="FILE,...")
    differ.choice("split", "Rows of --disagree in a run folder.", "valid", ("valid", "test"))
    differ.integer("rows", "Rows that --disagree lists, the largest differences first.", 20, 1)
    files = parser.group("files and output")
    files.words(
        "data", "Files, globs or folders: texts for --nearest, labelled rows for --disagree.", metavar="FILE,..."
    )
    files.words("fields", "Columns of the text fields where they have other names.", metavar="FIELD=COLUMN,...")
    quoting_flag(files)
    files.flag("html", "Also write a page that needs nothing else to this file.", "", metavar="FILE")
    files.flag("json", "Also write everything to this file.", "", metavar="FILE")
    files.choice("color", "Colours in the terminal; NO_COLOR is heeded.", "auto", ("auto", "always", "never"))
    files.integer("top", "N-grams, soft matches and neighbours listed.", 12, 1)


def run(options: Namespace) -> None:
    """Runs the command."""
    # Bytes that are no UTF-8 come as lone surrogates, which no string tensor holds; the model reads them as U+FFFD.
    texts = [text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in options.texts]
    modes = bool(texts) + bool(options.nearest) + options.disagree
    if modes != 1:
        raise UserError("give either texts, or --nearest, or --disagree" if modes else "give a text to explain")
    if options.teacher_logits and not (options.disagree and options.data):
        raise UserError("--teacher_logits goes with --disagree and --data; a run folder has its teachers' logits")
    from tfb2d.atomic import write_atomic, write_json
    from tfb2d.explain.source import find
    from tfb2d.explain.terminal import colours

    source = find(options.model, options.student)
    level = colours(sys.stdout, choice=options.color)
    work = _explain if texts else _neighbours if options.nearest else _disagree
    lines, page, values = work(source, texts, level, options)
    if options.html:
        write_atomic(Path(options.html), page)
    if options.json:
        write_json(Path(options.json), values)
    print(lines)


def _views(source: "Source", rows: Sequence[Sequence[str]], options: Namespace) -> "list[View]":
    import numpy as np

    from tfb2d.errors import DataError
    from tfb2d.explain.contributions import explain
    from tfb2d.explain.views import view

    task, target = source.student.task, None
    if options.class_name:
        if task.n_logits == 1 or options.class_name not in task.classes:
            known = ", ".join(task.classes) if task.n_logits > 1 else "one logit a row"
            raise DataError(f"--class={options.class_name}: the model has {known}")
        target = task.classes.index(options.class_name)
    explanations = [explain(source.student, row, options.steps, target, source.calibration) for row in rows]
    if explanations:
        source.check_served(list(zip(*rows, strict=True)), np.stack([row.logits for row in explanations]))
    return [view(task, source.calibration, explanation) for explanation in explanations]


def _explain(source: "Source", texts: Sequence[str], level: str, options: Namespace) -> tuple[str, str, Any]:
    from tfb2d.errors import DataError
    from tfb2d.explain.page import render
    from tfb2d.explain.terminal import show

    fields = source.student.task.fields
    if len(fields) == 2 and len(texts) == 1:
        raise DataError(f"the model takes {' and '.join(fields)}: give a query and at least one title")
    rows = [(text,) for text in texts] if len(fields) == 1 else [(texts[0], title) for title in texts[1:]]
    views = _views(source, rows, options)
    model = str(source.model or source.folder)
    page = render("What the score is made of", [(shown, {}) for shown in views], lead=model)
    lines = "\n\n".join(show(shown, level, options.top) for shown in views)
    return lines, page, {"model": model, "rows": [asdict(shown) for shown in views]}


def _texts(source: "Source", options: Namespace) -> Iterator[str]:
    """Yields the texts whose n-grams are candidates."""
    from tfb2d.data.checked_rows import read_texts
    from tfb2d.data.files import expand
    from tfb2d.data.tables import iter_batches
    from tfb2d.errors import DataError
    from tfb2d.evaluation.scorer import field_columns

    fields = source.student.task.fields
    if options.data:
        columns = field_columns(fields, options.fields)
        for texts in read_texts(expand(options.data), columns, quoting=options.quoting):
            yield from texts
    elif source.run is None:
        raise DataError("--nearest needs texts that have n-grams: --data=FILES")
    else:
        for batch in iter_batches(source.run.split("transfer"), fields):
            for field in fields:
                yield from batch.column(field).to_pylist()


def _neighbours(source: "Source", _: Sequence[str], level: str, options: Namespace) -> tuple[str, str, Any]:
    from tqdm import tqdm

    from tfb2d.cli.terminal import printable
    from tfb2d.evaluation.table import layout
    from tfb2d.explain.nearest import candidates, nearest
    from tfb2d.explain.page import render

    bar = {"desc": "count n-grams", "unit": " texts", "unit_scale": True, "disable": not sys.stderr.isatty()}
    among = candidates(source.student, tqdm(_texts(source, options), **bar), options.min_count)
    shared = among.collisions()
    neighbours = [nearest(source.student, among, ngram, options.top) for ngram in options.nearest]
    lead = (
        f"{shared['ngrams']:,} n-grams occur {options.min_count} times or more, in {shared['rows']:,} rows of the table; "
        f"{shared['share']:.1%} of them share a row ({shared['weighted']:.1%} by frequency)"
    )
    lines, cells = [lead], [["n-gram", "nearest", "cosine", "count", "n-grams in its row"]]
    for near in neighbours:
        seen = f"occurs {near.count:,} times" if near.count else f"occurs fewer than {options.min_count} times"
        lines += ["", f"{printable(near.name)}: {seen}"]
        if not near.norm:
            lines[-1] += "; training never met it, its row is zero and has no neighbours"
            continue
        others = ", ".join(f"{name} ({count:,})" for name, count in near.sharing[:5])
        lines[-1] += f", length {near.norm:.2f}" + (f"; its row also holds {printable(others)}" if others else "")
        shown = [(name, f"{cosine:.3f}", f"{count:,}", str(sharing)) for name, cosine, count, sharing in near.nearest]
        table = [[printable(name), *figures] for name, *figures in shown]
        lines.append(layout([["nearest to " + printable(near.name), "cosine", "count", "in its row"], *table]))
        cells += [[near.name, *row] for row in shown]
    page = render("Nearest n-grams", [], cells, lead)
    return "\n".join(lines), page, {"collisions": shared, "nearest": [asdict(near) for near in neighbours]}


def _disagree(source: "Source", _: Sequence[str], level: str, options: Namespace) -> tuple[str, str, Any]:
    from tfb2d.cli.terminal import printable
    from tfb2d.evaluation.table import layout
    from tfb2d.explain.disagree import from_files, from_run, measure
    from tfb2d.explain.page import render
    from tfb2d.explain.terminal import show

    if options.data:
        compared = from_files(source, options.data, options.teacher_logits, options.fields, options.quoting)
    else:
        compared = from_run(source, options.split)
    case = measure(source, compared, options.rows)
    views = _views(source, [row.texts for row in case.rows], options)
    lines, page_rows = [case.lead, "", layout(case.table())], []
    for row, shown in zip(case.rows, views, strict=True):
        facts = [("label", row.label), ("teacher", row.teacher), ("student", row.student)]
        page_rows.append((shown, {"facts": facts, "why": row.why}))
        sides = "   ".join(f"{name} {value}" for name, value in facts if value)
        lines += ["", "─" * 72, sides, printable(row.why), show(shown, level, min(options.top, 6))]
    page = render("Where teacher and student decide differently", page_rows, case.table(), case.lead)
    values = [{**asdict(row), "explanation": asdict(shown)} for row, shown in zip(case.rows, views, strict=True)]
    shares = {name: {"differ": differ, "agree": agree} for name, (differ, agree) in case.shares.items()}
    return "\n".join(lines), page, {"lead": case.lead, "measures": shares, "rows": values}


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("explain")
