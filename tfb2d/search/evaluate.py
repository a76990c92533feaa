"""Measures an index on judged queries: recall@k and NDCG@10 of each leg, of both fused, and of the ranked titles.

  tfb2d search evaluate --index=index --judged=judged.tsv
  tfb2d search evaluate --index=index --judged=judged.parquet --id=sku --ranker=saved_models/shop --output=figures.json

A judged row is a query, a title (or, with --id, its id) and a label; a label above 0 says that the title is relevant,
and is its gain. Titles without a label count as not relevant, so figures are lower bounds where few titles were judged.
Random order is measured beside them. Intervals (95%) are by drawing queries.
"""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import Parser, quoting_flag
from tfb2d.errors import counted
from tfb2d.search.flags import open_searcher, searched_flags

if TYPE_CHECKING:
    from tfb2d.search.judgements import Columns

EXTRA = "search"


def judged_flags(parser: Parser, id_flag: str = "id", title_flag: str = "title") -> None:
    """Adds the flags that say where judged rows are."""
    judged = parser.group("judged rows")
    text = "Files of judged rows, globs or folders, separated by commas."
    judged.words("judged", text, required=True, metavar="FILE,...")
    judged.flag("query", "The column of the queries.", "query", metavar="COLUMN")
    judged.flag(title_flag, "The column of the titles.", "title", metavar="COLUMN")
    judged.flag(id_flag, "The column of the titles' ids, to be used instead of their text.", "", metavar="COLUMN")
    judged.flag("label", "The column of the labels: numbers, 0 or more.", "label", metavar="COLUMN")


def columns_of(options: Namespace, id_flag: str = "id", title_flag: str = "title") -> "Columns":
    """Returns where judged rows are."""
    from tfb2d.search.judgements import Columns

    key, title = getattr(options, id_flag), getattr(options, title_flag)
    return Columns(options.judged, options.query, key, title, options.label, options.quoting, options.max_rejected)


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    searched_flags(parser)
    how = parser.group("how")
    how.integer("retrieve", "Fused titles that the ranker ranks.", 100, 1)
    how.numbers("recall_at", "Ranks at which recall is measured.", (10, 100, 200))
    judged_flags(parser)
    reading = parser.group("reading")
    reading.real("max_rejected", "Share of bad rows at which to stop.", 0.01, 0.0, 1.0)
    quoting_flag(reading)
    work = parser.group("work")
    work.integer("resamples", "Bootstrap resamples; 0 leaves the intervals out.", 1000, 0)
    work.integer("seed", "Of the random order and the resamples.", 0, 0)
    work.flag("output", "Also write the figures to this JSON file.", "", metavar="FILE")
    work.switch("progress", "Show a progress bar.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tqdm import tqdm

    from tfb2d.atomic import write_json
    from tfb2d.search.judgements import measure, read_judgements

    recall_at = sorted(set(options.recall_at))
    with open_searcher(options) as searcher:
        judgements = read_judgements(columns_of(options), searcher.catalogue)
        with tqdm(total=len(judgements.gains), desc="search", unit=" queries", disable=not options.progress) as bar:
            figures = measure(
                searcher, judgements, recall_at=recall_at, retrieve=options.retrieve, seed=options.seed, tick=bar.update
            )
        about = searcher.describe()
    ways = {way: each.intervals(options.resamples, options.seed) for way, each in figures.items()}
    for k in recall_at:  # of titles that were not ranked nothing is known
        if k > options.retrieve and "ranked" in ways:
            del ways["ranked"][f"recall@{k}"]
    result = {
        "index": about,
        "judged": options.judged,
        "counts": dict(figures["twin"].counts),
        "missing": judgements.missing,
        "rejected": judgements.rejected,
        "retrieve": options.retrieve,
        "figures": ways,
    }
    if options.output:
        write_json(options.output, result)
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Lays the figures out for a terminal."""
    from tfb2d.evaluation.table import figure, layout, span

    ways = result["figures"]
    names = list(ways["random"])
    rows = [["", *(cell for name in names for cell in (name, "95%"))]]
    for way, figures in ways.items():
        cells = [(figure(figures[n]["value"]), span(figures[n]["ci95"])) if n in figures else ("-", "") for n in names]
        rows.append([way, *(cell for pair in cells for cell in pair)])
    counts, index = result["counts"], result["index"]
    lines = [layout(rows), "", f"titles     {index['titles']:,}, searched by {index['backend']} ({index['dtype']})"]
    lines.append(f"queries    {counts['measured']:,} measured, {counts['without_relevant']:,} without a relevant title")
    if result["missing"]:
        lines.append(f"missing    {result['missing']:,} judged titles are not in the index and were left out")
    if result["rejected"]:
        lines.append(f"rejected   {counted(result['rejected'], 'row')} that cannot be used")
    return "\n".join(lines)
