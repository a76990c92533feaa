"""The export command on a run folder, with every form."""

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import run
from tests.students.harness import PAIR, SMALL, TEXT, probabilities, strong_student
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.edge import EdgeScorer
from tfb2d.edge.spec import EdgeError
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.outcomes import Calibration, CompressOutcome, StudentOutcome
from tfb2d.resume import Record, write_record
from tfb2d.serving.forms import export_forms, student_folder

CALIBRATION = Calibration(1.5, (0.1,))
OUTCOMES = {
    "student": StudentOutcome(1, CALIBRATION, ()),
    "compress": CompressOutcome(CALIBRATION, {}, {}, {}),
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training leaves of a student of single texts."""
    return made_run(tmp_path_factory.mktemp("run"), TEXT)


def made_run(folder: Path, task: Task, config: StudentConfig = SMALL) -> Path:
    student = strong_student(task, config)
    for stage, outcome in OUTCOMES.items():
        student.save(folder / stage)
        write_record(folder / stage, Record("made", outcome=outcome.to_json()))
    return folder


def text_form_is_what_it_is_said_to_be(path: Path, fields: list[str]) -> None:
    # What README says of text_scorer.tflite: which ops need Flex, and that Python's runtime cannot run it.
    from ai_edge_litert.interpreter import Interpreter

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        tf.lite.experimental.Analyzer.analyze(model_content=path.read_bytes())
    ops = set(re.findall(r"Op#\d+ (\w+)\(", printed.getvalue()))
    assert {"FlexStringLower", "FlexStringSplitV2", "FlexStringToHashBucketFast"} <= ops
    assert "CUSTOM" not in ops
    model = Interpreter(str(path))
    signature = model.get_signature_list()["serving_default"]
    assert sorted(signature["inputs"]) == fields
    assert sorted(signature["outputs"]) == ["logit", "score"]
    with pytest.raises(RuntimeError, match="Select TensorFlow op"):
        model.allocate_tensors()


def test_every_form_by_command(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shop"
    arguments = [f"--source={run_folder}", f"--output={out}", "--forms=saved_model,edge,flex"]
    done = run("export", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    names = ["1", "scorer.tflite", "spec.json", "text_scorer.tflite"]
    assert [Path(line.split()[-1]).name for line in done.stdout.splitlines()] == names
    texts = ["usb cable", "lamp", "", "desk lamp, usb"]
    np.testing.assert_allclose(EdgeScorer(out / "1").score(texts), Scorer(out).score([texts])[0], atol=1e-2)
    text_form_is_what_it_is_said_to_be(out / "1/assets.extra/edge/text_scorer.tflite", ["text"])


@pytest.mark.slow
def test_pairs_as_text_form(tmp_path: Path) -> None:
    export_forms(made_run(tmp_path, PAIR), tmp_path / "out", ["flex"])
    text_form_is_what_it_is_said_to_be(tmp_path / "out/text_scorer.tflite", ["query", "title"])


def test_a_student_with_a_dictionary_has_it_in_its_edge_form_and_no_text_form(tmp_path: Path) -> None:
    source = made_run(tmp_path, PAIR, replace(SMALL, spelling=True))
    written = export_forms(source, tmp_path / "edge", ["edge"])
    assert [path.name for path, _ in written] == ["scorer.tflite", "spec.json", "spelling.i64"]
    EdgeScorer(tmp_path / "edge")
    (tmp_path / "edge/spelling.i64").write_bytes(b"\1" * 23)
    with pytest.raises(EdgeError, match=r"spelling\.i64 is damaged: 3 numbers of 8 bytes"):
        EdgeScorer(tmp_path / "edge")
    (tmp_path / "edge/spelling.i64").unlink()
    with pytest.raises(EdgeError, match=r"spelling\.i64 cannot be read"):
        EdgeScorer(tmp_path / "edge")
    with pytest.raises(DataError, match=r"a dictionary \(student.spelling\) has no edge form of strings"):
        export_forms(source, tmp_path / "out", ["flex"])


def test_another_dictionary_is_another_version(tmp_path: Path) -> None:
    source = made_run(tmp_path, PAIR, replace(SMALL, spelling=True))
    written = [export_forms(source, tmp_path / "out", ["saved_model"])[0][0].name for _ in range(2)]
    for stage in OUTCOMES:
        (source / stage / "spelling.i64").write_bytes(b"\1" * 24)
    written.append(export_forms(source, tmp_path / "out", ["saved_model"])[0][0].name)
    assert written == ["1", "1", "2"]


def test_the_edge_form_alone_and_exact(run_folder: Path, tmp_path: Path) -> None:
    actual = export_forms(run_folder, tmp_path / "edge", ["edge"], "float")
    assert [path.name for path, _ in actual] == ["scorer.tflite", "spec.json"]
    assert sorted(path.name for path in (tmp_path / "edge").iterdir()) == ["scorer.tflite", "spec.json"]
    texts = [["usb cable", "", "lamp"]]
    scores = EdgeScorer(tmp_path / "edge").score(*texts)
    logits = strong_student(TEXT, SMALL).model([tf.constant(column) for column in texts]).numpy()
    np.testing.assert_allclose(scores, probabilities(logits), atol=1e-5)


def test_the_compressed_student_is_taken(run_folder: Path, tmp_path: Path) -> None:
    assert student_folder(run_folder).name == "compress"
    assert student_folder(run_folder / "student").name == "student"
    with pytest.raises(DataError, match="no finished student"):
        student_folder(tmp_path)


def test_wrong_flags_are_told(tmp_path: Path) -> None:
    assert "no finished student" in run("export", f"--source={tmp_path}", f"--output={tmp_path}").error()
    assert "not onnx" in run("export", "--source=a", "--output=b", "--forms=onnx").error()
