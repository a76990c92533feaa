"""Searches a catalogue of titles: a twin and BM25 retrieve, a DNN student ranks.

  tfb2d search build --titles=catalogue.csv --model=saved_models/shop_twin --index=index
  tfb2d search query --index=index --ranker=saved_models/shop "usb-c cable 2 m"
  tfb2d search serve --index=index --ranker=saved_models/shop --open

  build      embeds a catalogue and indexes it; what a stopped build has done is not done again
  update     adds, replaces and deletes titles without embedding the others again
  query      answers in the terminal
  evaluate   recall and NDCG of each leg, of both, and of the ranked titles, on judged queries
  bench      recall, milliseconds and memory of all kinds of indexes, with distractors
  serve      a page to try it, and a JSON API

`tfb2d search build --help` and so on explain each.
"""

from argparse import Namespace

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError, nearest

EXTRA = "search"
COMMANDS = {name: f"tfb2d.search.{name}" for name in ("build", "update", "query", "evaluate", "bench", "serve")}


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags: it has none without one of `COMMANDS`."""
    parser.group("what to do").texts("command", f"One of {', '.join(COMMANDS)}.")


def run(options: Namespace) -> None:
    """Says which commands there are, by a UserError: a command line with one of them does not come here."""
    given = options.command[0] if options.command else ""
    known = f"tfb2d search takes one of {', '.join(COMMANDS)}"
    raise UserError(f"there is no command {given!r}{nearest(given, COMMANDS)}; {known}" if given else known)


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("search")
