import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.harness import NASTY, TIMES, graded_twin_and_bm25, run_results
from tests.full_disk import full_disk
from tfb2d.evaluation import metrics as m
from tfb2d.evaluation.models import Model
from tfb2d.evaluation.page import cards, headline, ranking_note, table, write_report
from tfb2d.evaluation.results import plain, summarise
from tfb2d.evaluation.scores import agreement
from tfb2d.evaluation.table import duration, print_table

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect"}  # no end tag, or "/>" in the SVG


class Page(HTMLParser):
    """Collects what a browser would act on, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", ["binary", "graded", "multiclass"])
def test_the_page_is_whole_and_asks_for_nothing(kind: str, tmp_path: Path) -> None:
    report = write_report(run_results(kind, rows=120 if kind == "binary" else 500), tmp_path)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "object", "i-frame", "foreignobject"}
    for _, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        assert all((attrs.get(name) or "#").startswith("#") for name in ("href", "src", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import", source)
    assert re.findall("https?:", source) == ["http:"] * source.count("evil.example")  # the text's own, escaped
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = {name[1:] for _, attrs in page.tags if (name := attrs.get("href"))} | set(
        re.findall(r"url\(#(.*?)\)", source)
    )
    assert used <= set(ids)
    assert NASTY in page.text
    assert "quick & <i>dirty</i>" in page.text
    assert (ranking_note(report) or "</main>") in source
    assert ("NDCG@10 counts" in page.text) == (kind == "graded")
    pictures = [attrs for _, attrs in page.tags if attrs.get("role") == "img"]
    assert len(pictures) == 5
    assert all(len(attrs["aria-label"] or "") > 30 for attrs in pictures)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_report(run_results(), tmp_path / name)
    for file in ("report.html", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_the_json_is_what_programs_rely_on(tmp_path: Path) -> None:
    run = run_results()
    report = write_report(run, tmp_path)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == report
    labels, groups = np.asarray(run.labels), run.groups
    for name in ("teacher", "student", "labels_only"):
        assert report[name] == m.metrics("binary", labels, run.models[name].scores, groups, 0.5)
        assert (
            report["intervals"][name]["accuracy"][0]
            <= report[name]["accuracy"]
            <= report["intervals"][name]["accuracy"][1]
        )
    assert report["task"] == run.task.to_json()
    assert report["retention"] == pytest.approx(report["student"]["accuracy"] / report["teacher"]["accuracy"])
    assert report["fidelity"] == agreement(run.models["teacher"].scores, run.models["student"].scores).mean()
    gain = report["student"]["accuracy"] - report["labels_only"]["accuracy"]
    assert report["gain_over_labels_only"] == pytest.approx(gain)
    assert (report["rejected"], report["leaked"]) == (3, 41)
    assert report["seconds"] == {"data": 1.5, "student": 75.0}
    assert report["model"] == "saved_models/quickstart/1"
    assert report["versions"] == {"tfb2d": "0.1.0"}
    assert report["histories"]["student"][0]["valid_loss"] is None
    assert report["config"]["student"]["orders"] == [1, 2]


def test_without_teacher_and_baseline(tmp_path: Path) -> None:
    models = {"teacher": None, "labels_only": None, "student": Model(run_results().models["student"].scores)}
    report = write_report(run_results(models=models, seconds={}, data={}, groups=None, command=""), tmp_path)
    assert report["teacher"] is report["labels_only"] is report["retention"] is report["fidelity"] is None
    assert report["rows"] == {"test": 120, "teacher": 0}
    assert headline(report).startswith("The student decides ")
    assert "student and label differ most" in Page((tmp_path / "report.html").read_text()).text
    assert "retention" not in print_table(report)


def test_a_teacher_without_scores_for_some_rows(tmp_path: Path) -> None:
    run = run_results("multiclass")
    teacher, every = np.array(run.models["teacher"].scores), run.models["student"].scores
    teacher[:40] = np.nan
    report = write_report(run_results("multiclass", models={"teacher": Model(teacher)}), tmp_path)
    labels, student = np.asarray(run.labels)[40:], np.asarray(every)[40:]
    assert report["rows"] == {"test": 120, "teacher": 80}
    assert report["teacher"] == m.metrics("multiclass", labels, teacher[40:], run.groups[40:])
    assert report["student"]["accuracy"] == m.metrics("multiclass", run.labels, every)["accuracy"]
    kept = m.metrics("multiclass", labels, student)["accuracy"] / report["teacher"]["accuracy"]
    assert report["retention"] == pytest.approx(kept)
    assert "on those" in (tmp_path / "report.html").read_text()
    nothing = summarise(run_results("multiclass", models={"teacher": Model(np.full_like(teacher, np.nan))}))
    assert nothing["teacher"] is nothing["retention"] is None
    assert (
        "has scores for 0 of 120 rows of the test split, fewer than half; it is not compared." in nothing["warnings"][0]
    )
    teacher[40:61] = np.nan  # now fewer than half: a retention of these would look like one of all
    few = write_report(run_results("multiclass", models={"teacher": Model(teacher)}), tmp_path)
    assert "against teacher" not in (tmp_path / "report.html").read_text()
    assert few["teacher"] is few["retention"] is few["fidelity"] is None
    assert few["rows"] == {"test": 120, "teacher": 59}
    assert "has scores for 59 of 120 rows" in few["warnings"][0]
    assert not any("has scores for" in warning for warning in report["warnings"])


def test_several_teachers_have_a_row_each(tmp_path: Path) -> None:
    run = run_results()
    few = np.where(np.arange(120) < 59, run.models["teacher"].scores, np.nan)  # fewer than half: no figures
    alone = {"big": run.models["teacher"], "own": run.models["student"], "late": Model(few)}
    report = write_report(run_results(teachers=alone), tmp_path)
    assert report["teachers"]["late"] is None
    assert set(report["histories"]) == {"teacher", "student", "teacher big", "teacher own"}
    assert report["teachers"]["big"] == report["teacher"]
    lines = print_table(report).splitlines()
    assert [line[:17].strip() for line in lines[2:7]] == [
        "teachers, stacked",
        "teacher big",
        "teacher own",
        "student",
        "student, labels o",
    ]


def test_the_table_says_it_short() -> None:
    report = summarise(run_results())
    table = print_table(report)
    assert max(map(len, table.splitlines())) <= 110
    assert re.search(
        r"^student +0\.\d{3} +0\.\d{3}–0\.\d{3} +0\.\d{3} +120 µs +310 µs +90,000 +17\.0 MB$", table, re.MULTILINE
    )
    assert f"retention  {100 * report['retention']:.1f}% of the teacher's accuracy" in table
    assert "speed      100 times the teacher's" in table
    assert "3 rejected, 41 removed" in table


def test_negated_words_are_shown_where_there_are_any(tmp_path: Path) -> None:
    pair = {
        "plain": "dull <b>",
        "negated": "hardly dull <b>",
        "scores": {"teacher": [0.1, 0.7], "student": [0.2, 0.15]},
    }
    found = {
        "reference": "teacher",
        "frames": ["hardly {}"],
        "words": ["dull <b>"],
        "pairs": 1,
        "turned": {"teacher": 1.0, "student": 0.0},
        "alike": {"student": 0.0},
        "shown": [pair],
    }
    report = write_report(run_results(contrasts=found), tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["contrasts"] == found
    page = Page((tmp_path / "report.html").read_text())
    assert "dull <b> → hardly dull <b>" in page.text
    assert "0.20 → 0.15" in page.text
    assert "negation   turns 0 of 1 negated words, the teacher 1; decides 0 as the teacher" in print_table(report)
    nothing = write_report(run_results(), tmp_path)
    assert nothing["contrasts"] is None
    assert "negated" not in (tmp_path / "report.html").read_text() + print_table(nothing)


def test_rankings_are_told_of_pairs_alone() -> None:
    report = summarise(run_results("graded"))
    kept = report["student"]["ndcg10"] / report["teacher"]["ndcg10"]
    assert report["ndcg10_retention"] == pytest.approx(kept)
    assert f"ranking    {100 * kept:.1f}% of the teacher's NDCG@10" in print_table(report)
    assert f"; its own is {report['student']['ndcg10']:.3f}" in print_table(report)
    groups = np.asarray(range(120)) // 4
    relevant = np.bincount(groups, run_results("graded").labels) > 0
    assert report["ndcg_groups"] == {"all": 30, "counted": relevant.sum()}
    assert relevant.sum() < 30
    over_all = report["student"]["ndcg10_all"]
    assert over_all == pytest.approx(report["student"]["ndcg10"] * relevant.mean())
    assert f"counts {relevant.sum()} of 30; over all: teacher" in print_table(report)
    assert f"student {over_all:.3f}" in ranking_note(report)
    assert "Ranking" in [card["title"] for card in cards(report)]
    films = summarise(run_results())  # a film's snippets are a group, and no ranking
    assert films["student"]["ndcg10"] is not None
    assert films["ndcg10_retention"] is None
    assert "NDCG" not in print_table(films)
    assert films["ndcg_groups"] is None
    assert summarise(run_results("multiclass"))["ndcg10_retention"] is None


def test_a_twin_stands_beside_the_student(tmp_path: Path) -> None:
    run = graded_twin_and_bm25()
    report = write_report(run, tmp_path)
    kept = report["twin"]["spearman"] / report["teacher"]["spearman"]
    assert report["compared"]["twin"]["headline_retention"]["value"] == pytest.approx(kept)
    assert report["compared"]["student"]["headline_retention"]["value"] == report["headline_retention"]
    assert "headline_gain" not in report["compared"]["twin"]  # labels only is a student's
    assert report["latency"]["twin_embed_query"] == TIMES
    assert (report["leading"], report["exported"]["twin"], report["size_mb"]["twin"]) == ("student", "", 8.0)
    text = print_table(report)
    assert f"retention  twin: {100 * kept:.1f}% of the teacher's Spearman" in text
    assert "retention  student: " in text
    assert "embedding  twin: a query in 120 µs, p99 310 µs" in text
    assert headline(report).endswith(f"; the twin keeps {100 * kept:.1f}%.")
    assert {"Retention, student", "Retention, twin"} <= {card["title"] for card in cards(report)}
    page = Page((tmp_path / "report.html").read_text())
    assert "Twin against teacher" in page.text
    assert "Training of the twin. At its end: epoch 1, valid_loss 0.4." in str(page.tags)


def test_a_run_of_twins_alone_is_about_the_twin(tmp_path: Path) -> None:
    run = graded_twin_and_bm25()
    both = summarise(run)
    report = write_report(run_results("graded", models={**run.models, "student": None, "labels_only": None}), tmp_path)
    assert (report["student"], report["leading"], report["headline_gain"]) == (None, "twin", None)
    assert report["headline_retention"] == both["compared"]["twin"]["headline_retention"]["value"]
    assert report["intervals"]["headline_retention"] == both["compared"]["twin"]["headline_retention"]["ci95"]
    assert headline(report).startswith("The twin keeps ")
    assert "twin: " not in print_table(report)
    assert "Where twin and teacher differ most" in Page((tmp_path / "report.html").read_text()).text


def test_bm25_is_a_row_and_the_way_from_it_to_the_teacher_is_measured() -> None:
    run = graded_twin_and_bm25()
    report = summarise(run)
    words = report["baselines"]["bm25"]
    assert words == m.metrics(run.task, run.labels, run.models["bm25"].scores, run.groups)
    for name, measure in (("over_bm25", "spearman"), ("ndcg10_over_bm25", "ndcg10")):
        own, teacher = report["student"][measure], report["teacher"][measure]
        assert teacher > words[measure]
        assert report[name] == pytest.approx((own - words[measure]) / (teacher - words[measure]))
        assert report["intervals"][name][0] <= report[name] <= report["intervals"][name][1]
    text = print_table(report)
    assert re.search(r"^BM25 +0\.\d{3} +-?0\.\d{3}–0\.\d{3}", text, re.MULTILINE)
    assert f"over BM25  student: on the way to the teacher: {100 * report['over_bm25']:.1f}%" in text
    assert [row["cells"][0][0] for row in table(report)["rows"]][-2:] == ["BM25", "majority, random order"]
    worse = summarise(run_results("graded", models={"bm25": Model(run.models["teacher"].scores)}))
    assert worse["over_bm25"] is None  # the teacher is no better than words
    assert "over BM25" not in print_table(worse)


def test_one_class_and_one_row(tmp_path: Path) -> None:
    run = run_results(rows=120, labels=np.ones(120))
    report = write_report(run, tmp_path / "one class")
    assert report["student"]["roc_auc"] is report["auc_retention"] is None
    models = {"student": Model([0.7]), "teacher": Model([0.2]), "labels_only": Model([1.0])}
    single = run_results(columns=[["one"]], labels=[1], groups=["a"], models=models)
    assert write_report(single, tmp_path / "one row")["fidelity"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": [["a"]]}, r"columns\[0\] has 1 texts; there are 120 rows"),
        ({"labels": [1]}, "labels"),
        ({"models": {"teacher": Model([0.5])}}, r"teacher scores are \[1\]"),
        ({"teachers": {"big": Model([0.5])}}, "big scores"),
        ({"models": {"student": Model(np.full(120, 1.5))}}, "student scores"),
        ({"models": {"student": None}}, "a report is about one of student, twin; there are teacher, labels_only"),
    ],
)
def test_what_does_not_fit_is_said_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_results(**changes)


def test_a_failure_keeps_the_last_report(tmp_path: Path) -> None:
    write_report(run_results(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        write_report(run_results(name="other"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_plain_values() -> None:
    value = {
        "a": np.float32(0.5),
        1: (np.int64(2), float("inf"), np.bool_(True)),
        "p": Path("x"),
        "n": np.array([np.nan, 1]),
    }
    assert plain(value) == {"a": 0.5, "1": [2, None, True], "p": "x", "n": [None, 1.0]}


def test_durations() -> None:
    assert [duration(entry) for entry in (0.085, 1.44, 52.3, 1234.0, None)] == [
        "85 µs",
        "1.4 ms",
        "52 ms",
        "1.2 s",
        "–",
    ]


def test_a_teacher_that_is_worse_than_labels_alone_is_pointed_out() -> None:
    run = run_results()
    student = run.models["student"].scores
    poor = Model(1 - student)
    (*_, warning) = summarise(run_results(models={"teacher": poor, "labels_only": Model(student)}))["warnings"]
    assert "of student, labels only" in warning
    assert "epochs or layers may help the teacher" in warning
    assert not summarise(run_results(models={"teacher": Model(student), "labels_only": poor}))["warnings"]
