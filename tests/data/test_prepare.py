import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.harness import PAIR, WORDS, content, phrase, write
from tfb2d.atomic import read_json
from tfb2d.config import AugmentConfig, DataConfig
from tfb2d.data import tables
from tfb2d.data.keys import both_keys
from tfb2d.data.prepare import prepare
from tfb2d.data.splits import SPLITS
from tfb2d.data.task import Task
from tfb2d.errors import DataError


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> dict[str, str]:
    """Writes labelled pairs of 100 queries, and a log of pairs, some of the same queries, under other column names."""
    draw = random.Random(0)
    queries = [phrase(draw, 2) for _ in range(100)]
    rows = [(query, phrase(draw, 8), draw.randrange(2)) for query in queries for _ in range(10)]
    log = [(query, phrase(draw, 8)) for query in queries for _ in range(5)]
    log += [(phrase(draw, 3), phrase(draw, 8)) for _ in range(1000)]
    folder = tmp_path_factory.mktemp("labelled")
    pairs = write(folder / "pairs.tsv", (*PAIR, "label"), rows)
    return {"pairs": pairs, "log": write(folder / "log.tsv", ("q", "t"), log)}


@pytest.fixture
def pairs(labelled) -> DataConfig:
    return DataConfig(
        train=(labelled["pairs"],),
        unlabelled=(labelled["log"],),
        unlabelled_fields=("q", "t"),
        fields=PAIR,
        group="query",
        valid_fraction=0.2,
        test_fraction=0.2,
        augment=AugmentConfig(copies=2),
    )


def texts(folder: Path, name: str, fields: tuple[str, ...] = ("text",)) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in tables.read_table(folder / name, fields).to_pylist()]


def test_pairs_by_query(pairs, tmp_path):
    stats = prepare(pairs, tmp_path, progress=False)
    assert read_json(tmp_path / "stats.json") == stats
    assert Task.from_json(read_json(tmp_path / "task.json")) == Task.from_config(pairs)
    split = {name: tables.read_table(tmp_path / name) for name in (*SPLITS, "transfer")}
    assert {name: table.num_rows for name, table in split.items()} == {name: stats[name] for name in split}
    assert sum(stats[name] for name in SPLITS) == 1000
    groups = {name: set(table["group"].to_pylist()) for name, table in split.items()}
    assert not groups["test"] & groups["valid"]
    assert not groups["train"] & (groups["test"] | groups["valid"])
    assert not groups["transfer"] & (groups["test"] | groups["valid"])
    assert stats["group_leaked"] == 5 * len(groups["test"] | groups["valid"])
    assert stats["transfer"] == stats["train"] + stats["unlabelled"] + stats["augmented"]
    labels = split["transfer"]["label"].to_pylist()
    assert labels[: stats["train"]] == split["train"]["label"].to_pylist()
    assert all(label != label for label in labels[stats["train"] :])
    assert len(set(texts(tmp_path, "transfer", PAIR))) == stats["transfer"]
    assert stats["augmented"] > 1.1 * (stats["train"] + stats["unlabelled"])
    assert sum(stats["labels"]["train"].values()) == stats["train"]
    assert (tmp_path / "rejected.jsonl").read_bytes() == b""


