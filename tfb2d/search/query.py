"""Searches an index and prints what it finds.

  tfb2d search query --index=index "usb-c cable 2 m"
  tfb2d search query --index=index --ranker=saved_models/shop --k=20 "red shoes" "blue shoes"
  cat queries.txt | tfb2d search query --index=index --json > answers.jsonl

Prints a table a query: the rank of each title in each stage and the score of the last one, then milliseconds by stage and
notes. With --json a JSON object a query. Without queries on the command line it reads one a line from standard input.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfb2d.cli.arguments import Parser
from tfb2d.cli.terminal import printable
from tfb2d.search.flags import open_searcher, searched_flags

if TYPE_CHECKING:
    from tfb2d.search.answer import Answer

EXTRA = "search"
_STAGES = ("bm25", "twin", "fuse", "rank")


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    searched_flags(parser)
    how = parser.group("how")
    how.integer("k", "Titles to show.", 10, 1)
    how.integer("retrieve", "Titles that each leg finds, and that are ranked.", 100, 1)
    how.words("legs", "What retrieves: bm25, twin, or both.", ("bm25", "twin"), metavar="LEG,...")
    how.switch("json", "A JSON object a query.")
    parser.group("queries").texts("queries", "What to search for; after -- it may begin with a dash.", "QUERY")


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.errors import UserError

    lines: Iterable[str] = options.queries or (line.rstrip("\n") for line in sys.stdin)
    with open_searcher(options) as searcher:
        for query in lines:
            try:
                answer = searcher.search(query, k=options.k, retrieve=options.retrieve, legs=options.legs)
            except ValueError as error:  # legs that there are not
                raise UserError(str(error)) from error
            print(json.dumps(answer.to_json(), ensure_ascii=False) if options.json else table(answer), flush=True)


def table(answer: "Answer") -> str:
    """Lays an answer out for a terminal."""
    shown = [stage for stage in _STAGES if any(stage in hit.stages for hit in answer.hits)]
    lines = [f"{printable(answer.query)!r}"]
    if answer.hits:
        lines.append("  " + "".join(f"{stage:>6}" for stage in shown) + f"{'score':>9}  title (id)")
    for hit in answer.hits:
        ranks = "".join(f"{hit.stages[stage][0] if stage in hit.stages else '-':>6}" for stage in shown)
        lines.append(f"  {ranks}{hit.score:9.4f}  {printable(hit.title)} ({printable(hit.id)})")
    lines.append("  " + ", ".join(f"{name} {value:.1f} ms" for name, value in answer.milliseconds.items()))
    lines += [f"  note: {printable(note)}" for note in answer.notes]
    return "\n".join(lines)
