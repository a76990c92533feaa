from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit, softmax

from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS
from tests.tables import write
from tfb2d.data.readers import Reading
from tfb2d.errors import DataError
from tfb2d.evaluation.bm25 import bm25_scores
from tfb2d.evaluation.labelled import evaluate, score_labelled_rows
from tfb2d.evaluation.metrics import metrics
from tfb2d.evaluation.scores import agreement
from tfb2d.evaluation.teacher_scores import few_scored, teacher_scores, teacher_warnings

WORDS = ["good film", "bad film", "a good one", "not for me", "good", "dull"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    rows = [
        (f"{WORDS[row % 6]} {row}", ["bad", "good"][row % 2 ^ (row % 7 == 0)], f"m{row // 10}") for row in range(300)
    ]
    return write(tmp_path / "judged.csv", ["text", "label", "movie"], rows)


def test_scores_are_evaluated(reviews: Path, scorers) -> None:
    scored = score_labelled_rows(scorers["binary"], [reviews], group="movie", progress=False)
    texts = [f"{WORDS[row % 6]} {row}" for row in range(300)]
    assert scored.columns == [texts]
    assert scored.scores.tolist() == scorers["binary"].score([texts])[0].tolist()
    figures = evaluate(REVIEWS, scored, resamples=100)
    expected = metrics("binary", scored.labels, scored.scores, scored.groups)
    assert {name: result["value"] for name, result in figures["student"].items()} == expected
    assert figures["bm25"] is None  # single texts have no query
    assert (figures["rows"], figures["groups"], figures["teacher"], figures["retention"]) == (300, 30, None, None)


def test_names_of_its_own_and_grades(tmp_path: Path, scorers) -> None:
    rows = [("tv", f"match {row}", 1 + 2 * (row % 2)) for row in range(20)] + [("tv", "x", 7)]
    source = write(tmp_path / "judged.parquet", ["term", "name", "rating"], rows)
    options = {"texts": ["term", "name"], "label": "rating", "group": "term", "progress": False}
    scored = score_labelled_rows(scorers["graded"], [source], reading=Reading(0.1), **options)
    assert scored.labels.tolist() == [0, 1] * 10
    assert set(scored.groups) == {"tv"}
    assert list(scored.reasons.values()) == [1]
    with pytest.raises(DataError, match="rows cannot be used"):
        score_labelled_rows(scorers["graded"], [source], **options)


def test_labels_that_the_model_does_not_know(tmp_path: Path, scorers) -> None:
    source = write(tmp_path / "judged.tsv", ["text", "label"], [("a", "nice")])
    with pytest.raises(DataError, match=r"1 of 1 rows cannot be used.*unknown label"):
        score_labelled_rows(scorers["binary"], [source], reading=Reading(0.999), progress=False)
    with pytest.raises(DataError, match="no column 'lable'; did you mean 'label'"):
        score_labelled_rows(scorers["binary"], [source], label="lable", progress=False)


def test_beside_a_teacher(reviews: Path, tmp_path: Path, scorers) -> None:
    scored = score_labelled_rows(scorers["binary"], [reviews], group="movie", progress=False)
    logits = np.random.default_rng(0).normal(size=300) + 2 * scored.labels - 1
    texts = pa.array([*scored.columns[0][::-1], "elsewhere"])
    (tmp_path / "logits").mkdir()
    table = pa.table({"text": texts, "logit": pa.array([*logits[::-1], 0.0], pa.float32())})
    for part in range(2):
        pq.write_table(table.slice(part * 150, 151), tmp_path / f"logits/part-{part:05d}.parquet")
    figures = evaluate(REVIEWS, scored, [tmp_path / "logits"], resamples=100)
    assert figures["teacher_rows"] == 300
    teacher = expit(logits.astype(np.float32))
    assert figures["teacher"]["accuracy"]["value"] == metrics("binary", scored.labels, teacher)["accuracy"]
    assert figures["fidelity"]["value"] == agreement(teacher, scored.scores).mean()
    kept = figures["student"]["accuracy"]["value"] / figures["teacher"]["accuracy"]["value"]
    assert figures["retention"]["value"] == pytest.approx(kept)
    assert figures["retention"]["ci95"][0] < kept < figures["retention"]["ci95"][1]
    assert figures["headline_measure"] == "accuracy"
    assert figures["headline_retention"] == figures["retention"]


def test_pairs_have_bm25_beside_them(tmp_path: Path, scorers) -> None:
    titles = ["match usb hub", "other usb hub", "red shoe match", "other thing", "usb match"]
    rows = [
        (query, title, 1 + (len(title) + len(query)) % 3) for query in ("usb hub", "shoe", "thing") for title in titles
    ]
    scored = score_labelled_rows(
        scorers["graded"], [write(tmp_path / "judged.tsv", ["query", "title", "grade"], rows)], progress=False
    )
    logits = [(query, title, grade - 2 + 0.1 * (len(title) % 2)) for query, title, grade in rows]
    teacher = write(tmp_path / "logits.tsv", ["query", "title", "logit"], logits)
    figures = evaluate(PAIRS, scored, [teacher], resamples=50)
    words = bm25_scores(*scored.columns)
    expected = metrics("graded", scored.labels, words / (1 + words), scored.groups)
    kept = ("roc_auc", "pr_auc", "ndcg10", "ndcg10_all", "spearman", "pair_order")
    assert {name: result["value"] for name, result in figures["bm25"].items()} == {
        name: expected[name] for name in kept
    }
    assert figures["bm25"]["spearman"]["ci95"] is not None
    own, low, high = (figures[name]["spearman"]["value"] for name in ("student", "bm25", "teacher"))
    assert figures["over_bm25"]["value"] == pytest.approx((own - low) / (high - low))
    own, low, high = (figures[name]["ndcg10"]["value"] for name in ("student", "bm25", "teacher"))
    assert figures["ndcg10_over_bm25"]["value"] == pytest.approx((own - low) / (high - low))
    without = evaluate(PAIRS, scored, [teacher], bm25=False, resamples=0)
    assert (without["bm25"], without["over_bm25"], without["student"].keys()) == (None, None, figures["student"].keys())
    alone = evaluate(PAIRS, scored, resamples=0)
    assert alone["bm25"].keys() == figures["bm25"].keys()
    assert alone["over_bm25"] is None


def test_a_teacher_of_some_rows_only(reviews: Path, tmp_path: Path, scorers) -> None:
    scored = score_labelled_rows(scorers["binary"], [reviews], progress=False)
    rows = [(text, "" if at % 2 else str(at)) for at, text in enumerate(scored.columns[0][:100])]
    figures = evaluate(REVIEWS, scored, [write(tmp_path / "l.tsv", ["text", "logit"], rows)], resamples=10)
    assert figures["teacher_rows"] == 50
    half = slice(0, 100, 2)
    kept = (
        metrics("binary", scored.labels[half], scored.scores[half])["accuracy"]
        / figures["teacher"]["accuracy"]["value"]
    )
    assert figures["retention"]["value"] == pytest.approx(kept)


def test_a_teachers_file_is_read_as_the_rows_are(tmp_path: Path, scorers) -> None:
    """Both were written plainly, and have fields in quotes that say neither clearly."""
    rows = ['"fine" film', '"a ""b"""', "dull " * 5000]
    reading = Reading(max_chars=30_000, quoting="none")
    for name, column in (("judged", "label\n"), ("teacher", "logit\n")):
        values = ["good", "bad", "bad"] if name == "judged" else ["1", "-1", "-2"]
        lines = [f"{text}\t{value}\n" for text, value in zip(rows, values, strict=True)]
        (tmp_path / f"{name}.tsv").write_text("text\t" + column + "".join(lines))
    scored = score_labelled_rows(scorers["binary"], [tmp_path / "judged.tsv"], reading=reading, progress=False)
    assert scored.columns == [rows]
    figures = evaluate(REVIEWS, scored, [tmp_path / "teacher.tsv"], resamples=0)
    assert (figures["teacher_rows"], figures["teacher"]["accuracy"]["value"]) == (3, 1.0)


def test_scores_are_probabilities_of_the_logits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", ["text", "score"], [("a", 0.2), ("a", 0.2), ("b", 1)])
    result, matches = teacher_scores(REVIEWS, [path], [["a", "b", "a", "c"]])
    assert result == pytest.approx([0.2, 1, 0.2, np.nan], abs=1e-5, nan_ok=True)
    assert (matches.exact, matches.missing) == (3, 1)
    pairs = write(tmp_path / "b.jsonl", ["title", "query", "probability"], [("t", None, 0.3)])
    assert teacher_scores(PAIRS, [pairs], [[""], ["t"]])[0] == pytest.approx([0.3])
    logits = np.array([[1.0, 2, 3], [-80, 0, 80]])
    for ends in (range(3), NEWS.classes):
        path = write(
            tmp_path / "c.csv", ["text", *(f"logit_{end}" for end in ends)], [("a", *logits[0]), ("b", *logits[1])]
        )
        assert teacher_scores(NEWS, [path], [["b", "a"]])[0] == pytest.approx(softmax(logits[::-1], axis=1))
    path = write(tmp_path / "d.tsv", ["text", *(f"score_{name}" for name in NEWS.classes)], [("a", 0.1, 0.2, 0.7)])
    assert teacher_scores(NEWS, [path], [["a"]])[0][0] == pytest.approx([0.1, 0.2, 0.7])


def test_a_doubtful_teacher_is_pointed_out(reviews: Path, tmp_path: Path, scorers) -> None:
    scored = score_labelled_rows(scorers["binary"], [reviews], progress=False)
    right = 2 * scored.labels - 1
    for sign, warned in ((1, False), (-1, True)):
        rows = [(text, sign * z) for text, z in zip(scored.columns[0], right, strict=True)]
        figures = evaluate(REVIEWS, scored, [write(tmp_path / "l.tsv", ["text", "logit"], rows)], resamples=0)
        assert any("always naming the most frequent class" in text for text in figures["warnings"]) == warned
    assert teacher_warnings(REVIEWS, [0, 1, 1], {"accuracy": 0.7}, 1.21) == [
        "The student's accuracy is 1.21 times the teacher's: are the teacher's scores those of these rows, and logits or "
        "probabilities of the positive class?"
    ]
    assert teacher_warnings(NEWS, [0, 2, 2, 2], {"accuracy": 0.75}, 1.2) == []
    assert "The twin's accuracy is 1.30" in teacher_warnings(REVIEWS, [0, 1, 1], {"accuracy": 0.7}, 1.3, "twin")[0]
    assert few_scored(5, 10) == []
    assert "has scores for 4 of 10 rows of the test split, fewer than half;" in few_scored(4, 10)[0]
    assert "gives 0.750" in teacher_warnings(NEWS, [0, 2, 2, 2], {"accuracy": 0.7}, None)[0]
