"""Flags that several commands of search share."""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import Group, Parser, reading_flags

if TYPE_CHECKING:
    from tfb2d.search.searcher import Searcher
    from tfb2d.search.titles import Source

DTYPES = ("float32", "float16", "int8")  # of the vectors in a catalogue


def titles_flags(parser: Parser, required: bool) -> None:
    """Adds the flags that say where titles are."""
    files = parser.group("titles")
    text = "TSV, CSV, JSON lines or Parquet files, globs or folders, separated by commas."
    files.words("titles", text, required=required, metavar="FILE,...")
    files.flag("id", "The column of the ids.", "id", metavar="COLUMN")
    files.flag("title", "The column of the titles.", "title", metavar="COLUMN")
    reading_flags(files)


def source_of(options: Namespace) -> "Source":
    """Returns where the titles are."""
    from tfb2d.search.titles import Source

    return Source(options.titles, options.id, options.title, options.quoting, options.max_chars, options.max_rejected)


def searched_flags(parser: Parser) -> Group:
    """Adds the flags that say what is searched; returns their group."""
    what = parser.group("what is searched")
    what.flag("index", "The index's folder, made by tfb2d search build.", required=True, metavar="DIR")
    text = "The twin: a folder, or HOST:PORT/MODEL. [default: the one that the index was built with]"
    what.flag("twin", text, "", metavar="MODEL")
    text = "The student that ranks: an exported model's folder, or HOST:PORT/MODEL; none, no second stage."
    what.flag("ranker", text, "", metavar="MODEL")
    return what


def open_searcher(options: Namespace) -> "Searcher":
    """Returns the searcher that the flags describe."""
    from tfb2d.search.searcher import Searcher

    return Searcher.open(options.index, twin=options.twin, ranker=options.ranker)


def backend_flags(parser: Parser) -> None:
    """Adds the flags that say how vectors are kept and searched."""
    how = parser.group("vectors")
    text = "How vectors are stored. int8 takes a quarter of float32."
    how.choice("dtype", text, "float16", DTYPES)
    text = "What searches them; auto is exact up to 100,000 titles, then hnsw. See results/ for what each costs."
    how.choice("backend", text, "auto", ("auto", "exact", "hnsw", "ivfpq", "sq", "milvus"))
    how.words("parameters", "Of the backend, such as m=16,ef_search=128.", metavar="NAME=N,...")
    how.flag("milvus", "URI of a Milvus server (http://host:19530), or of a local file for tests.", "", metavar="URI")


def parameters_of(options: Namespace) -> dict[str, Any]:
    """Returns the backend's parameters; raises UserError for one that is not NAME=NUMBER."""
    from tfb2d.errors import UserError

    parameters: dict[str, Any] = {"uri": options.milvus} if options.milvus else {}
    for word in options.parameters:
        name, equals, value = word.partition("=")
        if not equals or not (value.isdecimal() or name == "index_type"):
            raise UserError(f"--parameters takes NAME=NUMBER, not {word!r}")
        parameters[name] = value if name == "index_type" else int(value)
    return parameters
