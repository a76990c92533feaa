"""Unlabelled pairs that the data stage makes, from files and from labelled rows alone."""

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.harness import PAIR, content, phrase, write
from tfb2d.config import AugmentConfig, Config, ConfigError, DataConfig, RetrieveConfig, TeacherConfig
from tfb2d.data.keys import near_key, text_key
from tfb2d.data.prepare import prepare
from tfb2d.data.stage import data_settings, prepare_data
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError
from tfb2d.outcomes import DataOutcome
from tfb2d.runs import Run


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Writes 80 queries with 5 labelled titles each."""
    draw = random.Random(0)
    queries = list(dict.fromkeys(phrase(draw, 2) for _ in range(80)))
    rows = [(query, phrase(draw, 6), draw.randrange(2)) for query in queries for _ in range(5)]
    path = write(tmp_path_factory.mktemp("labelled") / "pairs.tsv", (*PAIR, "label"), rows)
    config = RetrieveConfig(nearest=3, near_misses=2, random=1)
    return DataConfig((path,), fields=PAIR, valid_fraction=0.2, test_fraction=0.2, retrieve=config)


def pairs(folder: Path, name: str) -> list[tuple[str, str]]:
    table = read_table(folder / name)
    return list(zip(table["query"].to_pylist(), table["title"].to_pylist(), strict=True))


def held_out(folder: Path) -> set[str]:
    return {
        key(query) for name in ("valid", "test") for query, _ in pairs(folder, name) for key in (text_key, near_key)
    }


def test_labelled_rows_alone(labelled: DataConfig, tmp_path: Path) -> None:
    assert prepare(labelled, tmp_path / "none", progress=False)["unlabelled"] == 0
    data = replace(labelled, retrieve=replace(labelled.retrieve, labelled=True, title_queries=0))
    stats = prepare(data, tmp_path / "a", progress=False)
    train = pairs(tmp_path / "a", "train")
    made = pairs(tmp_path / "a", "transfer")[stats["train"] :]
    counts = stats["made_pairs"]
    assert len(made) == counts["pairs"] == stats["unlabelled"] > 150
    assert {query for query, _ in made} == {query for query, _ in train}
    assert {title for _, title in made} <= {title for _, title in train}
    assert not held_out(tmp_path / "a") & {key(query) for query, _ in made for key in (text_key, near_key)}
    kinds = sum(counts[kind] for kind in ("nearest", "near_misses", "random"))
    assert kinds == counts["pairs"] + sum(stats[why] for why in ("duplicates", "leaked", "near_leaked", "leaked_valid"))
    assert DataOutcome.from_stats(stats).details["made_pairs"] == counts
    prepare(data, tmp_path / "b", progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_made_pairs_are_not_augmented(labelled: DataConfig, tmp_path: Path) -> None:
    alone = replace(labelled, augment=AugmentConfig(copies=1))
    plain = prepare(alone, tmp_path / "plain", progress=False)
    stats = prepare(replace(alone, retrieve=replace(alone.retrieve, labelled=True)), tmp_path / "out", progress=False)
    assert stats["made_pairs"]["pairs"] > stats["train"]
    assert 0.8 * plain["augmented"] < stats["augmented"] <= plain["augmented"]


def test_files_of_queries_and_titles(labelled: DataConfig, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "plain", progress=False)
    known = sorted({query for name in ("valid", "test") for query, _ in pairs(tmp_path / "plain", name)})
    draw = random.Random(1)
    new = [phrase(draw, 3) for _ in range(30)]
    with gzip.open(tmp_path / "queries.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join([*new, "", *known, f"  {new[0].upper()} ", new[1]]))
    titles = [phrase(draw, 6) for _ in range(200)]
    pq.write_table(pa.table({"title": pa.array([*titles, None])}), tmp_path / "titles.parquet")
    data = replace(
        labelled,
        queries=(str(tmp_path / "queries.txt.gz"),),
        titles=(str(tmp_path / "titles.parquet"),),
    )
    stats = prepare(data, tmp_path / "out", progress=False)
    made = pairs(tmp_path / "out", "transfer")[stats["train"] :]
    counts = stats["made_pairs"]
    assert counts["queries"] == 31  # a repeated line is one, another case is not
    assert counts["held_out_queries"] == len(known)
    assert counts["titles"] == len(set(titles))
    assert {title for _, title in made} <= set(titles)
    assert set(new) < {query for query, _ in made}
    assert not held_out(tmp_path / "out") & {key(query) for query, _ in made for key in (text_key, near_key)}
    assert stats["rejected_by_reason"] == {"empty text": 1}
    group = read_table(tmp_path / "out" / "transfer")["group"].to_pylist()[stats["train"] :]
    assert group == [query for query, _ in made]


def test_one_of_the_two_may_be_the_labelled_rows(labelled: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "titles.txt").write_text("word1 word2\nword3 word4\n", encoding="utf-8")
    stats = prepare(replace(labelled, titles=(str(tmp_path / "titles.txt"),)), tmp_path / "out", progress=False)
    made = pairs(tmp_path / "out", "transfer")[stats["train"] :]
    assert {title for _, title in made} == {"word1 word2", "word3 word4"}
    assert stats["made_pairs"]["queries"] == len({query for query, _ in pairs(tmp_path / "out", "train")})


def test_made_pairs_stand_behind_logs(labelled: DataConfig, tmp_path: Path) -> None:
    log = write(tmp_path / "log.tsv", PAIR, [("word1 word9", "word8 word7")])
    alone = replace(labelled.retrieve, labelled=True)
    stats = prepare(replace(labelled, unlabelled=(log,), retrieve=alone), tmp_path / "out", progress=False)
    transfer = pairs(tmp_path / "out", "transfer")
    assert transfer[stats["train"]] == ("word1 word9", "word8 word7")
    assert stats["unlabelled"] == 1 + stats["made_pairs"]["pairs"] == len(transfer) - stats["train"]


def test_bad_rows_are_named_with_file_and_row(labelled: DataConfig, tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_bytes(b"word1 word2\n\xff\xfe\xfa broken\nnul\0byte\n" + b"word5\n" * 3)
    data = replace(labelled, queries=(str(path),))
    with pytest.raises(DataError, match=rf"2 of 6 rows.*{path.name}, row 2, field 'query'"):
        prepare(data, tmp_path / "out", progress=False)
    stats = prepare(replace(data, max_rejected=0.5), tmp_path / "out", progress=False)
    assert stats["rejected_by_reason"] == {"NUL byte": 1, "invalid UTF-8": 1}
    with pytest.raises(DataError, match="'title' that the config names"):
        prepare(replace(labelled, titles=labelled_queries(tmp_path)), tmp_path / "other", progress=False)
    path.write_text("\n\n")
    with pytest.raises(DataError, match=f"{path.name}: no query"):
        prepare(data, tmp_path / "empty", progress=False)


def labelled_queries(folder: Path) -> tuple[str]:
    return (write(folder / "q.tsv", ("query", "other"), [("word1", "word2")]),)


def test_queries_that_are_all_held_out(labelled: DataConfig, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "plain", progress=False)
    query = pairs(tmp_path / "plain", "test")[0][0]
    (tmp_path / "q.txt").write_text(" ".join(reversed(query.split())).upper())
    with pytest.raises(DataError, match="every query is one of the validation or test split"):
        prepare(replace(labelled, queries=(str(tmp_path / "q.txt"),)), tmp_path / "out", progress=False)


def test_training_queries_that_are_all_held_out(labelled: DataConfig, tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{n}.tsv", (*PAIR, "label"), [("word1", f"word{n}", 1), ("word2", f"x{n}", 0)]) for n in "abc"
    ]
    data = replace(labelled, train=(files[0],), valid=(files[1],), test=(files[2],))
    stats = prepare(replace(data, retrieve=RetrieveConfig(labelled=True)), tmp_path / "out", progress=False)
    assert stats["made_pairs"]["pairs"] == 0
    assert stats["made_pairs"]["held_out_queries"] == 2


def test_scores_from_files_alone_leave_no_pair_to_make(labelled: DataConfig, tmp_path: Path) -> None:
    scores = write(tmp_path / "scores.tsv", (*PAIR, "logit"), [("word1", "word2", 0.5)])
    data = replace(labelled, retrieve=RetrieveConfig(labelled=True))
    config = Config(data=data, teachers={"llm": TeacherConfig(logits=(scores,))})
    outcome = prepare_data(Run(tmp_path / "run", progress=False), config)
    assert "made_pairs" not in outcome.details


def test_the_stage_depends_on_the_files(labelled: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("word1 word2\n")
    data = replace(labelled, queries=(str(tmp_path / "q.txt"),))
    teachers = {"model": TeacherConfig(preset="p")}
    before = data_settings(Config(data=data, teachers=teachers))
    assert before != data_settings(Config(data=labelled, teachers=teachers))
    (tmp_path / "q.txt").write_text("word1 word2 word3\n")
    assert before != data_settings(Config(data=data, teachers=teachers))
    with pytest.raises(ConfigError, match="scores from files do not cover"):
        Config(data=data, teachers={"llm": TeacherConfig(logits=("scores.tsv",))})
