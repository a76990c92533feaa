"""Embeds a catalogue with a twin and indexes it, for the twin's search and for BM25.

  tfb2d search build --titles=catalogue.csv --model=saved_models/shop_twin --index=index
  tfb2d search build --titles='offers/*.parquet' --id=sku --title=name --model=saved_models/shop_twin --index=index \\
      --dtype=int8 --backend=hnsw
  tfb2d search build --titles=catalogue.csv --model=twin:8500/shop_twin --index=index \\
      --backend=milvus --milvus=http://milvus:19530

The vectors are in INDEX/catalogue-*/part-*.parquet with ids and titles; everything else is made from these. A build that
was stopped or killed continues where it was: call it again. So does one with another backend, which embeds nothing anew.
The index that is there stays in use until the new one is whole. If a file of an index was damaged, the same call mends it.

Ids are texts, each used once: a row with an id that came before, without an id or without a title is rejected, counted
and listed in INDEX/catalogue-*/rejected.jsonl.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser
from tfb2d.errors import counted
from tfb2d.search.flags import backend_flags, parameters_of, source_of, titles_flags

EXTRA = "search"


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    titles_flags(parser, required=True)
    models = parser.group("model and index")
    text = "The twin: an exported model's folder, or HOST:PORT/MODEL of a server."
    models.flag("model", text, required=True, metavar="MODEL")
    models.flag("index", "The folder to write.", required=True, metavar="DIR")
    backend_flags(parser)
    parser.group("work").switch("progress", "Show progress bars.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.search.indexing import build

    index = Path(options.index)
    manifest = build(
        index,
        source_of(options),
        options.model,
        dtype=options.dtype,
        backend=options.backend,
        parameters=parameters_of(options),
        progress=options.progress,
    )
    rejected = index / manifest.catalogue / "rejected.jsonl"
    print(
        f"{manifest.live:,} titles in {index}: {manifest.dim} numbers of {manifest.dtype} each, searched by"
        f" {manifest.backend}; made by {manifest.model}"
    )
    if rejected.exists():
        print(f"rejected: {counted(rejected.read_bytes().count(bytes([10])), 'row')}, listed in {rejected}")
    print(f'next: tfb2d search query --index={index} "..."')
