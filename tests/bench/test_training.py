"""Students that the bench trains: on labels where no model was named, and to measure how fast it goes."""

from pathlib import Path

import pytest

from tfb2d.bench import training
from tfb2d.bench.students import Function, Session, forms
from tfb2d.data.task import Task


def test_a_student_of_labels_alone_is_exported(tmp_path: Path) -> None:
    fields, columns = ("query", "title"), [["film", "shoe"] * 40, ["a film", "a film"] * 40]
    made = training.train_student(str(tmp_path), Task(fields).to_json(), columns, [1.0, 0.0] * 40)
    folder, kinds = forms(made)
    assert kinds == ["Session", "Function"]
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["1"]
    session, function = Session(str(folder), fields), Function(str(folder), fields)
    texts = [column[:2] for column in columns]
    scores = session.score(*texts)
    assert scores[0] > scores[1]
    assert scores.tolist() == pytest.approx(function.score(*texts).tolist(), abs=1e-6)
    assert session.about == function.about
    assert 60 < session.about["file_mb"] < 120
    titles = ["a film", "a shoe", ""]
    assert session.rank("film", titles).tolist() == pytest.approx(function.rank("film", titles).tolist(), abs=1e-6)


def test_targets_are_probabilities() -> None:
    assert training.targets([0, 1, 0.25], 1).tolist() == [[0], [1], [0.25]]
    assert training.targets([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
