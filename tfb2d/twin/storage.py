"""Measures the costs of storing a twin's weights: megabytes, changed vectors and scores, titles not retrieved any more.

  python -m tfb2d.twin.storage --twin=runs/shop/twin --queries=queries.txt --titles=titles.txt

Files hold a text a line. The twin with float32 weights is what the others are compared with.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.errors import UserError

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
        scores = [1 / (1 + np.exp(-twin.cross(v["query"][pairs[0]], v["title"][pairs[1]]))) for v in (exact, vectors)]
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("twin", "the folder of a trained twin"), ("queries", "a file"), ("titles", "a file")):
        parser.add_argument(f"--{name}", required=True, type=Path, help=text)
    options = parser.parse_args(arguments)
    try:
        from tfb2d.twin.model import load_twin  # TensorFlow: not for --help

        texts = [path.read_text(encoding="utf-8").splitlines() for path in (options.queries, options.titles)]
        measured = costs(load_twin(options.twin), *texts)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'weights':10} {'MB':>8} {'least cosine':>13} {'score change':>13} {f'recall@{AT}':>11} {'recall@10':>10}")
    for weights, cost in measured.items():
        print(
            f"{weights:10} {cost.megabytes:8.2f} {cost.least_cosine:13.5f} {cost.score_change:13.5f} {cost.recall:11.4f} "
            f"{cost.recall_10:10.4f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
