"""Shadow comparison: sends logged requests to two servers, or two versions of a model, and compares the answers.

  tfb2d shadow --logs=/var/log/shop --fields=query,title --name=shop --before=127.0.0.1:8500@stable \
      --after=127.0.0.1:8500@canary
  tfb2d shadow --logs=/var/log/topics --fields=text --before=old:8500 --after=new:8500@3 --json=moved.json

A server is HOST:PORT (or unix:/path), with @LABEL or @VERSION where it holds several. Requests are drawn at random from
the logs. Rankings are sent as rankings, other requests as rows. Prints how far scores moved, how many decisions changed,
and how many rankings have another first title. Exit status: 0; 3 where a larger share of decisions changed than
--max_flips.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError, counted

if TYPE_CHECKING:
    from tfb2d.monitor.requests import LoggedRequest
    from tfb2d.serving import Client

EXTRA = "client"  # of pip, with the packages that it needs
MOVED = 3
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass
class Comparison:
    """Holds two servers' answers to the same requests."""

    before: NDArray[np.float32]  # scores `[n]`, or `[n, k]`
    after: NDArray[np.float32]  # of the same shape
    rankings: list[slice]  # the slice of each ranking's rows
    texts: list[tuple[bytes, ...]]  # `[n]`, the rows' texts

    @property
    def moved(self) -> NDArray[np.float64]:
        """Returns how far each row's score moved, `[n]`; see `metrics.distances`."""
        from tfb2d.evaluation.scores import distances

        return distances(self.after.astype(np.float64), self.before.astype(np.float64))

    def figures(self) -> dict[str, Any]:
        """Returns the mean and quantiles of moves, the share of changed decisions, and how rankings changed.

        `tau` is Kendall's tau-b of the two orders, averaged over rankings of two titles or more with different scores.
        """
        from scipy.stats import kendalltau

        from tfb2d.evaluation.scores import decisions

        old, new = decisions(self.before.astype(np.float64)), decisions(self.after.astype(np.float64))
        long = [part for part in self.rankings if part.stop - part.start > 1]
        first = [int(self.before[part].argmax()) != int(self.after[part].argmax()) for part in long]
        taus = [
            float(kendalltau(self.before[part], self.after[part]).statistic)
            for part in long
            if np.ptp(self.before[part]) and np.ptp(self.after[part])
        ]
        return {
            "rows": len(self.texts),
            "mean": float(self.moved.mean()),
            "quantiles": {f"{q:g}": float(np.quantile(self.moved, q)) for q in QUANTILES},
            "flips": float((old != new).mean()),
            "flips_to_yes": float(((old == 0) & (new == 1)).mean()) if self.before.ndim == 1 else None,
            "rankings": len(long),
            "first_changed": float(np.mean(first)) if first else None,
            "tau": float(np.mean(taus)) if taus else None,
        }


def compare(
    before: "Client", after: "Client", requests: Sequence["LoggedRequest"], progress: bool = True
) -> Comparison:
    """Sends requests to two servers and collects their answers; raises ServingError where one does not answer."""
    from tqdm import tqdm

    scores: tuple[list[Any], list[Any]] = ([], [])
    rankings: list[slice] = []
    texts: list[tuple[bytes, ...]] = []
    for request in tqdm(requests, desc="shadow", unit="request", disable=not progress, leave=False):
        rows = list(zip(*request.texts, strict=True))
        by_query = groupby(rows, itemgetter(0)) if request.ranked else ()
        queries, groups = [], []
        for query, rows_of_query in by_query:
            queries.append(query)
            groups.append([title for _, title in rows_of_query])
        for client, answers in zip((before, after), scores, strict=True):
            answers.append(np.concatenate(client.rank(queries, groups)) if request.ranked else client.score(rows))
        ends = np.cumsum([len(texts), *map(len, groups)]).tolist()
        rankings += [slice(start, end) for start, end in pairwise(ends)]
        texts += rows
    return Comparison(np.concatenate(scores[0]), np.concatenate(scores[1]), rankings, texts)


