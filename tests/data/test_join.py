"""Teachers' scores out of files, joined to rows by their texts."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tables import write
from tfb2d.data.join import Matches, join_scores
from tfb2d.data.readers import Reading
from tfb2d.data.task import Task
from tfb2d.errors import DataError

BINARY = Task(("text",))
NAMED = Task(("text",), "binary", ("rotten", "fresh"))
NEWS = Task(("text",), "multiclass", ("a", "b", "c"))
GRADED = Task(("text",), "graded", label_range=(0, 4))


def logits_of(path: Path, texts: list[str], task: Task = BINARY, **settings) -> list:
    return join_scores(task, [path], [texts], **settings)[0].tolist()


def log_odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


@pytest.mark.parametrize("task", [BINARY, NAMED])
@pytest.mark.parametrize(
    ("columns", "values", "logit"),
    [
        (["logit"], [1.5], 1.5),
        (["logit_0"], [1.5], 1.5),
        (["logit_0", "logit_1"], [-0.75, 2.0], 2.75),
        (["logit_1", "logit_0"], [2.0, -0.75], 2.75),
        (["score"], [0.8], log_odds(0.8)),
        (["score_0", "score_1"], [0.2, 0.8], log_odds(0.8)),
        (["probability_0", "probability_1"], [0.1, 0.4], log_odds(0.8)),  # not normalised
        (["probability"], [1.0], log_odds(1 - 1e-6)),
        (["score_0", "score_1"], [0.0, 1.0], log_odds(1 - 1e-6)),
        (["logit", "logit_0", "logit_1"], [1.0, 5.0, 9.0], 1.0),
    ],
)
def test_columns_of_a_binary_task(task: Task, columns: list[str], values: list, logit: float, tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", *columns], [("a", *values)])
    assert logits_of(path, ["a"], task)[0] == pytest.approx([logit], rel=1e-5)


def test_columns_called_as_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit_fresh", "logit_rotten"], [("a", 3, 1)])
    assert logits_of(path, ["a"], NAMED) == [[2]]
    path = write(tmp_path / "s.tsv", ["text", "llm_a", "llm_b", "llm_c"], [("a", 3, 1, 2)])
    assert logits_of(path, ["a"], NEWS, column="llm") == [[3, 1, 2]]
    path = write(tmp_path / "s.tsv", ["text", "llm_0", "llm_1"], [("a", 3, 1)])
    assert logits_of(path, ["a"], BINARY, column="llm") == [[-2]]


def test_two_logits_decide_as_their_difference(tmp_path: Path) -> None:
    """Scores of a softmax over two classes: the teacher names the class with the larger one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    pairs = rng.normal(0, 1, (400, 2)) + 1.3 * np.eye(2)[labels] + rng.normal(0, 3, (400, 1))
    texts = [f"film {i}" for i in range(400)]
    path = write(
        tmp_path / "s.tsv", ["text", "logit_0", "logit_1"], [(t, *p) for t, p in zip(texts, pairs, strict=True)]
    )
    logits = np.array(logits_of(path, texts))[:, 0]
    right = pairs.argmax(1) == labels
    assert np.allclose(logits, pairs[:, 1] - pairs[:, 0], atol=1e-5)
    assert ((logits > 0) == labels).mean() == right.mean() > 0.75


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        (BINARY, ["logit_0", "logit_1", "logit_2"], "'logit_2' too many: the task takes logit_0, logit_1"),
        (NEWS, ["logit_0", "logit_1", "logit_2", "logit_3"], "'logit_3' too many"),
        (GRADED, ["logit_0", "logit_1"], "'logit_1' too many: the task takes logit_0"),
        (NEWS, ["logit_0", "logit_1"], "no column of scores: logit_0, logit_1, logit_2 or logit_a, logit_b, logit_c"),
        (BINARY, ["grade"], r"no column of scores: logit or logit_0, logit_1 .*its columns: text, grade"),
    ],
)
def test_columns_of_another_task(task: Task, columns: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", *columns], [("a", *range(len(columns)))])
    with pytest.raises(DataError, match=message):
        logits_of(path, ["a"], task)


def test_a_text_scored_twice_gets_the_mean(tmp_path: Path) -> None:
    write(tmp_path / "1.tsv", ["text", "logit"], [("a", 1), ("b", 5), ("a", 2)])
    write(tmp_path / "2.tsv", ["text", "logit"], [("a", 6)])
    assert logits_of(tmp_path, ["a", "b", "a"]) == [[3], [5], [3]]


@pytest.mark.parametrize(
    ("scored", "row"),
    [
        ("RED SHOE, size 5", "Red shoe, size 5"),
        ("red shoe ", " red  shoe"),
        ("Tom &amp; Jerry&#39;s &lt;hat&gt;", "Tom & Jerry's <hat>"),
        ("Tom & Jerry", "Tom &amp; Jerry"),
        ("cafe\u0301", "caf\u00e9"),
        ("STRASSE", "stra\u00dfe"),
        ("a\u00a0b", "a b"),
    ],
)
def test_texts_match_up_to_what_scorers_change(scored: str, row: str, tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [(scored, 2), ("other", 1)])
    logits, matches = join_scores(BINARY, [path], [[row, "other"]])
    assert logits.tolist() == [[2], [1]]
    assert (matches.exact, matches.loose) == (1, 1)
    assert str(matches).startswith("2 of 2 rows have a score, 1 by exactly their text, 1 up to spaces")


def test_numbers_and_signs_tell_texts_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [("15 mm", 1), ("C#", 2), ("1/2 inch", 3)])
    logits, matches = join_scores(BINARY, [path], [["1.5 mm", "C++", "12 inch", "15 mm", "C#", "1/2 inch"]])
    assert np.isnan(logits[:3]).all()
    assert logits[3:].tolist() == [[1], [2], [3]]
    assert (matches.exact, matches.missing) == (3, 3)


