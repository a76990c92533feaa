"""Whole runs in one process on made-up text: graded pairs with two teachers, classes from outside scores, bad settings."""

import csv
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from absl import flags
from ml_collections import config_flags
from scipy.stats import spearmanr

from tests.teachers.harness import save_encoder
from tfb2d import pipeline
from tfb2d.atomic import read_json, write_json
from tfb2d.config import (
    Config,
    ConfigError,
    DataConfig,
    DistillConfig,
    ExportConfig,
    LabelConfig,
    ReportConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    TwinConfig,
)
from tfb2d.data.stage import data_contents
from tfb2d.data.tables import read_table
from tfb2d.edge import EdgeScorer
from tfb2d.evaluation.scorer import Scorer
from tfb2d.model_folder import ABOUT
from tfb2d.outcomes import DataOutcome, ReportOutcome
from tfb2d.resume import RECORD
from tfb2d.runs import Run
from tfb2d.stages import stages

STUDENT = StudentConfig(buckets=2**10, dim=8, ffn=(16,), max_tokens=16, soft_buckets=2**8)
TWIN = TwinConfig(kind="ngram", buckets=2**10, width=16, dim=8, epochs=4, batch_size=32, table_learning_rate=0.2)
TRAINING = TrainingConfig(epochs=8, batch_size=32, table_learning_rate=0.2, learning_rate=1e-2)
REPORT = ReportConfig(labels_only=False, resamples=20, latency_rows=5, examples=2)
COLOURS, THINGS = ("red", "blue", "fine", "poor", "good"), ("shoe", "hat", "film", "query", "title")
TOPICS = {"sport": "goal team match cup", "politics": "vote law party state", "trade": "price stock deal bank"}


