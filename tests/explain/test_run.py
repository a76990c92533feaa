"""Explaining what a run made: finding it, nearest n-grams, disagreements and their measures, and the command itself."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run as command
from tests.explain.students import REVIEWS, student
from tests.sweep.made_run import finished_run
from tfb2d.atomic import read_json, write_json
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError, RunError
from tfb2d.explain import disagree, measures, source
from tfb2d.explain.nearest import candidates, nearest
from tfb2d.outcomes import Calibration, ExportOutcome, Stack, StudentOutcome
from tfb2d.resume import RECORD, Record, write_record
from tfb2d.runs import Run
from tfb2d.serving.export import export
from tfb2d.students import ngrams, text_spec
from tfb2d.students.stage import hash_splits

CALIBRATION = Calibration(0.5, (0.1,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose student has made-up weights, exported once."""
    folder = tmp_path_factory.mktemp("explain")
    workdir = finished_run(folder / "runs/made")
    made = student(REVIEWS, orders=(1, 2))
    made.save(workdir / "student")
    folder_run = Run(workdir, progress=False)
    hash_splits(folder_run, replace(folder_run.config(), student=made.config))
    outcome = StudentOutcome(1, CALIBRATION, (), Stack((0.5, 0.5), (0.0,)))
    write_record(workdir / "student", Record("made", outcome=outcome.to_json()))
    served = {"scale": 0.5, "bias": [0.1], "warmup": [["a fine film"]], "fingerprint": "made"}
    version = export(made, folder / "models/made", **served)
    write_record(workdir / "export", Record("made", outcome=ExportOutcome(str(version), 1.0).to_json()))
    return workdir