def test_the_same_inputs_give_the_same_bytes(pairs, tmp_path):
    prepare(pairs, tmp_path / "a", progress=False)
    prepare(pairs, tmp_path / "b", progress=False)
    prepare(pairs, tmp_path / "b", progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    prepare(replace(pairs, split_seed=1), tmp_path / "c", progress=False)
    assert content(tmp_path / "c")["test/part-00000.parquet"] != content(tmp_path / "a")["test/part-00000.parquet"]


def test_progress_goes_to_stderr(pairs, tmp_path, capsys):
    prepare(pairs, tmp_path)
    said = capsys.readouterr()
    assert "read train" in said.err
    assert "1,000 rows" in said.err
    assert "read unlabelled" in said.err
    assert "augment" in said.err
    assert said.out == ""


def test_given_files_and_leaks(tmp_path):
    test = write(
        tmp_path / "test.tsv",
        ("text", "label"),
        [("The film is good", 1), ("Bad, bad film", 0), ("Twice", 1), ("Twice", 1)],
    )
    valid = write(
        tmp_path / "valid.tsv", ("text", "label"), [("the FILM is good!", 1), ("Kept for valid", 0), ("another", 1)]
    )
    rows = [
        ("the film is GOOD", 1),
        ("film bad", 0),
        ("kept - for valid", 1),
        ("stays", 0),
        ("stays too", 1),
        ("stays", 0),
    ]
    train = write(tmp_path / "train.tsv", ("text", "label"), rows)
    log = write(
        tmp_path / "log.tsv", ("text",), [("Good is the film",), ("stays",), ("new",), ("new",), ("New",), ("twice",)]
    )
    data = DataConfig(train=(train,), valid=(valid,), test=(test,), unlabelled=(log,))
    stats = prepare(data, tmp_path / "out", progress=False)
    assert texts(tmp_path / "out", "test") == [("The film is good",), ("Bad, bad film",), ("Twice",), ("Twice",)]
    assert texts(tmp_path / "out", "valid") == [("Kept for valid",), ("another",)]
    assert texts(tmp_path / "out", "train") == [("stays",), ("stays too",), ("stays",)]
    assert texts(tmp_path / "out", "transfer") == [("stays",), ("stays too",), ("new",), ("New",)]
    expected = {"leaked": 3, "leaked_valid": 1, "near_leaked": 2, "group_leaked": 0, "duplicates": 3, "unlabelled": 2}
    assert {name: stats[name] for name in expected} == expected


def test_groups_of_given_test_files_leave_train(tmp_path):
    test = write(tmp_path / "test.tsv", ("text", "label", "movie"), [("a", 1, "M1"), ("b", 0, "M1")])
    rows = [(f"text {i}", i % 2, f"m{i % 5}") for i in range(50)]
    train = write(tmp_path / "train.tsv", ("text", "label", "movie"), rows)
    data = DataConfig(train=(train,), test=(test,), group="movie", valid_fraction=0.4)
    stats = prepare(data, tmp_path / "out", progress=False)
    assert stats["group_leaked"] == 10
    assert stats["train"] + stats["valid"] == 40


def test_scored_rows_join_whole(tmp_path):
    train = write(tmp_path / "train.tsv", ("text", "label"), [(f"some text {i}", i % 2) for i in range(100)])
    scored = write(
        tmp_path / "s.tsv", ("text", "logit"), [(f"some text {i}", 0.5) for i in range(100)] + [("One. Two. Three.", 1)]
    )
    data = DataConfig(train=(train,), augment=AugmentConfig(sentences=True))
    stats = prepare(data, tmp_path / "out", [(scored,)], progress=False)
    assert texts(tmp_path / "out", "transfer")[-1] == ("One. Two. Three.",)
    assert (stats["unlabelled"], stats["scored_left_out"], stats["leaked"], stats["duplicates"]) == (1, 100, 0, 0)


def test_augmentations_leak_nothing_either(tmp_path):
    test = write(tmp_path / "test.tsv", ("text", "label"), [(word, i % 2) for i, word in enumerate(WORDS[:100])])
    draw = random.Random(0)
    train = write(tmp_path / "train.tsv", ("text", "label"), [(phrase(draw, 6), i % 2) for i in range(200)])
    data = DataConfig(train=(train,), test=(test,), augment=AugmentConfig(copies=10, mask=0.1, ngram=1.0))
    stats = prepare(data, tmp_path / "out", progress=False)
    held = {both_keys(row)[0] for row in texts(tmp_path / "out", "test") + texts(tmp_path / "out", "valid")}
    made = texts(tmp_path / "out", "transfer")[stats["train"] :]
    assert len(made) == stats["augmented"] > 500
    assert not held & {both_keys(row)[0] for row in made}
    assert stats["augmented_left_out"] > 50
    assert any("[MASK]" in row[0] for row in made)


def test_only_labelled_rows_may_be_augmented(tmp_path):
    draw = random.Random(0)
    train = write(
        tmp_path / "train.tsv", ("text", "label"), [(f"labelled {phrase(draw, 6)}", i % 2) for i in range(200)]
    )
    log = write(tmp_path / "log.tsv", ("text",), [(f"logged {phrase(draw, 6)}",) for _ in range(300)])
    copies = AugmentConfig(copies=3, mask=0.3, ngram=0)
    made = {}
    for labelled_alone in (False, True):
        data = DataConfig(train=(train,), unlabelled=(log,), augment=replace(copies, labelled=labelled_alone))
        stats = prepare(data, tmp_path / str(labelled_alone), progress=False)
        rows = [text for (text,) in texts(tmp_path / str(labelled_alone), "transfer")]
        assert len(rows) == stats["train"] + 300 + stats["augmented"]
        made[labelled_alone] = rows[stats["train"] + 300 :]
    assert any("logged" in row for row in made[False])
    assert made[True] == [row for row in made[False] if row in set(made[True])]  # the same ones, in their order
    assert len(made[True]) > 300
    assert not any("logged" in row for row in made[True])


def test_unlabelled_rows_may_be_labelled_ones_and_limited(tmp_path):
    rows = [(f"text {i}", i % 2) for i in range(100)]
    train = write(tmp_path / "train.tsv", ("text", "label"), rows)
    log = write(tmp_path / "log.tsv", ("text", "label"), [(f"log {i}", "nonsense") for i in range(100)])
    data = DataConfig(train=(train,), unlabelled=(train, log), max_unlabelled=150)
    stats = prepare(data, tmp_path / "out", progress=False)
    assert (stats["unlabelled"], stats["duplicates"], stats["rejected"]) == (50, stats["train"], 0)
    assert stats["leaked"] + stats["leaked_valid"] == stats["test"] + stats["valid"]


def test_multi_class_and_graded(tmp_path):
    train = write(tmp_path / "a.tsv", ("text", "label"), [(f"text {i}", "abc"[i % 3]) for i in range(300)])
    stats = prepare(DataConfig(train=(train,), classes=("a", "b", "c")), tmp_path / "out", progress=False)
    assert list(stats["labels"]["train"]) == ["a", "b", "c"]
    assert set(tables.read_table(tmp_path / "out/train")["label"].to_pylist()) == {0, 1, 2}
    train = write(tmp_path / "b.tsv", ("text", "label"), [(f"text {i}", 1 + i % 3) for i in range(300)])
    stats = prepare(DataConfig(train=(train,), label_range=(1.0, 3.0)), tmp_path / "out", progress=False)
    assert list(stats["labels"]["train"]) == ["0", "0.5", "1"]
    assert read_json(tmp_path / "out/task.json")["kind"] == "graded"


any_text = st.text(st.sampled_from("abAB .,!é👍日\u0301\u200b"), min_size=1, max_size=6)


@settings(max_examples=12)
@given(data=st.data())
def test_no_held_out_text_survives_and_order_does_not_matter(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("a")
    row = st.tuples(any_text, any_text, st.integers(0, 1), st.sampled_from("pqrstuvwxyz"))
    rows = data.draw(st.lists(row, min_size=20, max_size=60))
    grouped = data.draw(st.booleans())
    fields = PAIR if data.draw(st.booleans()) else PAIR[:1]
    config = DataConfig(
        train=(str(folder / "a.jsonl"),),
        unlabelled=(str(folder / "log.jsonl"),),
        fields=fields,
        group="g" if grouped else "",
        valid_fraction=0.3,
        test_fraction=0.3,
        max_rejected=0.99,
        augment=AugmentConfig(copies=2, mask=0.3, ngram=0.5),
    )
    log = data.draw(st.lists(row, min_size=1, max_size=30))

    def run(rows: list[tuple], out: Path) -> dict[str, list[tuple[str, ...]]] | str:
        for name, lines in (("a.jsonl", rows), ("log.jsonl", log)):
            names = (*PAIR, "label", "g")
            (folder / name).write_text("\n".join(json.dumps(dict(zip(names, r, strict=True))) for r in lines))
        try:
            prepare(config, out, progress=False)
        except DataError as error:
            return str(error).split(":")[1]
        return {name: texts(out, name, fields) for name in (*SPLITS, "transfer")}

    first, second = run(rows, folder / "1"), run(data.draw(st.permutations(rows)), folder / "2")
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
        return
    for name in SPLITS:
        assert sorted(first[name]) == sorted(second[name])
    test, valid = ({both_keys(row) for row in first[name]} for name in ("test", "valid"))
    for held, others in ((test, ("valid", "train", "transfer")), (valid, ("train", "transfer"))):
        for name in others:
            here = [both_keys(row) for row in first[name]]
            assert not {key for key, _ in held} & {key for key, _ in here}
            assert not {near for _, near in held} & {near for _, near in here}
    assert len(set(first["transfer"])) == len(first["transfer"])