def write_rows(path: Path, header: list[str], rows: list[list]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([header, *rows])
    return path


def run(config: Config, workdir: Path) -> dict:
    """The report of a whole run."""
    outcome = pipeline.run(Run(workdir, progress=False), config)
    assert isinstance(outcome, ReportOutcome)
    assert "student" in outcome.table
    assert (workdir / "report.html").stat().st_size > 1000
    return read_json(workdir / "report.json")


def graded_rows() -> list[list]:
    """Queries with six titles each: 3 has both words of the query, 2 the thing alone, 1 neither."""
    rng = np.random.default_rng(0)
    rows = []
    for number, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS):
        for size in ("s", "m"):
            query = f"{colour} {thing} {size}{number}"
            others = [(c, t) for c in COLOURS if c != colour for t in THINGS if t != thing]
            for word in ("the", "of"):
                (c1, _), (c2, t2) = (others[i] for i in rng.integers(len(others), size=2))
                rows.append([query, f"{word} {colour} {thing} {size}{number}", 3])
                rows.append([query, f"{word} {c1} {thing} {size}x", 2])
                rows.append([query, f"{word} {c2} {t2} {size}y", 1])
    return rows


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A finished run of graded pairs: "zeta" are scores from outside for two rows of three, "alpha" is a tiny BERT."""
    folder = tmp_path_factory.mktemp("graded")
    rows = graded_rows()
    labelled = write_rows(folder / "labelled.csv", ["search", "product", "grade"], rows)
    scored = [row for number, row in enumerate(rows) if number % 7 not in (2, 5)]
    rng = np.random.default_rng(1)
    columns = {
        "search": [row[0] for row in scored],
        "product": [row[1] for row in scored],
        "logit": [3.0 * (row[2] - 2) + rng.normal(0, 0.3) for row in scored],
    }
    pq.write_table(pa.table(columns), folder / "zeta.parquet")
    config = Config(
        name="shop",
        models=("student", "twin"),
        data=DataConfig(
            train=(str(labelled),),
            fields=("search", "product"),
            label="grade",
            label_range=(1.0, 3.0),
            valid_fraction=0.2,
            test_fraction=0.2,
        ),
        teachers={
            "zeta": TeacherConfig(logits=(str(folder / "zeta.parquet"),)),
            "alpha": TeacherConfig(str(save_encoder("bert", folder / "bert")), max_length=24, epochs=1),
        },
        label=LabelConfig(rows_per_shard=64),
        distill=DistillConfig(stack="logistic"),
        student=replace(STUDENT, spelling=True),
        training=TRAINING,
        twin=TWIN,
        export=ExportConfig(folder=str(folder / "models")),
        report=REPORT,
    )
    config = Config.from_dict(config.to_dict())
    run(config, folder / "run")
    return config, folder / "run"


def test_graded_pairs_with_two_teachers(graded: tuple[Config, Path]) -> None:
    _, workdir = graded
    report = read_json(workdir / "report.json")
    assert report["task"]["kind"] == "graded"
    assert report["task"]["fields"] == ["search", "product"]
    assert list(report["teachers"]) == ["zeta", "alpha"]
    for figures in (report["student"], report["teacher"], *report["teachers"].values()):
        assert set(figures) >= {"accuracy", "roc_auc", "pr_auc", "ndcg10", "ece", "log_loss"}
        assert all(value is None or np.isfinite(value) for value in figures.values())
    assert report["teachers"]["zeta"]["roc_auc"] > 0.9
    assert report["student"]["roc_auc"] > 0.7
    assert report["labels_only"] is None
    assert report["rejected"] == 0
    words = report["baselines"]["bm25"]  # the grade is how many words query and title share
    assert words["spearman"] > 0.8
    assert report["intervals"]["bm25"]["ndcg10"][0] <= words["ndcg10"]
    gap = report["teacher"]["ndcg10"] - words["ndcg10"]
    share = None if gap <= 0 else pytest.approx((report["student"]["ndcg10"] - words["ndcg10"]) / gap)
    assert report["ndcg10_over_bm25"] == share
    assert read_json(Path(report["model"]) / ABOUT)["decision"] is None  # grades have no threshold
    rows = report["rows"]
    assert rows["test"] == rows["teacher"] == report["data"]["test"] > 0
    stages = {"data", "teachers/alpha", "logits/zeta", "logits/alpha", "student", "export"}
    assert set(report["seconds"]) >= stages
    assert "labels_only" not in report["seconds"]
    assert {"student", "teacher alpha"} <= set(report["histories"])


def test_the_twin_stands_beside_the_student(graded: tuple[Config, Path], tmp_path: Path) -> None:
    config, workdir = graded
    report = read_json(workdir / "report.json")
    assert report["headline_measure"] == "spearman"
    for key in ("student", "twin"):
        compared = report["compared"][key]
        assert compared["headline_retention"]["value"] == pytest.approx(
            report[key]["spearman"] / report["teacher"]["spearman"]
        )
        assert compared["ndcg10_retention"]["ci95"] is not None
        assert report["latency"][key]["single_ms"]["p50"] > 0
        assert report["size_mb"][key] > 0
        assert {"valid_loss", "valid_spearman"} <= set(report["histories"][key][-1])
    assert report["twin"]["spearman"] > 0.2
    assert report["exported"]["twin"].endswith("models/shop_twin/1")
    assert report["latency"]["twin_embed_query"]["single_ms"]["p50"] > 0
    served = Scorer(report["exported"]["twin"])
    test = read_table(workdir / "data/test")
    scores = served.score([test[name].to_pylist() for name in ("search", "product")])[0]
    assert spearmanr(test["label"].to_numpy(), scores).statistic == pytest.approx(report["twin"]["spearman"])

    shutil.copytree(workdir, tmp_path / "run")
    outcome = pipeline.run(Run(tmp_path / "run", progress=False), replace(config, models=("twin",)))
    assert isinstance(outcome, ReportOutcome)
    alone = read_json(tmp_path / "run/report.json")
    assert (alone["student"], alone["leading"], alone["model"]) == (None, "twin", report["exported"]["twin"])
    assert alone["headline_retention"] == report["compared"]["twin"]["headline_retention"]["value"]
    assert "twin" in outcome.table
    assert "student" not in outcome.table


def test_outside_scores_cover_a_part_of_every_split(graded: tuple[Config, Path]) -> None:
    _, workdir = graded
    for split, logits in (("transfer", "zeta"), ("valid", "zeta/valid"), ("test", "zeta/test")):
        table = read_table(workdir / "logits" / logits)
        assert table["product"].to_pylist() == read_table(workdir / "data" / split)["product"].to_pylist()
        known = np.isfinite(table["logit"].to_numpy())
        assert 0.5 < known.mean() < 0.9
        alpha = read_table(workdir / "logits" / logits.replace("zeta", "alpha"))["logit"].to_numpy()
        assert np.isfinite(alpha).all()


def redone(config: Config, workdir: Path, until: str) -> list[str]:
    """The stages that a run brings up to date."""

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in workdir.rglob(RECORD) if ".aside" not in str(path)}

    before = times()
    pipeline.run(Run(workdir, progress=False), config, until)
    return sorted(str(path.parent.relative_to(workdir)) for path, time in times().items() if before.get(path) != time)


def test_files_with_another_time_redo_the_data_alone(graded: tuple[Config, Path], tmp_path: Path) -> None:
    config, workdir = graded
    shutil.copytree(workdir, tmp_path / "run")
    labelled, scores = Path(config.data.train[0]), Path(config.teachers["zeta"].logits[0])
    stat = labelled.stat()
    os.utime(labelled, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert redone(config, tmp_path / "run", "student") == ["data"]
    assert redone(config, tmp_path / "run", "student") == []
    content = scores.read_bytes()
    table = pq.read_table(scores)
    try:
        pq.write_table(table.set_column(2, "logit", pc.negate(table["logit"])), scores)
        assert redone(config, tmp_path / "run", "logits/alpha") == ["data", "logits/zeta"]
        known = read_table(tmp_path / "run/logits/zeta")["logit"].to_numpy()
        np.testing.assert_array_equal(known, -read_table(workdir / "logits/zeta")["logit"].to_numpy())
    finally:
        scores.write_bytes(content)


def test_another_task_or_hash_spec_over_the_same_tables_is_seen(
    graded: tuple[Config, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workdir = graded
    shutil.copytree(workdir, tmp_path / "run")
    outcome = Run(tmp_path / "run").data_outcome()
    before = data_contents(tmp_path / "run/data", outcome)
    task = read_json(tmp_path / "run/data/task.json")
    write_json(tmp_path / "run/data/task.json", {**task, "label_range": [0.0, 1.0]})
    after = data_contents(tmp_path / "run/data", outcome)
    assert after[""] != before[""]
    assert after["labelled"] != before["labelled"]

    def settings() -> dict[str, str]:
        return {stage.name: json.dumps(stage.settings, default=str) for stage in stages(config)}

    before_settings = settings()
    monkeypatch.setattr("tfb2d.students.stage.HASH_SPEC", "another")
    changed = {name for name, value in settings().items() if value != before_settings[name]}
    assert changed == {"words", "rows", "student"}


def test_weights_go_with_the_teachers_in_their_order(graded: tuple[Config, Path]) -> None:
    config, workdir = graded
    assert list(config.teachers) == ["zeta", "alpha"]
    stack = Run(workdir).student_outcome().stack
    assert stack.weights[0] > stack.weights[1]  # zeta knows, alpha has hardly learnt
    weighted = replace(config, distill=DistillConfig(stack="weighted", weights=(3.0, 1.0)))
    again = Config.from_dict(weighted.to_dict())
    assert list(again.teachers) == ["zeta", "alpha"]
    assert again.distill.weights == (3.0, 1.0)
    assert again == weighted
    names = [stage.name for stage in stages(again) if stage.name.startswith("logits/")]
    assert names == ["logits/zeta", "logits/alpha"]


def test_a_command_line_change_keeps_the_order(graded: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    values = flags.FlagValues()
    monkeypatch.setattr("sys.argv", ["train", "--config.teachers.alpha.epochs=2"])  # where overrides are read from
    typed = config_flags.DEFINE_config_dict("config", graded[0].to_dict(), flag_values=values)
    values(sys.argv)
    changed = Config.from_dict(typed.value)
    assert list(changed.teachers) == ["zeta", "alpha"]
    assert changed.teachers["alpha"].epochs == 2


def test_the_exported_model_ranks(graded: tuple[Config, Path]) -> None:
    _, workdir = graded
    served = tf.saved_model.load(read_json(workdir / "report.json")["model"])
    test = read_table(workdir / "data/test").to_pydict()
    rank, score = served.signatures["rank"], served.signatures["serving_default"]
    right = []
    for query in dict.fromkeys(test["search"]):
        titles, labels = zip(
            *[
                (title, label)
                for title, label, of in zip(test["product"], test["label"], test["search"], strict=True)
                if of == query
            ],
            strict=True,
        )
        scores = rank(query=tf.constant([query]), titles=tf.constant([[*titles, ""]]))["scores"].numpy()[0]
        alone = score(search=tf.constant([query] * len(titles)), product=tf.constant(titles))["score"].numpy()
        np.testing.assert_allclose(scores[:-1], alone, atol=1e-5)
        assert scores[-1] == 0
        right += [
            scores[i] > scores[j] for i in range(len(labels)) for j in range(len(labels)) if labels[i] > labels[j]
        ]
    assert len(right) > 20
    assert np.mean(right) > 0.7


def test_queries_are_read_with_their_spelling_corrected(graded: tuple[Config, Path]) -> None:
    _, workdir = graded
    version = Path(read_json(workdir / "report.json")["model"])
    score = tf.saved_model.load(version).signatures["serving_default"]
    edge = EdgeScorer(version)
    title = "the fine query"

    def scores(query: str) -> list[float]:
        served = score(search=tf.constant([query]), product=tf.constant([title]))["score"].numpy()[0]
        assert edge.score([query], [title])[0] == pytest.approx(served, abs=1e-5)
        return served

    assert scores("fine qurey") == scores("fine query") != scores("fine quilt")


def topic_rows(n: int = 240) -> list[list]:
    """Texts of a topic's words, and the topic."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(n):
        topic = list(TOPICS)[number % 3]
        words = [*rng.choice(TOPICS[topic].split(), 3), *rng.choice(["the", "a", "of", "on"], 2)]
        rows.append([f"{' '.join(rng.permutation(words))} no{number}", topic])
    return rows


