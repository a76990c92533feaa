"""Asks a running server for scores.

  python -m tfb2d.query --model=sentiment "a fine film" "two hours lost"
  python -m tfb2d.query --address=shop:8500 --model=shop "red shoes" "Nike Air Zoom, red" "garden hose"
  python -m tfb2d.query --model=shop --input=pairs.tsv --fields=query=term,title --json

Of a model of one text every TEXT is a row; of a (query, title) model the first is the query and the others are its
titles. Prints tab-separated lines under a header, or a JSON object a row.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tfb2d.serving import Client

ROWS = 4096  # of a file, asked at once


def parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    ask = argparse.ArgumentParser("python -m tfb2d.query", description=__doc__, formatter_class=formatter)
    ask.add_argument("texts", nargs="*", metavar="TEXT", help="what to score; after -- it may begin with a dash")
    ask.add_argument("--address", default="127.0.0.1:8500", help="host:port, unix:/path or dns:///service:port")
    ask.add_argument("--model", default="student", help="the model's name on the server")
    ask.add_argument("--version", type=int, default=0, help="its version (default: the server chooses)")
    ask.add_argument("--label", default="", help="its version that carries this label, such as stable or canary")
    ask.add_argument("--input", nargs="+", default=[], metavar="FILE", help="TSV, CSV, JSON lines or Parquet files")
    ask.add_argument(
        "--fields",
        default="",
        metavar="FIELD[=COLUMN],...",
        help="the model's fields in order, and their columns in FILE",
    )
    ask.add_argument("--output", default="score", help="the model's output to print, such as logit")
    ask.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer, retries included")
    ask.add_argument("--json", action="store_true", help="a JSON object a row")
    ask.add_argument("--sort", action="store_true", help="the highest score first (TEXTs only)")
    ask.add_argument("--tls", action="store_true", help="TLS with the usual roots; the three below imply it")
    ask.add_argument("--ca", default="", metavar="PEM", help="certificates that sign the server's")
    ask.add_argument("--cert", default="", metavar="PEM", help="this client's certificate, for mutual TLS")
    ask.add_argument("--key", default="", metavar="PEM", help="its key")
    ask.add_argument(
        "--server_name", default="", help="the name in the server's certificate, if not the address's host"
    )
    return ask


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 if any row could not be scored, 2 for a wrong command line."""
    ask = parser()
    options = ask.parse_args(arguments)
    if bool(options.texts) == bool(options.input):
        ask.error("give either TEXTs or --input" if options.texts else "nothing to score: give TEXTs or --input=FILE")
    if options.sort and options.input:
        ask.error("--sort goes with TEXTs; files are scored row by row")
    from tfb2d.data.errors import DataError
    from tfb2d.serving import TLS, Client, ServerUnreachable, ServingError

    secure = options.tls or options.ca or options.cert or options.key
    fields = [one.partition("=")[0] for one in options.fields.split(",")] if options.fields else []
    try:
        tls = TLS(options.ca, options.cert, options.key, options.server_name) if secure else None
        which = {"version": options.version, "label": options.label}
        with Client(options.address, options.model, **which, fields=fields, timeout=options.timeout, tls=tls) as client:
            return _files(client, options) if options.input else _texts(client, options)
    except ServerUnreachable as error:
        print(f"error: {error}\nIs a server running there? `python -m tfb2d.serve` starts one.", file=sys.stderr)
    except (ServingError, DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _order(client: "Client") -> tuple[str, ...]:
    from tfb2d.serving.plan import field_order

    signatures = client.signatures()
    if client.signature not in signatures:
        raise ValueError(f"model {client.model!r} has no signature {client.signature!r}: {', '.join(signatures)}")
    return field_order(signatures, signatures[client.signature], client.fields)


def _texts(client: "Client", options: argparse.Namespace) -> int:
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


def _files(client: "Client", options: argparse.Namespace) -> int:
    fields = _order(client)
    given = dict(one.split("=", 1) for one in options.fields.split(",") if "=" in one)
    show, bad = _Printer(fields, options), 0
    for place, rows in _batches(options.input, [given.get(field, field) for field in fields]):
        good = []
        for number, texts, problem in rows:
            if problem:
                bad += 1
                print(f"{place}, row {number}: {problem}", file=sys.stderr)
            else:
                good.append(texts)
        for texts, score in zip(good, client.score(good, output=options.output), strict=True):
            show(texts, score)
    if bad:
        print(f"error: {bad} row{'s' * (bad > 1)} could not be scored", file=sys.stderr)
    return 1 if bad else 0


def _batches(patterns: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, list[tuple[int, Any, str]]]]:
    """(file, [(row number, texts, what is wrong with them)]) of up to ROWS rows."""
    from tfb2d.data.files import expand
    from tfb2d.data.readers import read_rows

    for path in expand(patterns):
        rows = read_rows(path, columns)
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

    def __init__(self, fields: Sequence[str], options: argparse.Namespace) -> None:
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
        print(*(f"{value:.6f}" for value in values), *map(_plain, texts), sep="\t")


def _plain(text: str) -> str:
    """A text that keeps to its line and cannot speak to the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader, such as `head`, has enough
        sys.stderr.close()
        sys.exit(0)
