"""Measures the costs of storing a twin's weights: megabytes, changed vectors and scores, titles not retrieved any more.

  tfb2d storage --twin=runs/shop/twin --queries=queries.txt --titles=titles.txt
  tfb2d storage --twin=runs/shop/twin_transformer --queries=queries.txt --titles=titles.txt

Files hold a text a line. The twin with float32 weights is what the others are compared with.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.cli.arguments import Parser

if TYPE_CHECKING:
    from tfb2d.twin.model import Twin

BATCH = 256
AT = 100  # titles that are retrieved for a query


@dataclass(frozen=True)
class Cost:
    """Holds what a way of storing weights costs, against float32."""

    megabytes: float  # 10^6 bytes of all variables that are served
    least_cosine: float  # of a query's vector with its vector by float32 weights: the smallest
    # Of the titles that float32 retrieves first: the largest change of their score, before calibration
    score_change: float
    recall: float  # share of the `AT` titles that float32 retrieves which are still among the first `AT`
    recall_10: float  # the same of the first 10


def costs(twin: "Twin", queries: Sequence[str], titles: Sequence[str]) -> dict[str, Cost]:
    """Returns the costs of each way of storing a trained twin's weights, "float" first; there are more titles than `AT`."""
    from scipy.special import expit

    from tfb2d.twin.saved_model import ServedTwin
    from tfb2d.twin.served_layers import WEIGHTS

    exact: dict[str, np.ndarray] = {}
    measured = {}
    for weights in reversed(WEIGHTS):
        served = ServedTwin(twin, weights)
        vectors = {"query": _embed(served.query, queries), "title": _embed(served.title, titles)}
        exact = exact or vectors
        first, now = _nearest(exact), _nearest(vectors)
        pairs = np.repeat(np.arange(len(queries)), 10), first[:, :10].ravel()
        scores = [expit(twin.cross(v["query"][pairs[0]], v["title"][pairs[1]])) for v in (exact, vectors)]
        measured[weights] = Cost(
            megabytes=sum(v.dtype.size * int(np.prod(v.shape)) for v in served.variables) / 1e6,
            least_cosine=float((exact["query"] * vectors["query"]).sum(1).min()),
            score_change=float(np.abs(scores[1] - scores[0]).max()),
            recall=_overlap(first, now),
            recall_10=_overlap(first[:, :10], now[:, :10]),
        )
    return measured


def _embed(tower: object, texts: Sequence[str]) -> np.ndarray:
    import tensorflow as tf

    run = tf.function(tower, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    return np.concatenate([run(tf.constant(texts[at : at + BATCH])).numpy() for at in range(0, len(texts), BATCH)])


def _nearest(vectors: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the indices of the `AT` titles nearest to each query, the nearest first."""
    return np.stack([np.argsort(-(vectors["title"] @ query), kind="stable")[:AT] for query in vectors["query"]])


def _overlap(first: np.ndarray, now: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(first, now, strict=True)]))


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    files.flag("twin", "The folder of a trained twin.", required=True, metavar="DIR")
    files.flag("queries", "A text file with a query a line.", required=True, metavar="FILE")
    files.flag("titles", "A text file with a title a line.", required=True, metavar="FILE")


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.evaluation.table import layout
    from tfb2d.twin.model import load_twin

    texts = [Path(file).read_text(encoding="utf-8").splitlines() for file in (options.queries, options.titles)]
    rows = [["weights", "MB", "least cosine", "score change", f"recall@{AT}", "recall@10"]]
    for weights, cost in costs(load_twin(Path(options.twin)), *texts).items():
        recalls = [f"{cost.recall:.4f}", f"{cost.recall_10:.4f}"]
        rows.append(
            [weights, f"{cost.megabytes:.2f}", f"{cost.least_cosine:.5f}", f"{cost.score_change:.5f}", *recalls]
        )
    print(layout(rows))


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("storage")