def test_three_classes_from_outside_scores_alone(tmp_path: Path) -> None:
    rows = topic_rows()
    labelled = write_rows(tmp_path / "labelled.tsv", ["text", "topic"], rows)
    places = [list(TOPICS).index(topic) for _, topic in rows]
    logits = 4.0 * np.eye(3)[places] + np.random.default_rng(3).normal(0, 0.2, (len(rows), 3))
    header = ["text", "logit_0", "logit_1", "logit_2"]
    scores = write_rows(tmp_path / "scores.tsv", header, [[row[0], *z] for row, z in zip(rows, logits, strict=True)])
    config = Config(
        name="news",
        data=DataConfig(
            train=(str(labelled),), label="topic", classes=tuple(TOPICS), valid_fraction=0.2, test_fraction=0.2
        ),
        teachers={"crowd": TeacherConfig(logits=(str(scores),))},
        student=STUDENT,
        training=TRAINING,
        export=ExportConfig(folder=str(tmp_path / "models")),
        report=REPORT,
    )
    report = run(config, tmp_path / "run")
    assert report["task"]["kind"] == "multiclass"
    assert report["teachers"] == {}
    assert report["labels_only"] is None
    assert report["gain_over_labels_only"] is None
    assert "teacher" not in report["latency"]
    assert set(report["histories"]) == {"student"}
    for name in ("teacher", "student"):
        assert report[name]["accuracy"] > 0.9
        assert report[name]["roc_auc"] > 0.9
        assert {"pr_auc", "ece", "log_loss"} <= set(report[name])
        assert "ndcg10" not in report[name] or report[name]["ndcg10"] is None
    assert report["fidelity"] > 0.9
    assert report["retention"] == pytest.approx(report["student"]["accuracy"] / report["teacher"]["accuracy"])
    assert set(report["data"]["labels"]["test"]) == set(TOPICS)

    served = tf.saved_model.load(report["model"])
    assert "rank" not in served.signatures
    texts = ["goal match cup", "vote law", "stock price deal"]
    score = served.signatures["serving_default"](text=tf.constant(texts))
    np.testing.assert_allclose(EdgeScorer(report["model"]).score(texts), score["score"], atol=1e-2)
    np.testing.assert_allclose(score["score"].numpy().sum(1), 1, atol=1e-5)
    assert score["score"].numpy().argmax(1).tolist() == [0, 1, 2]