def test_the_exact_text_counts_first_and_an_ambiguous_one_gets_none(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [("Polish", 1), ("polish", 2), ("film", 3)])
    logits, matches = join_scores(BINARY, [path], [["Polish", "polish", "POLISH", "FILM"]])
    assert logits[[0, 1, 3], 0].tolist() == [1, 2, 3]
    assert np.isnan(logits[2])
    assert (matches.exact, matches.loose, matches.ambiguous, matches.missing) == (2, 1, 1, 0)
    assert "without one, like several scored texts in that way: 1" in str(matches)


def test_fields_of_a_pair_do_not_run_together(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["title", "query", "logit"], [("b c", "a", 1), ("x", "y", 2)])
    logits, _ = join_scores(Task(("query", "title")), [path], [["a", "a b", "y"], ["b c", "c", "X"]])
    assert np.array_equal(logits[:, 0], [1, np.nan, 2], equal_nan=True)


def test_scores_of_other_rows_stop_with_two_examples_side_by_side(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [(f"film number {i}, lemmatised", i) for i in range(20)])
    rows = [f"The film number {i} was lemmatised" for i in range(10, 20)] + ["film number 1, lemmatised"]
    with pytest.raises(DataError) as stopped:
        logits_of(path, rows)
    message = str(stopped.value)
    assert "match 1 of 11 different texts of the data, from 20 scored ones" in message
    assert "score row 'film number 10, lemmatised', data row 'The film number 10 was lemmatised'" in message
    assert message.count("data row") == 2


def test_rows_like_several_scored_texts_are_said_to_be_ambiguous(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [("Film", 1), ("FILM", 2), ("Song", 1), ("SONG", 2)])
    with pytest.raises(DataError) as stopped:
        logits_of(path, ["film", "song"])
    message = str(stopped.value)
    assert "match 0 of 2 different texts of the data, from 4 scored ones. Ambiguous: 2, each" in message
    assert "data row 'film', score row 'Film', score row 'FILM'" in message
    assert "must be the same" not in message
    with pytest.raises(DataError, match=r"Ambiguous: 1, each.*must be the same.*data row 'a play'"):
        logits_of(path, ["film", "a play"])


def test_a_share_of_the_rows_may_be_scored_and_more_than_the_rows_too(tmp_path: Path) -> None:
    texts = [f"film {i}" for i in range(100)]
    few = write(tmp_path / "few.tsv", ["text", "logit"], [(text, 1) for text in texts[:10]])
    assert join_scores(BINARY, [few], [texts])[1].exact == 10
    more = write(tmp_path / "more.tsv", ["text", "logit"], [(text, 1) for text in texts])
    matches = join_scores(BINARY, [more], [texts[:10]])[1]
    assert (matches.exact, matches.unused) == (10, 90)


def test_a_bad_row_is_rejected_and_counted(tmp_path: Path) -> None:
    good = [{"text": f"film {i}", "logit": str(i) if i % 2 else i} for i in range(300)]  # a number as text is one
    lines = [json.dumps(row).encode() for row in good]
    lines[7:7] = [b'{"text": "film x", "logit": "high"}', b'{"text": "caf\xe9", "logit": 1}']
    lines.append(json.dumps({"text": "film 1000", "logit": None}).encode())  # nobody scored it
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    logits, matches = join_scores(BINARY, [path], [["film 3", "film x", "film 1000", "film 299"]])
    assert np.array_equal(logits[:, 0], [3, np.nan, np.nan, 299], equal_nan=True)
    assert (matches.rejected, matches.missing) == (2, 2)
    with pytest.raises(DataError, match=r"2 of 303 rows cannot be used.*s\.jsonl, row 8, field 'logit': not a number"):
        join_scores(BINARY, [path], [["film 3"]], reading=Reading(max_rejected=0.001))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlogit\na\tinf\n", r"row 2, field 'logit': not a finite number"),
        ("text\tlogit\na\tgood\n", r"row 2, field 'logit': not a number: 'good'"),
        ("text\tlogit\na\t\n", r"no row has a score"),
        ("text\tscore\na\t0.1\nb\t-0.1\n", r"row 3, field 'score': no probability.*'-0\.1'.*call it 'logit'"),
        ("text\tprobability\na\t1.1\n", r"row 2, field 'probability': no probability.*'1\.1'"),
        ("query\tlogit\na\t1\n", r"no column 'text'"),
        ("text\tlogit\n", r"no rows"),
        ("", r"is empty"),
    ],
)
def test_what_is_wrong_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        logits_of(tmp_path / "s.tsv", ["a"])


