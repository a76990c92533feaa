"""What is scored: the same calls for everybody, out of real texts."""

from pathlib import Path

import numpy as np
import pytest

from tfb2d.bench import work as module
from tfb2d.bench.measure import BenchError
from tfb2d.bench.scoring import grouped
from tfb2d.bench.work import Rows, Work, films, load
from tfb2d.data.task import Task
from tfb2d.errors import DataError

PAIRS = Task(("query", "title"))


def pairs(rows: int) -> Work:
    works = Rows([[f"q{i % 3}" for i in range(rows)], [f"t{i}" for i in range(rows)]], np.zeros(rows))
    return Work("pairs", PAIRS, works, works)


def test_calls_hold_every_text_once_before_any_again() -> None:
    work = pairs(37)
    for batch in (1, 16, 64):
        calls = work.calls(batch)
        assert all(len(column) == batch for call in calls for column in call)
        titles = [title for _, column in calls for title in column]
        assert set(titles[:37]) == set(work.rows.columns[1])
        assert all(int(t[1:]) % 3 == int(q[1:]) for call in calls for q, t in zip(*call, strict=True))
        assert calls == pairs(37).calls(batch)


def test_a_ranking_has_the_querys_own_titles_first() -> None:
    calls = pairs(37).calls("rank")
    assert [query for query, _ in calls] == sorted({f"q{i}" for i in range(3)}, key=[q for q, _ in calls].index)
    for query, titles in calls:
        own = [f"t{i}" for i in range(37) if f"q{i % 3}" == query]
        assert len(titles) == 100
        assert sorted(titles[: len(own)]) == sorted(own)


def test_films_are_split_and_paired() -> None:
    snippets, plots, about = films()
    assert [work.name for work in (snippets, plots, about)] == ["quickstart", "plots", "films"]
    assert not set(snippets.rows.columns[0]) & set(snippets.train.columns[0])
    assert plots.rows.labels is None
    assert np.mean([len(text) for text in plots.rows.columns[0]]) > 300
    assert about.pairs
    assert about.rows.labels is not None
    assert np.mean(about.rows.labels) == 0.5
    assert not set(about.rows.columns[0]) & set(about.train.columns[0]) - {""}
    assert [[work.name for work in group] for group in grouped([snippets, plots, about])] == [
        ["quickstart", "plots"],
        ["films"],
    ]


def test_files_and_run_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rows in (("dev", 5), ("train", 9)):
        lines = [f"{name} {i}\t{i % 2}" for i in range(rows)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    dev, train = str(tmp_path / "dev.tsv"), str(tmp_path / "train.tsv")
    (work,) = load([dev], train=[train], fields=["sentence"])
    assert (work.name, len(work.rows), len(work.train), work.unseen) == ("dev", 5, 9, True)
    (alone,) = load([dev], [Task(("sentence",))])
    assert not alone.unseen  # what learns from these rows gets no accuracy
    with pytest.raises(DataError, match="text"):
        load([dev])
    with pytest.raises(BenchError, match="different fields"):
        load([dev], [PAIRS, Task(("sentence",))])
    with pytest.raises(BenchError, match="rename"):
        load([dev, dev], fields=["sentence"])

    from tfb2d.config import DataConfig
    from tfb2d.data.prepare import prepare

    prepare(
        DataConfig(train=(train,), test=(dev,), fields=("sentence",), valid_fraction=0.3),
        tmp_path / "run" / "data",
        progress=False,
    )
    for folder in (tmp_path / "run", tmp_path / "run" / "data"):
        (works,) = load([str(folder)])
        assert (works.name, len(works.rows)) == ("run", 5)
        assert 0 < len(works.train) < 9  # without validation rows
    assert module.TITLES == 100
