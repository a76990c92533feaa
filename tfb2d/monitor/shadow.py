"""Shadow comparison: sends logged requests to two servers, or two versions of a model, and compares the answers.

  python -m tfb2d.monitor.shadow --logs=/var/log/shop --fields=query,title --name=shop --before=127.0.0.1:8500@stable \
      --after=127.0.0.1:8500@canary
  python -m tfb2d.monitor.shadow --logs=/var/log/topics --fields=text --before=old:8500 --after=new:8500@3 --json=moved.json

A server is HOST:PORT (or unix:/path), with @LABEL or @VERSION where it holds several. Requests are drawn at random from
the logs; rankings are sent as rankings, everything else as rows. Prints how far scores moved, how many decisions turned
over, and whether the first title of a ranking is another one. Exit status: 0; 3 where more decisions turned over than
--max_flips.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags
from numpy.typing import NDArray
from tqdm import tqdm

if TYPE_CHECKING:
    from tfb2d.monitor.requests import LoggedRequest
    from tfb2d.serving import Client

_LOGS = flags.DEFINE_list("logs", None, "Files, globs or folders of request logs, apart by commas.")
_FIELDS = flags.DEFINE_list("fields", None, "The model's text fields, in order: text, or query,title.")
_NAME = flags.DEFINE_string("name", "", "Only what this model on the server answered. [default: all]")
_MODEL = flags.DEFINE_string("model", "", "The model to ask on both servers. [default: --name, or student]")
_BEFORE = flags.DEFINE_string("before", None, "The server that answers now: ADDRESS[@LABEL or VERSION].")
_AFTER = flags.DEFINE_string("after", None, "The one that shall.")
_REQUESTS = flags.DEFINE_integer("requests", 1000, "Requests to send.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draw.", 0)
_TIMEOUT = flags.DEFINE_float("timeout", 10.0, "Seconds to wait for an answer.", 0.001)
_FLIPS = flags.DEFINE_float(
    "max_flips", 1.0, "Share of decisions that may turn over before the exit status is 3.", 0.0, 1.0
)
_JSON = flags.DEFINE_string("json", "", "Write the figures to this file, too.")
_SHOW = flags.DEFINE_integer("show_text", 0, "Print so many rows that moved most, with their texts.", 0)
_PROGRESS = flags.DEFINE_bool("progress", True, "Show a progress bar.")

MOVED = 3
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass
class Compared:
    """Two servers' answers to the same requests.

    Attributes:
      before, after: scores `[n]`, or `[n, k]`.
      rankings: of each ranking the slice of its rows.
      texts: `[n]`, the rows' texts.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    rankings: list[slice]
    texts: list[tuple[bytes, ...]]

    @property
    def moved(self) -> NDArray[np.float64]:
        """How far each row's score moved; of several classes the total variation, `[n]`."""
        gaps = np.abs(self.after.astype(np.float64) - self.before)
        return gaps if gaps.ndim == 1 else gaps.sum(1) / 2

    def figures(self) -> dict[str, Any]:
        """Rows, mean and quantiles of what moved, decisions turned over, and how rankings changed.

        `tau` is Kendall's tau-b of the two orders, averaged over rankings of two titles or more with different scores.
        """
        from scipy.stats import kendalltau

        from tfb2d.evaluation.metrics import decisions

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


def compare(before: "Client", after: "Client", requests: Sequence["LoggedRequest"], progress: bool = True) -> Compared:
    """Asks both.

    Raises:
      ServingError: one of them refuses, or is not there.
    """
    scores: tuple[list[Any], list[Any]] = ([], [])
    rankings: list[slice] = []
    texts: list[tuple[bytes, ...]] = []
    for asked in tqdm(requests, desc="shadow", unit="request", disable=not progress, leave=False):
        rows = list(zip(*asked.texts, strict=True))
        for client, found in zip((before, after), scores, strict=True):
            if asked.ranked:
                queries, groups = _grouped(rows)
                found.append(np.concatenate(client.rank(queries, groups)))
            else:
                found.append(client.score(rows))
        start = len(texts)
        if asked.ranked:
            for group in _grouped(rows)[1]:
                rankings.append(slice(start, start + len(group)))
                start += len(group)
        texts += rows
    return Compared(np.concatenate(scores[0]), np.concatenate(scores[1]), rankings, texts)


