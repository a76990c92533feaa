"""Asks a running server for scores.

  tfb2d query --model=sentiment "a fine film" "two hours lost"
  tfb2d query --address=shop:8500 --model=shop "red shoes" "Nike Air Zoom, red" "garden hose"
  tfb2d query --model=shop --input=pairs.tsv --fields=query=term,title --json

Of a model of one text every TEXT is a row; of a (query, title) model the first is the query and the others are its
titles. Prints tab-separated lines under a header, or a JSON object a row.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import Parser, quoting_flag
from tfb2d.cli.terminal import printable
from tfb2d.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from tfb2d.serving import Client

EXTRA = "client"  # the extra that installs what this command needs
ROWS = 4096  # of a file, scored by one call


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to score")
    what.texts("texts", "What to score; after -- it may begin with a dash.")
    what.files("input", "TSV, CSV, JSON lines or Parquet files.")
    quoting_flag(what)
    what.flag("fields", "The model's fields in order, and their columns in FILE.", "", metavar="FIELD[=COLUMN],...")
    server = parser.group("server")
    server.flag("address", "host:port, unix:/path or dns:///service:port.", "127.0.0.1:8500")
    server.flag("model", "The model's name on the server.", "student", metavar="NAME")
    server.integer("version", "Its version; 0 lets the server choose.", 0)
    server.flag("label", "Its version that carries this label, such as stable or canary.", "")
    server.real("timeout", "Seconds to wait for an answer, retries included.", 10.0)
    server.switch("tls", "TLS with the usual roots; the four below imply it.")
    server.flag("ca", "Certificates that sign the server's.", "", metavar="PEM")
    server.flag("cert", "This client's certificate, for mutual TLS.", "", metavar="PEM")
    server.flag("key", "Its key.", "", metavar="PEM")
    server.flag("server_name", "The name in the server's certificate, if not the address's host.", "")
    output = parser.group("output")
    output.flag("output", "The model's output to print, such as logit.", "score", metavar="NAME")
    output.switch("json", "A JSON object a row.")
    output.switch("sort", "The highest score first (TEXTs only).")


def run(options: Namespace) -> int:
    """Runs the command; returns its exit status: 1 if any row could not be scored."""
    if bool(options.texts) == bool(options.input):
        message = "give either TEXTs or --input" if options.texts else "nothing to score: give TEXTs or --input=FILE"
        raise UserError(message)
    if options.sort and options.input:
        raise UserError("--sort goes with TEXTs; files are scored row by row")
    from tfb2d.serving import TLS, Client, ServerUnreachable

    secure = options.tls or options.ca or options.cert or options.key or options.server_name
    fields = [field.partition("=")[0] for field in options.fields.split(",")] if options.fields else []
    try:
        tls = TLS(options.ca, options.cert, options.key, options.server_name) if secure else None
        which = {"version": options.version, "label": options.label}
        with Client(options.address, options.model, **which, fields=fields, timeout=options.timeout, tls=tls) as client:
            return _files(client, options) if options.input else _texts(client, options)
    except ServerUnreachable as error:
        raise UserError(f"{error}. Is a server running there? `tfb2d serve` starts one") from error
    except ValueError as error:  # an invalid address, version or field
        raise UserError(str(error)) from error


def _order(client: "Client") -> tuple[str, ...]:
    from tfb2d.serving.plan import field_order

    signatures = client.signatures()
    if client.signature not in signatures:
        raise ValueError(f"model {client.model!r} has no signature {client.signature!r}: {', '.join(signatures)}")
    return field_order(signatures, signatures[client.signature], client.fields)


def _texts(client: "Client", options: Namespace) -> int:
    fields = _order(client)
    texts: list[str] = options.texts
    rows: list[tuple[str, ...]]
    if len(fields) == 1:
        rows = [(text,) for text in texts]
    elif len(texts) == 1:
        raise ValueError(f"model {client.model!r} takes {' and '.join(fields)}: give a query and at least one title")
    else:
        rows = [(texts[0], title) for title in texts[1:]]
    if len(fields) == 2 and options.output == "score" and "rank" in client.signatures():
        scores = client.rank(texts[0], texts[1:])
    else:
        scores = client.score(rows, output=options.output)
    order: Iterable[int] = range(len(rows))
    if options.sort:
        order = sorted(order, key=lambda row: tuple(scores[row].ravel()), reverse=True)
    show = _Printer(fields, options)
    for row in order:
        show(rows[row], scores[row])
    return 0


def _files(client: "Client", options: Namespace) -> int:
    fields = _order(client)
    given = dict(field.split("=", 1) for field in options.fields.split(",") if "=" in field)
    show, bad = _Printer(fields, options), 0
    for file, rows in _batches(options.input, [given.get(field, field) for field in fields], options.quoting):
        good = []
        for number, texts, problem in rows:
            if problem:
                bad += 1
                print(f"{file}, row {number}: {problem}", file=sys.stderr)
            else:
                good.append(texts)
        for texts, score in zip(good, client.score(good, output=options.output), strict=True):
            show(texts, score)
    if bad:
        print(f"error: {bad} row{'s' * (bad > 1)} could not be scored", file=sys.stderr)
    return 1 if bad else 0


def _batches(
    patterns: Sequence[str], columns: Sequence[str], quoting: str
) -> Iterator[tuple[str, list[tuple[int, Any, str]]]]:
    """Yields (file, [(row number, texts, problem or "")]) of up to ROWS rows."""
    from tfb2d.data.files import expand
    from tfb2d.data.readers import read_rows

    for path in expand(patterns):
        rows = read_rows(path, columns, quoting=quoting)
        while batch := list(islice(rows, ROWS)):
            checked = []
            for row in batch:
                problem = f"{row.problem.field} {row.problem.reason}".strip() if row.problem else ""
                for column, text in zip(columns, row.values, strict=False):
                    if not isinstance(text, str):
                        problem = problem or f"{column} is not text"
                    elif any("\ud800" <= c <= "\udfff" for c in text):
                        problem = problem or f"{column} is not UTF-8"
                checked.append((row.number, row.values, problem))
            yield str(path), checked


class _Printer:
    """Prints rows with their scores; the header goes before the first."""

    def __init__(self, fields: Sequence[str], options: Namespace) -> None:
        self._fields, self._name, self._json, self._begun = fields, options.output, options.json, False

    def __call__(self, texts: Sequence[str], score: "np.ndarray") -> None:
        values = [float(f"{value:.7g}") for value in score.ravel()]
        if self._json:
            row = dict(zip(self._fields, texts, strict=True))
            print(json.dumps({**row, self._name: values if score.ndim else values[0]}, ensure_ascii=False))
            return
        if not self._begun:
            names = [f"{self._name}_{k}" for k in range(len(values))] if score.ndim else [self._name]
            print(*names, *self._fields, sep="\t")
            self._begun = True
        print(*(f"{value:.6f}" for value in values), *map(printable, texts), sep="\t")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("query")
