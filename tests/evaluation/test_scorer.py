import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS, expected_logits
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer, field_columns
from tfb2d.model_folder import ABOUT, version_folder


@pytest.mark.parametrize("task", [REVIEWS, PAIRS, NEWS], ids=lambda task: task.kind)
def test_strings_in_probabilities_out(task, scorers) -> None:
    columns = [["good sport", "", "politics and trade: a match", "漢字 \n\t𝕏"] * 3] * len(task.fields)
    logits = expected_logits(task, columns)
    for batch in (1, 5, 1024):
        scores, own_logits = scorers[task.kind].score(columns, batch)
        assert own_logits == pytest.approx(logits)
        assert scores == pytest.approx(softmax(logits, axis=1) if task.kind == "multiclass" else expit(logits))
        assert scores.dtype == own_logits.dtype == np.float32
    assert scorers[task.kind].task == task


def test_no_rows(scorers) -> None:
    assert scorers["binary"].score([[]])[0].shape == (0,)
    assert scorers["multiclass"].score([[]])[1].shape == (0, 3)


@pytest.mark.parametrize("columns", [[], [["a"]], [["a"], ["b", "c"]], [["a"]] * 3])
def test_columns_must_fit_the_fields(columns: list[list[str]], scorers) -> None:
    with pytest.raises(ValueError, match="the fields are query, title"):
        scorers["graded"].score(columns)


def test_the_highest_version_is_taken(models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("9", "10", "11.partial", "latest"):
        shutil.copytree(models["binary"] / "1", tmp_path / name)
    (tmp_path / "12").mkdir()  # not finished
    assert version_folder(tmp_path) == tmp_path / "10"
    assert version_folder(tmp_path / "9") == tmp_path / "9"


def test_what_is_no_model_is_said(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Scorer(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it holds nothing"):
        Scorer(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"it holds notes\.txt"):
        Scorer(tmp_path)
    shutil.copytree(models["binary"] / "1", tmp_path / "1")
    (tmp_path / "1" / ABOUT).unlink()
    with pytest.raises(DataError, match="not a model that tfb2d exported"):
        Scorer(tmp_path)


def test_fields_under_other_names() -> None:
    assert field_columns(["query", "title"], []) == ["query", "title"]
    assert field_columns(["query", "title"], ["title=product=name"]) == ["query", "product=name"]
    with pytest.raises(DataError, match="did you mean 'title'"):
        field_columns(["query", "title"], ["titel=name"])
    with pytest.raises(DataError, match="its fields are query, title"):
        field_columns(["query", "title"], ["zzz=name"])
    with pytest.raises(DataError, match="field=column, not 'title'"):
        field_columns(["query", "title"], ["title"])