def _grouped(rows: Sequence[tuple[bytes, ...]]) -> tuple[list[bytes], list[list[bytes]]]:
    """Rows of a ranking by query, in their order."""
    queries: list[bytes] = []
    groups: list[list[bytes]] = []
    for query, title in rows:
        if not queries or queries[-1] != query:
            queries.append(query)
            groups.append([])
        groups[-1].append(title)
    return queries, groups


def client(server: str, model: str, timeout: float) -> "Client":
    """A client of ADDRESS, ADDRESS@LABEL or ADDRESS@VERSION."""
    from tfb2d.serving import Client

    address, _, which = server.rpartition("@") if "@" in server else (server, "", "")
    version = int(which) if which.isdecimal() else 0
    return Client(
        address, model, version=version, label="" if version else which, fields=_FIELDS.value, timeout=timeout
    )


def summary(found: dict[str, Any]) -> str:
    """The figures as lines."""
    places = ", ".join(
        f"{'largest' if q == '1' else 'p' + format(100 * float(q), 'g')} {v:.4f}" for q, v in found["quantiles"].items()
    )
    lines = [f"{found['rows']:,} rows: scores moved by {found['mean']:.4f} in the mean, {places}"]
    to_yes = "" if found["flips_to_yes"] is None else f", {found['flips_to_yes']:.2%} from no to yes"
    lines.append(f"{found['flips']:.2%} of the decisions turned over{to_yes}")
    if found["rankings"]:
        tau = "" if found["tau"] is None else f"; Kendall's tau {found['tau']:.3f}"
        lines.append(f"{found['rankings']:,} rankings: another first title in {found['first_changed']:.1%}{tau}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.data.errors import DataError
    from tfb2d.data.files import write_json
    from tfb2d.data.task import Task
    from tfb2d.evaluation.calibration import Calibration
    from tfb2d.monitor.logs import LogReader
    from tfb2d.monitor.requests import Unroller
    from tfb2d.monitor.sample import Reservoir
    from tfb2d.serving import ServingError

    model = _MODEL.value or _NAME.value or "student"
    try:
        unroller = Unroller(Task(tuple(_FIELDS.value)), Calibration(), scores=False)
        reader = LogReader(_LOGS.value, unroller, None, _NAME.value, progress=_PROGRESS.value)
        kept: Reservoir[LoggedRequest] = Reservoir(_REQUESTS.value, _SEED.value)
        for asked in reader.requests():
            kept.offer(1, lambda _, asked=asked: asked if len(asked.scores) else None)  # type: ignore[misc]
        if not kept.items():
            raise DataError(f"no rows in the logs' {reader.counts.requests:,} requests")
        with client(_BEFORE.value, model, _TIMEOUT.value) as old, client(_AFTER.value, model, _TIMEOUT.value) as new:
            compared = compare(old, new, kept.items(), _PROGRESS.value)
        found = compared.figures()
        if _JSON.value:
            write_json(Path(_JSON.value), found)
    except (DataError, ServingError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(summary(found))
    for row in np.argsort(-compared.moved, kind="stable")[: _SHOW.value]:
        texts = "\t".join(ascii(text.decode("utf-8", "replace"))[1:-1] for text in compared.texts[row])
        print(f"{compared.before[row].max():.3f} -> {compared.after[row].max():.3f}\t{texts}")
    if found["flips"] > _FLIPS.value:
        sys.exit(MOVED)


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["logs", "fields", "before", "after"])
    app.run(main)


if __name__ == "__main__":
    run()
