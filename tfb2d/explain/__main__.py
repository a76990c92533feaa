"""Says why a student scores as it does: what each n-gram adds to the logit.

  python -m tfb2d.explain --model=saved_models/quickstart "not a good film" --html=why.html
  python -m tfb2d.explain --model=runs/shop "red shoes" "Nike Air Zoom, red" "garden hose"
  python -m tfb2d.explain --model=runs/quickstart --nearest="not good" --data=reviews.tsv
  python -m tfb2d.explain --model=runs/quickstart --disagree
  python -m tfb2d.explain --model=runs/shop --disagree --data=judged.tsv --teacher_logits=scores.parquet

Of a model of one text every TEXT is a row; of a (query, title) model the first is the query, the others are its titles.
Contributions are exact shares of the pooled layer, with integrated gradients through the feed-forward network; where a
student has convolutions, gradients go through these too, and an n-gram's share holds what it does to its neighbours.
They sum to the logit less the logit of an empty row. A served model does not hold what that needs: --model takes the run
folder, the student's folder, or a SavedModel whose run is found in runs/ (its logits are compared with the served ones).

--nearest: an n-gram's nearest n-grams by the cosine of their table rows, among the n-grams of --data (in a run folder: of
the transfer set); hashing is one way, so there are no other candidates. --disagree: rows that teacher and student decide
differently, with what is unusual about them by measurement; in a run folder, rows of --split.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

if TYPE_CHECKING:
    from tfb2d.explain.source import Source
    from tfb2d.explain.views import View

_MODEL = flags.DEFINE_string("model", None, "A run folder, a student's folder, an exported model or a version of it.")
_STUDENT = flags.DEFINE_string("student", "", "The student's folder, where it cannot be found from --model.")
_HTML = flags.DEFINE_string("html", "", "Also write a page that needs nothing else to this file.")
_JSON = flags.DEFINE_string("json", "", "Also write everything to this file.")
_COLOR = flags.DEFINE_enum("color", "auto", ("auto", "always", "never"), "Colours in the terminal; NO_COLOR is heeded.")
_STEPS = flags.DEFINE_integer("steps", 256, "Steps of the integral of gradients.", 1)
_TOP = flags.DEFINE_integer("top", 12, "N-grams, soft matches and neighbours listed.", 1)
_CLASS = flags.DEFINE_string("class", "", "Explain this class's logit. [default: the likeliest's]")
_NEAREST = flags.DEFINE_multi_string("nearest", [], "An n-gram whose nearest ones are wanted; may be repeated.")
_DATA = flags.DEFINE_list("data", [], "Files, globs or folders: texts for --nearest, judged rows for --disagree.")
_FIELDS = flags.DEFINE_list("fields", [], "Columns of the text fields where they have other names: field=column,...")
_MIN_COUNT = flags.DEFINE_integer("min_count", 5, "How often a candidate of --nearest must occur in the texts.", 1)
_DISAGREE = flags.DEFINE_bool("disagree", False, "List the rows that teacher and student decide differently.")
_TEACHER = flags.DEFINE_list("teacher_logits", [], "With --data: files with the teacher's logits of these rows.")
_SPLIT = flags.DEFINE_enum("split", "valid", ("valid", "test"), "Rows of --disagree in a run folder.")
_ROWS = flags.DEFINE_integer("rows", 20, "Rows that --disagree lists, those furthest apart first.", 1)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    # Bytes that are no UTF-8 come as lone surrogates, which no string tensor holds; the model reads them as U+FFFD.
    texts = [text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in argv[1:]]
    wanted = bool(texts) + bool(_NEAREST.value) + _DISAGREE.value
    if wanted != 1:
        raise app.UsageError("give either texts, or --nearest, or --disagree" if wanted else "give a text to explain")
    if _TEACHER.value and not (_DISAGREE.value and _DATA.value):
        raise app.UsageError("--teacher_logits goes with --disagree and --data; a run folder has its teachers' logits")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.config import ConfigError
    from tfb2d.data.errors import DataError
    from tfb2d.data.files import write_atomic, write_json
    from tfb2d.explain.source import find
    from tfb2d.explain.terminal import colours

    try:
        source = find(_MODEL.value, _STUDENT.value)
        level = colours(sys.stdout, wanted=_COLOR.value)
        work = _explain if texts else _neighbours if _NEAREST.value else _disagree
        lines, page, values = work(source, texts, level)
        if _HTML.value:
            write_atomic(Path(_HTML.value), page)
        if _JSON.value:
            write_json(Path(_JSON.value), values)
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"error: {error}")
    print(lines)


def _views(source: "Source", rows: Sequence[Sequence[str]]) -> "list[View]":
    import numpy as np

    from tfb2d.data.errors import DataError
    from tfb2d.explain.contributions import explain
    from tfb2d.explain.views import view

    task, target = source.student.task, None
    if _CLASS.value:
        if task.n_logits == 1 or _CLASS.value not in task.classes:
            known = ", ".join(task.classes) if task.n_logits > 1 else "one logit a row"
            raise DataError(f"--class={_CLASS.value}: the model has {known}")
        target = task.classes.index(_CLASS.value)
    found = [explain(source.student, row, _STEPS.value, target, source.calibration) for row in rows]
    if found:
        source.check_served(list(zip(*rows, strict=True)), np.stack([one.logits for one in found]))
    return [view(task, source.calibration, one) for one in found]


def _explain(source: "Source", texts: Sequence[str], level: str) -> tuple[str, str, Any]:
    from tfb2d.data.errors import DataError
    from tfb2d.explain.page import render
    from tfb2d.explain.terminal import show

    fields = source.student.task.fields
    if len(fields) == 2 and len(texts) == 1:
        raise DataError(f"the model takes {' and '.join(fields)}: give a query and at least one title")
    rows = [(text,) for text in texts] if len(fields) == 1 else [(texts[0], title) for title in texts[1:]]
    views = _views(source, rows)
    page = render("What the score is made of", [(one, {}) for one in views], lead=str(source.model or source.folder))
    lines = "\n\n".join(show(one, level, _TOP.value) for one in views)
    return lines, page, {"model": str(source.model or source.folder), "rows": [one.to_json() for one in views]}


def _texts(source: "Source") -> Iterator[str]:
    """The texts that candidates come from."""
    from tfb2d.data.checked_rows import read_texts
    from tfb2d.data.errors import DataError
    from tfb2d.data.files import expand
    from tfb2d.data.tables import iter_batches
    from tfb2d.evaluation.scorer import field_columns

    fields = source.student.task.fields
    if _DATA.value:
        columns = field_columns(fields, _FIELDS.value)
        for texts in read_texts(expand(_DATA.value), columns):
            yield from texts
    elif source.run is None:
        raise DataError("--nearest needs texts that have n-grams: --data=FILES")
    else:
        for batch in iter_batches(source.run.split("transfer"), fields):
            for field in fields:
                yield from batch.column(field).to_pylist()


def _neighbours(source: "Source", _: Sequence[str], level: str) -> tuple[str, str, Any]:
    from dataclasses import asdict

    from tqdm import tqdm

    from tfb2d.evaluation.table import layout
    from tfb2d.explain.nearest import candidates, nearest
    from tfb2d.explain.page import render
    from tfb2d.explain.terminal import plain

    texts = tqdm(_texts(source), desc="count n-grams", unit=" texts", unit_scale=True, disable=not sys.stderr.isatty())
    among = candidates(source.student, texts, _MIN_COUNT.value)
    shared = among.collisions()
    found = [nearest(source.student, among, ngram, _TOP.value) for ngram in _NEAREST.value]
    told = (
        f"{shared['ngrams']:,} n-grams occur {_MIN_COUNT.value} times or more, in {shared['rows']:,} rows of the table; "
        f"{shared['share']:.1%} of them share a row ({shared['weighted']:.1%} by frequency)"
    )
    lines, cells = [told], []
    for one in found:
        row = "" if not one.sharing else "; its row also holds " + ", ".join(f"{n} ({c:,})" for n, c in one.sharing[:5])
        seen = f"occurs {one.count:,} times" if one.count else f"occurs fewer than {_MIN_COUNT.value} times"
        if not one.norm:
            lines += ["", f"{plain(one.name)}: {seen}; training never met it, its row is zero and has no neighbours"]
            continue
        table = [["nearest to " + plain(one.name), "cosine", "count", "in its row"]]
        table += [[plain(name), f"{cosine:.3f}", f"{count:,}", str(n)] for name, cosine, count, n in one.found]
        lines += ["", f"{plain(one.name)}: {seen}, length {one.norm:.2f}{plain(row)}", layout(table)]
        cells += [[one.name, name, f"{cosine:.3f}", f"{count:,}", str(n)] for name, cosine, count, n in one.found]
    titles = ["n-gram", "nearest", "cosine", "count", "n-grams in its row"]
    page = render("Nearest n-grams", [], {"titles": titles, "rows": cells}, told)
    return "\n".join(lines), page, {"collisions": shared, "nearest": [asdict(one) for one in found]}


def _disagree(source: "Source", _: Sequence[str], level: str) -> tuple[str, str, Any]:
    from tfb2d.explain.disagree import from_files, from_run, measure, summary
    from tfb2d.explain.page import render
    from tfb2d.explain.terminal import plain, show

    if _DATA.value:
        judged = from_files(source, _DATA.value, _TEACHER.value, _FIELDS.value)
    else:
        judged = from_run(source, _SPLIT.value)
    case = measure(source, judged, _ROWS.value)
    views = _views(source, [row.texts for row in case.rows])
    lines, told = [summary(case)], []
    for row, one in zip(case.rows, views, strict=True):
        facts = [("label", row.label), ("teacher", row.teacher), ("student", row.student)]
        told.append((one, {"facts": facts, "why": row.why}))
        sides = "   ".join(f"{name} {value}" for name, value in facts if value)
        lines += ["", "─" * 72, sides, plain(row.why), show(one, level, min(_TOP.value, 6))]
    table = {"titles": ["measure", *case.titles], "rows": case.table}
    page = render("Where teacher and student decide differently", told, table, case.lead)
    values = [{**row.to_json(), "explanation": one.to_json()} for row, one in zip(case.rows, views, strict=True)]
    return "\n".join(lines), page, {"lead": case.lead, "measures": case.to_json(), "rows": values}


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["model"])
    app.run(main)


if __name__ == "__main__":
    run()