def test_the_student_is_found_from_the_run_its_folder_or_the_served_model(run: Path, monkeypatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    for model in ("runs/made", "runs/made/student", "models/made", "models/made/1"):
        actual = source.find(model)
        assert actual.folder.resolve() == run / "student"
        assert (actual.calibration.scale, actual.calibration.bias) == (0.5, (0.1,))
        assert (actual.model is not None) == model.startswith("models")
        assert actual.run is not None
    served = source.find("models/made")
    logits = served.student.model([np.array(["fine film"])], training=False).numpy()
    served.check_served([["fine film"]], logits)
    with pytest.raises(DataError, match="was not made from"):
        served.check_served([["fine film"]], logits + 1)
    with pytest.raises(DataError, match="holds"):
        source.find("runs")


def test_a_model_whose_run_is_gone_asks_for_the_student(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(run.parent.parent / "models")
    (run / "export" / RECORD).rename(run / "export/gone.json")
    try:
        with pytest.raises(DataError, match="--student="):
            source.find("models/made")
        assert source.find("models/made", str(run / "student")).folder == run / "student"
    finally:
        (run / "export/gone.json").rename(run / "export" / RECORD)


def test_nearest_ngrams_are_those_of_the_table() -> None:
    made = student(REVIEWS, orders=(1, 2))
    texts = ["red shoe", "red hat", "red shoe", "blue hat", "blue shoe"] * 2
    among = candidates(made, texts, min_count=2)
    assert dict(zip(among.names, among.counts.tolist(), strict=True))["red shoe"] == 4
    assert "shoe ⊣" not in among.names
    actual = nearest(made, among, "red", top=3)
    vectors = {
        name: made.ngrams.vectors(np.array([row]))[0].numpy() for name, row in zip(among.names, among.rows, strict=True)
    }
    own = vectors["red"]

    def cosine(name: str) -> float:
        return float(vectors[name] @ own / np.linalg.norm(vectors[name]) / np.linalg.norm(own))

    expected = sorted((name for name in vectors if name != "red"), key=cosine, reverse=True)[:3]
    assert [item[0] for item in actual.nearest] == expected
    assert [item[1] for item in actual.nearest] == pytest.approx([cosine(name) for name in expected], abs=1e-5)
    assert (actual.count, actual.sharing) == (6, ())
    with pytest.raises(DataError, match="n-grams of 1, 2"):
        nearest(made, among, "red shoe hat")
    with pytest.raises(DataError, match="min_count"):
        candidates(made, texts, min_count=100)


def test_with_a_vocabulary_its_tokens_alone_have_neighbours() -> None:
    made = student(REVIEWS, window=2, vocabulary=4, affixes=(2, 1))
    known = sorted(text_spec.token_hash(word, (2, 1)) for word in (b"red", b"hat", b"shoe"))
    made.ngrams.known.assign([*known, text_spec.UNUSED])
    among = candidates(made, ["red hat shoe lamp"], min_count=1)
    assert sorted(among.names) == ["hat", "red", "shoe"]
    assert {item[0] for item in nearest(made, among, "red").nearest} == {"hat", "shoe"}
    with pytest.raises(DataError, match="not in the student's vocabulary"):
        nearest(made, among, "lamp")
    with pytest.raises(DataError, match="min_count"):
        candidates(made, ["lamp"], min_count=1)


def test_collisions_are_told() -> None:
    made = student(REVIEWS, orders=(1,), buckets=3)
    among = candidates(made, ["a b c d e f g"], min_count=1)
    assert among.collisions()["ngrams"] == 7
    assert among.collisions()["rows"] <= 3
    actual = nearest(made, among, "a", top=9)
    same = {name for name, row in zip(among.names, among.rows, strict=True) if row == among.rows[0]} - {"a"}
    assert {name for name, _ in actual.sharing} == same
    assert len(actual.nearest) == among.collisions()["rows"] - 1


def test_zero_rows_have_no_neighbours_and_are_none() -> None:
    made = student(REVIEWS, orders=(1,), buckets=2**20)
    among = candidates(made, ["red shoe blue hat"], min_count=1)
    row = among.rows[among.names.index("red")]
    made.zero_rows(np.arange(2**20) == row)
    assert (nearest(made, among, "red").norm, nearest(made, among, "red").nearest) == (0, ())
    assert {item[0] for item in nearest(made, among, "hat").nearest} == {"shoe", "blue"}


def test_counting_forgets_the_rarest_ngrams_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfb2d.explain.nearest.MAX_CANDIDATES", 8)
    made = student(REVIEWS, orders=(1,))
    texts = ["a b c", "a b c", "a b", "a d", "e f", "g h i", "a b"]  # nine n-grams are there at "g h i"
    among = candidates(made, texts, min_count=2)
    assert dict(zip(among.names, among.counts.tolist(), strict=True)) == {"a": 5, "b": 4, "c": 2}
    monkeypatch.setattr("tfb2d.explain.nearest.MAX_CANDIDATES", 4)
    pairs = ["a b c d", "a b c d", "a e"]  # more occur twice than half of the limit
    assert set(candidates(made, [*pairs, "a"], min_count=2).names) == {"a"}


def test_judged_rows_of_files_have_the_tasks_labels(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "judged.jsonl"
    lines = [
        b'{"text": "fine film", "label": " good"}',
        b'{"text": "poor plot", "label": "dreadful"}',
        b'{"text": null, "label": "bad"}',
        b'{"text": "\xff film", "label": "good"}',
    ]
    data.write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "scores.tsv").write_text("text\tlogit\nfine film\t1\npoor plot\t-1\n", encoding="utf-8")
    actual = source.find(str(run))
    labelled = disagree.from_files(actual, [str(data)], [str(tmp_path / "scores.tsv")], [])
    assert labelled.columns == [["fine film", "poor plot"]]
    np.testing.assert_array_equal(labelled.labels, [1, np.nan])
    assert "2 rows that cannot be read" in labelled.origin
    assert "of 2 rows" in disagree.measure(actual, labelled, rows=5).lead
    quoted = tmp_path / "labelled.tsv"
    quoted.write_text('text\tlabel\n"fine film"\tgood\n', encoding="utf-8")
    scores = tmp_path / "quoted.tsv"
    scores.write_text('text\tlogit\n"fine film"\t1\n', encoding="utf-8")
    for quoting, text in (("csv", "fine film"), ("none", '"fine film"')):
        labelled = disagree.from_files(actual, [str(quoted)], [str(scores)], [], quoting)
        assert labelled.columns == [[text]]
        assert labelled.teacher[0] > 0.5


def test_teachers_that_the_student_did_not_learn_from_are_told(run: Path) -> None:
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "teachers": {**config["teachers"], "three": config["teachers"]["one"]}})
    try:
        with pytest.raises(DataError, match="name 3 teachers"):
            disagree.from_run(source.find(str(run)), "valid")
    finally:
        write_json(run / "config.json", config)


