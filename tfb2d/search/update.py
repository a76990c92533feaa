"""Adds titles to an index, replaces and deletes some, without embedding the others again.

  tfb2d search update --index=index --titles=new.csv
  tfb2d search update --index=index --titles=changed.jsonl --delete=sold_out.txt
  tfb2d search update --index=index --delete_ids=4711,4712

A title whose id the index has replaces the one that is there; an unchanged one costs nothing. The index changes at once,
when all is done: searches before that see the old one, later ones the new. A running server needs no restart.

Deleted and replaced titles stay in the vectors' index, where they are passed over. The command says when so many have
gathered that building the index anew is worth it: `tfb2d search build` into another folder.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError
from tfb2d.search.flags import source_of, titles_flags

EXTRA = "search"
_SHOWN = 5


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    index = parser.group("index")
    index.flag("index", "The index's folder.", required=True, metavar="DIR")
    text = "The twin: a folder, or HOST:PORT/MODEL. [default: the one that the index was built with]"
    index.flag("twin", text, "", metavar="MODEL")
    titles_flags(parser, required=False)
    out = parser.group("deleting")
    out.flag("delete", "A text file with an id a line.", "", metavar="FILE")
    out.words("delete_ids", "Ids, separated by commas.", metavar="ID,...")
    parser.group("work").switch("progress", "Show progress bars.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.search.indexing import update
    from tfb2d.search.snapshot import Snapshot

    deleted = list(options.delete_ids)
    if options.delete:
        lines = Path(options.delete).read_text(encoding="utf-8-sig").splitlines()
        deleted += [line.strip() for line in lines if line.strip()]
    if not options.titles and not deleted:
        raise UserError("nothing to do: give --titles=FILE, --delete=FILE or --delete_ids=ID,...")
    index = Path(options.index)
    source = source_of(options) if options.titles else None
    changes = update(index, source, deleted, model=options.twin, progress=options.progress)
    print(
        f"{changes.added:,} titles added, {changes.replaced:,} replaced, {changes.deleted:,} deleted,"
        f" {changes.unchanged:,} unchanged; {changes.manifest.live:,} in {index}"
    )
    if changes.unknown:
        more = f" and {len(changes.unknown) - _SHOWN:,} more" if len(changes.unknown) > _SHOWN else ""
        print(f"not in the index, so not deleted: {', '.join(changes.unknown[:_SHOWN])}{more}")
    if (index / "rejected.jsonl").exists():
        print(f"rows were rejected, listed in {index / 'rejected.jsonl'}")
    snapshot = Snapshot.open(index)
    for note in snapshot.advice():
        print(note)
    snapshot.close()