def client(server: str, model: str, fields: Sequence[str], timeout: float) -> "Client":
    """Returns a client of ADDRESS, ADDRESS@LABEL or ADDRESS@VERSION."""
    from tfb2d.serving import Client

    address, _, which = server.rpartition("@") if "@" in server else (server, "", "")
    version = int(which) if which.isdecimal() else 0
    return Client(address, model, version=version, label="" if version else which, fields=fields, timeout=timeout)


def summary(figures: dict[str, Any]) -> str:
    """Lays out the figures as lines."""
    places = ", ".join(
        f"{'largest' if q == '1' else 'p' + format(100 * float(q), 'g')} {v:.4f}"
        for q, v in figures["quantiles"].items()
    )
    lines = [f"{counted(figures['rows'], 'row')}: scores moved by {figures['mean']:.4f} in the mean, {places}"]
    to_yes = "" if figures["flips_to_yes"] is None else f", {figures['flips_to_yes']:.2%} from no to yes"
    lines.append(f"{figures['flips']:.2%} of the decisions changed{to_yes}")
    if figures["rankings"]:
        tau = "" if figures["tau"] is None else f"; Kendall's tau {figures['tau']:.3f}"
        lines.append(f"{figures['rankings']:,} rankings: another first title in {figures['first_changed']:.1%}{tau}")
    return "\n".join(lines)


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    servers = parser.group("servers")
    servers.flag("before", "The server that answers now.", required=True, metavar="ADDRESS[@LABEL|@VERSION]")
    servers.flag("after", "The server to compare with it.", required=True, metavar="ADDRESS[@LABEL|@VERSION]")
    servers.flag("model", "The model to ask on both servers. [default: --name, or student]", "", metavar="NAME")
    servers.real("timeout", "Seconds to wait for an answer.", 10.0, 0.001)
    logs = parser.group("requests")
    what = "Files, globs or folders of request logs, separated by commas."
    logs.words("logs", what, required=True, metavar="FILE,...")
    logs.words("fields", "The model's text fields, in order: text, or query,title.", required=True)
    logs.flag("name", "Only what this model on the server answered. [default: all]", "")
    logs.integer("requests", "Requests to send.", 1000, 1)
    logs.integer("seed", "Of the draw.", 0, 0)
    output = parser.group("output")
    output.real("max_flips", "Share of decisions that may change before the exit status is 3.", 1.0, 0.0, 1.0)
    output.flag("json", "Write the figures to this file, too.", "", metavar="FILE")
    output.integer("show_text", "How many of the rows that moved most to print, with their texts.", 0, 0)
    output.switch("progress", "Show a progress bar.", True)


def run(options: Namespace) -> int:
    """Runs the command; returns its exit status."""
    from tfb2d.atomic import write_json
    from tfb2d.data.task import Task
    from tfb2d.errors import DataError
    from tfb2d.monitor.logs import LogReader
    from tfb2d.monitor.requests import Unroller
    from tfb2d.monitor.sample import Reservoir
    from tfb2d.outcomes import Calibration

    model = options.model or options.name or "student"
    try:
        unroller = Unroller(Task(tuple(options.fields)), Calibration(), scores=False)
        reader = LogReader(options.logs, unroller, None, options.name, progress=options.progress)
        kept: Reservoir[LoggedRequest] = Reservoir(options.requests, options.seed)
        for request in reader.requests():
            kept.offer(1, lambda _, request=request: request if len(request.scores) else None)  # type: ignore[misc]
        if not kept.items():
            raise DataError(f"no rows in the logs' {reader.counts.requests:,} requests")
        with (
            client(options.before, model, options.fields, options.timeout) as old,
            client(options.after, model, options.fields, options.timeout) as new,
        ):
            compared = compare(old, new, kept.items(), options.progress)
    except ValueError as error:  # an impossible address or field
        raise UserError(str(error)) from error
    figures = compared.figures()
    if options.json:
        write_json(Path(options.json), figures)
    print(summary(figures))
    for row in np.argsort(-compared.moved, kind="stable")[: options.show_text]:
        texts = "\t".join(ascii(text.decode("utf-8", "replace"))[1:-1] for text in compared.texts[row])
        print(f"{compared.before[row].max():.3f} -> {compared.after[row].max():.3f}\t{texts}")
    return MOVED if figures["flips"] > options.max_flips else 0


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("shadow")