def test_fasttexts_probabilities_are_clipped_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "probability": [1.00001, 1e-5]}), path)
    assert logits_of(path, ["a", "b"]) == [[pytest.approx(log_odds(1 - 1e-6))], [pytest.approx(log_odds(1e-5))]]
    pq.write_table(pa.table({"text": ["a", "b"], "probability": [1.001, 0.5]}), path)
    with pytest.raises(DataError, match=r"no probability, which lies in \[0, 1\]: '1\.001'"):
        logits_of(path, ["a", "b"])


@pytest.mark.parametrize("columns", [("score",), ("score_0", "score_1")])
def test_a_rare_value_outside_is_rejected_and_many_are_no_probabilities(columns: tuple, tmp_path: Path) -> None:
    def file(outside: int) -> Path:
        values = [1.7] * outside + [0.5] * (1000 - outside)
        rows = [(f"film {i}", *[value] * len(columns)) for i, value in enumerate(values)]
        return write(tmp_path / "s.tsv", ["text", *columns], rows)

    texts = [f"film {i}" for i in range(1000)]
    logits, matches = join_scores(BINARY, [file(10)], [texts])
    assert (matches.rejected, matches.missing, matches.exact) == (10, 10, 990)
    assert np.isnan(logits[:10]).all()
    assert (logits[10:] == 0).all()
    with pytest.raises(DataError, match=r"11 of 1,000 rows cannot be used.*'1\.7'.*call it 'logit'"):
        join_scores(BINARY, [file(11)], [texts])
    join_scores(BINARY, [file(11)], [texts], reading=Reading(max_rejected=0.02))


def test_grades_that_are_not_scaled_get_their_formula(tmp_path: Path) -> None:
    task = Task(("text",), "graded", label_range=(1, 3))
    path = write(tmp_path / "s.tsv", ["text", "score"], [(f"film {i}", 1 + i % 3) for i in range(30)])
    with pytest.raises(DataError, match=r"grades from 1 to 3, write \(grade - 1\) / 2 instead"):
        logits_of(path, ["film 1"], task)
    path = write(tmp_path / "s.tsv", ["text", "score"], [(f"film {i}", i % 3 / 2) for i in range(30)])
    assert logits_of(path, ["film 1"], task) == [[0]]


def test_logits_that_look_like_probabilities_are_pointed_out(tmp_path: Path, caplog) -> None:
    texts = [f"film {i}" for i in range(20)]
    for values, pointed_out in (([i / 20 for i in range(20)], True), ([i / 20 - 0.5 for i in range(20)], False)):
        path = write(tmp_path / "s.tsv", ["text", "llm"], list(zip(texts, values, strict=True)))
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="absl"):
            assert logits_of(path, texts, column="llm") == [[np.float32(value)] for value in values]
        assert ("all 20 values of llm lie in [0, 1]" in caplog.text) == pointed_out


def test_rows_without_a_score_are_no_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [f"film {i}" for i in range(40)]
    for scored, pointed_out in ((0, ""), (9, ""), (12, "all 12 values of logit lie in [0, 1]")):
        path = tmp_path / "s.jsonl"
        values = [0.5] * scored + [None] * (40 - scored)
        lines = [json.dumps({"text": text, "logit": value}) for text, value in zip(texts, values, strict=True)]
        path.write_text("\n".join(lines) + "\n")
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="absl"):
            if scored:
                join_scores(BINARY, [path], [texts])
            else:
                with pytest.raises(DataError, match="no row has a score"):
                    join_scores(BINARY, [path], [texts])
        assert pointed_out in caplog.text
        assert bool(pointed_out) == ("lie in [0, 1]" in caplog.text)


def test_score_files_are_read_as_the_rows_are(tmp_path: Path) -> None:
    path = tmp_path / "s.tsv"
    path.write_text('text\tlogit\na\t1\n"a ""b"""\t2\n"c" d\t3\n')
    rows = ["a", '"a ""b"""', '"c" d']
    with pytest.raises(DataError, match=r"data\.quoting=csv or data\.quoting=none"):
        join_scores(BINARY, [path], [rows])
    assert logits_of(path, rows, reading=Reading(quoting="none")) == [[1], [2], [3]]
    path = write(tmp_path / "long.tsv", ["text", "logit"], [("long " * 6000, 2)])
    with pytest.raises(DataError, match=r"longer than data\.max_chars=20000"):
        join_scores(BINARY, [path], [["long " * 6000]])
    assert logits_of(path, ["long " * 6000], reading=Reading(max_chars=30_000)) == [[2]]


def test_no_rows_are_joined_to_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", ["text", "logit"], [("a", 1)])
    logits, matches = join_scores(BINARY, [path], [[]])
    assert logits.shape == (0, 1)
    assert matches == Matches(unused=1)