def test_score_files_are_read_as_the_labelled_ones(tmp_path: Path) -> None:
    """Texts in quotes, written plainly: the data stage and the join see the same texts."""
    rows = [[f'"{text}"' if number % 2 else text, topic] for number, (text, topic) in enumerate(topic_rows(90))]
    labelled = write_rows(tmp_path / "labelled.tsv", ["text", "label"], rows)
    scores = write_rows(tmp_path / "s.tsv", ["text", "logit_0", "logit_1", "logit_2"], [[t, 0, 1, 2] for t, _ in rows])
    data = DataConfig(
        train=(str(labelled),), classes=tuple(TOPICS), valid_fraction=0.2, test_fraction=0.2, quoting="none"
    )
    config = Config(data=data, teachers={"llm": TeacherConfig(logits=(str(scores),))})
    outcome = pipeline.run(Run(tmp_path / "run", progress=False), config, until="logits/llm")
    assert sum(outcome.rows.values()) == 90
    assert outcome.missing == dict.fromkeys(outcome.rows, 0)
    others = replace(config, data=replace(data, quoting="auto")), replace(config, data=replace(data, max_chars=9))
    settings = [
        next(stage.settings for stage in pipeline.stages(each) if stage.name == "logits/llm")
        for each in (config, *others)
    ]
    assert len({json.dumps(each, default=str) for each in settings}) == 3


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    numbers = [[text, list(TOPICS).index(topic)] for text, topic in topic_rows(90)]
    labelled = write_rows(tmp_path / "labelled.csv", ["text", "label"], numbers)
    settings = Config(
        data=DataConfig(train=(str(labelled),), valid_fraction=0.2, test_fraction=0.2),
        teachers={"any": TeacherConfig(logits=(str(labelled),))},
    ).to_dict()
    plain = json.loads(settings.to_json())
    plain["data"]["classes"] = (0, 1, 2)
    config = Config.from_dict(plain)
    assert config.data.classes == ("0", "1", "2")
    settings.data.classes = (0, 1, 2)
    assert Config.from_dict(settings).data.classes == ("0", "1", "2")
    outcome = pipeline.run(Run(tmp_path / "run", progress=False), config, until="data")
    assert isinstance(outcome, DataOutcome)
    assert outcome.rejected == 0
    assert set(outcome.details["labels"]["train"]) == {"0", "1", "2"}
    assert read_table(tmp_path / "run/data/train")["label"].to_pylist() != []


@pytest.mark.parametrize("name", ["product title", "product-title", "1st", "", "class", "título "])
def test_a_text_column_that_cannot_be_served_by_its_name_is_refused(name: str) -> None:
    for fields in ((name,), ("query", name)):
        with pytest.raises(ConfigError, match=r"data\.fields"):
            DataConfig(fields=fields)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_run_needs_valid_and_test_rows(split: str, tmp_path: Path) -> None:
    labelled = write_rows(tmp_path / "labelled.tsv", ["text", "topic"], topic_rows(60))
    settings = {"train": (str(labelled),), "label": "topic", "classes": tuple(TOPICS), f"{split}_fraction": 0.0}
    teachers = {"crowd": TeacherConfig(logits=(str(labelled),))}
    with pytest.raises(ConfigError, match=rf"data\.{split}_fraction is 0"):
        Config(data=DataConfig(**settings), teachers=teachers)
    other = write_rows(tmp_path / "other.tsv", ["text", "topic"], topic_rows(66)[60:])
    config = Config(data=DataConfig(**settings, **{split: (str(other),)}), teachers=teachers)
    assert stages(config)