def test_ngrams_are_counted_in_the_transfer_set(run: Path) -> None:
    actual = source.find(str(run))
    texts = read_table(run / "data/transfer", ["text"])["text"].to_pylist()
    counts: Counter[str] = Counter()
    for text in texts:
        for order in (1, 2):
            counts.update(ngrams.names([word.encode() for word in text.split()], order))
    rows = ["fine film zebra", "zebra"]
    seen = measures.seen_in_transfer(actual.student, [rows], Run(run))
    own, row = seen.of(measures.ngrams_of(actual.student, rows[0], 0))
    names = [ngrams.names(rows[0].encode().split(), order) for order in (1, 2)]
    assert own.T.tolist() == [[counts[name] for name in item] for item in names]
    assert (row >= own).all()
    assert seen.rows.sum() == sum(counts.values())
    measured = measures.measures(actual.student, [rows], np.array([0.9, 0.4]), seen)
    assert measured["unseen"][1] == 1
    assert measured["margin"].tolist() == pytest.approx([0.8, 0.2])


def test_tokens_outside_a_vocabulary_share_a_row(run: Path, tmp_path: Path) -> None:
    task = source.find(str(run)).student.task
    made = student(task, window=2, vocabulary=3, affixes=(2, 1))
    made.ngrams.known.assign(sorted([text_spec.token_hash(b"film", (2, 1)), text_spec.UNUSED, text_spec.UNUSED]))
    with pytest.raises(RunError, match=r"affixes \(\), the student reads 12 and \(2, 1\)"):
        measures.seen_in_transfer(made, [["film fine zebra"]], Run(run))
    copy = Run(Path(shutil.copytree(run, tmp_path / "run")), progress=False)
    hash_splits(copy, replace(copy.config(), student=made.config))
    seen = measures.seen_in_transfer(made, [["film fine zebra"]], copy)
    own, row = seen.of(measures.ngrams_of(made, "film fine zebra", 0)[:, 0])
    words = " ".join(read_table(run / "data/transfer", ["text"])["text"].to_pylist()).split()
    assert own.tolist() == [words.count("film"), words.count("fine"), 0]
    assert row.tolist() == [own[0], len(words) - own[0], len(words) - own[0]]


@pytest.mark.parametrize(
    ("text", "count"), [(b"don ' t", 1), (b"a t shirt", 0), (b"not never nothing", 3), (b"a fine film", 0)]
)
def test_negations(text: bytes, count: int) -> None:
    assert measures.negations(text.split()) == count


def test_disagreements_are_those_rows_and_come_with_measures(run: Path) -> None:
    actual = source.find(str(run))
    labelled = disagree.from_run(actual, "valid")
    case = disagree.measure(actual, labelled, rows=5)
    assert 0 < len(case.rows) <= 5
    scores = actual.calibration.apply(
        actual.student.model([np.array(labelled.columns[0])], training=False).numpy()[:, 0]
    )
    differ = (scores >= 0.5) != (labelled.teacher >= 0.5)
    texts = {text for text, flag in zip(labelled.columns[0], differ, strict=True) if flag}
    assert {row.texts[0] for row in case.rows} <= texts
    assert f"{differ.sum()} of 60" in case.lead
    assert all(row.why.startswith(("Unusual: ", "No measure")) for row in case.rows)
    assert all(0 <= share <= 1 for pair in case.shares.values() for share in pair)
    assert len(case.table()) == len(case.shares) + 1


def test_the_command_writes_page_and_figures(run: Path, tmp_path: Path) -> None:
    files = [f"--html={tmp_path / 'why.html'}", f"--json={tmp_path / 'why.json'}"]
    texts = ["fine <b>film</b>\x1b[31m", "poor plot", os.fsdecode(b"no \xff utf-8")]
    done = command("explain", f"--model={run}", *files, *texts)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "\x1b" not in done.stdout
    assert "good" in done.stdout
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "<b>film" not in page
    assert "<script" not in page
    first = read_json(tmp_path / "why.json")["rows"][0]
    assert first["logit"] == pytest.approx(first["baseline"] + sum(item["value"] for item in first["parts"]), abs=0.02)
    assert "none" in command("explain", "--model=none", "text").error()
