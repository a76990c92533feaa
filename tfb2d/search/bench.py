"""Measures what each kind of index costs and loses, over a catalogue made large by distractors.

  tfb2d search bench --titles=catalogue.csv --model=saved_models/shop_twin --judged=judged.tsv --workdir=bench \\
      --distractors=1000000 --ranker=saved_models/shop
  tfb2d search bench --titles=catalogue.csv --model=saved_models/shop_twin --judged=judged.tsv --workdir=small \\
      --indexes=hnsw-int8,sq-int8

Distractors are titles of recombined words of the real ones, never equal to one (always the same of one seed). All titles
are embedded once, as float32; the other indexes are made from these. Measured on one core, in a process for each
index:

* recall@10, 100, 200, 1000 of what exact search over float32 finds, for each index, BM25 and both fused;
* recall of the judged titles, the same ways, and ranked;
* milliseconds by part (median, 99th percentile) for 100 titles; of the whole search, strings in, with the ranker;
* with --peer, the same search with a cross-encoder in ONNX Runtime int8 ranking the 100 titles instead;
* milliseconds of the twin's query encoding, in a server's session and called from Python;
* memory and files in MB per million titles; titles embedded and indexed per second.

It takes minutes per 100,000 titles and continues where it was stopped. Judged rows are as of `tfb2d search evaluate`.
"""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError
from tfb2d.search.evaluate import judged_flags
from tfb2d.search.flags import DTYPES, source_of, titles_flags

EXTRA = "search"
INDEXES = ("hnsw-float16", "hnsw-int8", "ivfpq-float16", "sq-int8")


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    titles_flags(parser, required=True)
    models = parser.group("models")
    models.flag("model", "The twin: an exported model's folder.", required=True, metavar="DIR")
    models.flag("ranker", "The student that ranks; none, no second stage.", "", metavar="DIR")
    judged_flags(parser, id_flag="judged_id", title_flag="judged_title")
    what = parser.group("what to measure")
    what.flag("workdir", "The folder to work in; kept.", required=True, metavar="DIR")
    what.integer("distractors", "Titles to add.", 0, 0)
    what.integer("seed", "Of the distractors.", 0, 0)
    what.words("indexes", "Beside exact search: BACKEND-DTYPE.", INDEXES, metavar="NAME,...")
    what.numbers("ef_search", "Further settings of HNSW to measure.", (64, 256), empty=True)
    what.integer("m", "Neighbours of a title in HNSW.", 16, 2)
    what.integer("ef_construction", "Candidates while HNSW is built.", 100, 2)
    what.flag(
        "peer", "A cross-encoder to compare with: minilm, tinybert or bert-base (random weights; extra [bench]).", ""
    )
    what.integer("max_queries", "Judged queries, at most; evenly chosen.", 500, 1)
    what.flag("output", "The JSON file to write. [default: WORKDIR/bench.json]", "", metavar="FILE")
    what.switch("progress", "Show progress bars.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.atomic import write_json
    from tfb2d.search.comparison import Comparison

    names = [name.partition("-") for name in options.indexes]
    for backend, _, dtype in names:
        if backend not in ("exact", "hnsw", "ivfpq", "sq") or dtype not in DTYPES:
            raise UserError(f"--indexes: {backend}-{dtype} is no BACKEND-DTYPE such as {', '.join(INDEXES)}")
    from tfb2d.bench.bert import ARCHITECTURES

    if options.peer and options.peer not in ARCHITECTURES:
        raise UserError(f"--peer={options.peer}: {', '.join(ARCHITECTURES)}")
    result = Comparison(options, source_of(options)).run([(backend, dtype) for backend, _, dtype in names])
    output = Path(options.output or Path(options.workdir) / "bench.json")
    write_json(output, result)
    print(table(result))
    print(f"\nall figures: {output}")


def table(result: dict[str, Any]) -> str:
    """Lays the figures out for a terminal."""
    from tfb2d.evaluation.table import layout
    from tfb2d.search.comparison import BASE

    rows = [
        ["index", "finds", "@10", "@100", "@200", "@1000", "ms p50", "p99", "own MB/M", "mapped", "files", "rows/s"]
    ]
    million = result["titles"] / 1e6
    for name, each in result["indexes"].items():
        for way, figures in each["ways"].items():
            memory = [each["memory_mb"]["own"], each["memory_mb"]["mapped"], each["files_mb"]]
            per_million = [f"{value / million:.0f}" for value in memory] if way.startswith("twin") else [""] * 3
            speed = f"{each['rows_per_second']:,.0f}" if way.startswith("twin") and each["rows_per_second"] else "-"
            recalls = [f"{figures[f'recall@{k}']:.4f}" for k in (10, 100, 200, 1000)]
            times = [f"{figures['ms'][p]:.2f}" for p in ("p50", "p99")]
            rows.append([name, way, *recalls, *times, *per_million, speed])
    lines = [f"{result['titles']:,} titles, {result['queries']:,} queries, one core; recall of what {BASE} finds", ""]
    lines += [layout(rows), "", "recall of judged titles"]
    judged = {(name, way): f for name, ways in result["judged"].items() for way, f in ways.items()}
    measures = list(next(iter(judged.values())))
    rows = [["index", "way", *measures]]
    for (name, way), figures in judged.items():
        rows.append([name, way, *(_number(figures.get(measure, {}).get("value")) for measure in measures)])
    lines += [layout(rows), "", "milliseconds of a search, strings in (p50 / p99)"]
    for name, each in result["indexes"].items():
        for legs, parts in each.get("two_stages", {}).items():
            shown = ", ".join(f"{part} {times['p50']:.2f} / {times['p99']:.2f}" for part, times in parts.items())
            lines.append(f"{name}, {legs}: {shown}")
    for way, times in result["indexes"][BASE].get("query_encoding", {}).items():
        lines.append(f"query encoding, {way}: {times['p50']:.3f} / {times['p99']:.3f}")
    lines.append(f"\n{result['embedded_per_second']:,.0f} titles embedded per second")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"
