"""The student that the repository brings scores what its card says, and is small and whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfb2d
from tests.commands import spawn
from tests.machine_paths import machine_paths
from tfb2d.atomic import read_json
from tfb2d.cli import main
from tfb2d.serving.local import LocalServer

BOX = Path(__file__).parents[1] / "saved_models/quickstart"
CARD = read_json(BOX / "card.json")
TEXTS = [one["text"] for one in CARD["examples"]]
SCORES = [one["score"] for one in CARD["examples"]]


def test_it_scores_what_its_card_says() -> None:
    model = tfb2d.load(BOX / "1")
    np.testing.assert_allclose(model.score(TEXTS), SCORES, atol=1e-4)
    assert model.classes == ("rotten", "fresh")
    by_text = dict(zip(TEXTS, SCORES, strict=True))
    assert by_text["One of the best thrillers of the year."] > 0.7
    assert by_text["The jokes are stale and the plot makes no sense."] < 0.3


def test_its_figures_are_those_of_a_student_that_keeps_its_teacher() -> None:
    figures = CARD["figures"]
    assert figures["student"]["accuracy"]["value"] > figures["labels_only"]["accuracy"]["value"]
    assert CARD["retention"] == pytest.approx(
        figures["student"]["accuracy"]["value"] / figures["teacher"]["accuracy"]["value"]
    )
    assert CARD["retention"] >= 0.94


def test_it_is_small_and_holds_nothing_of_the_machine_that_made_it() -> None:
    files = [path for path in (BOX / "1").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    assert not (BOX / "1/assets.extra/edge").exists()
    for file in [*files, BOX / "card.json", BOX / "README.md"]:
        assert machine_paths(file) == [], file


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        (b'"/a1/bc/x.tsv"', True),
        (b"see /data/runs.", True),
        (b"file:///data/runs", True),
        (b"C:\\Users\\me", True),
        (b"C:/runs/shop", True),
        (b"~/runs", True),
        (b"https://arxiv.org/abs/2010.10442", False),
        (b"student/dense/kernel", False),
        (b"and/or 3/4", False),
        (b"../../results/README.md", False),
    ],
)
def test_absolute_paths_are_recognised(text: bytes, absolute: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(text)
    assert bool(machine_paths(tmp_path / "file")) == absolute


def test_the_page_says_what_the_card_says() -> None:
    page = (BOX / "README.md").read_text(encoding="utf-8")
    for text, score in zip(TEXTS, SCORES, strict=True):
        assert f"| {text or '(empty)'} | {score:.3f} |" in page
    for name in ("teacher", "student"):
        assert f"{CARD['figures'][name]['accuracy']['value']:.3f} (" in page


def test_a_server_gives_the_same_scores(capsys: pytest.CaptureFixture) -> None:
    with LocalServer(["--embedded", "--model_name=quickstart", f"--model_base_path={BOX}"]) as server:
        assert main(["query", f"--address={server.address}", "--model=quickstart", *TEXTS[:3]]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [float(line.split("\t")[0]) for line in lines] == pytest.approx(SCORES[:3], abs=1e-4)


def test_the_readmes_first_example_runs(tmp_path: Path) -> None:
    readme = (BOX.parents[1] / "README.md").read_text(encoding="utf-8")
    example = readme.partition("```python\n")[2].partition("```")[0]
    assert "tfb2d.load" in example
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False, cwd=BOX.parents[1]
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1


def test_scoring_a_file_prints_results_alone(tmp_path: Path) -> None:
    (tmp_path / "reviews.tsv").write_text("\n".join(["text", *TEXTS[:-1]]) + "\n", encoding="utf-8")
    output = tmp_path / "scored.tsv"
    done = spawn("score", f"--model={BOX}", f"--input={tmp_path / 'reviews.tsv'}", f"--output={output}", "--noprogress")
    assert (done.returncode, done.stderr) == (0, "")  # TensorFlow's chatter is not there
    assert done.stdout.startswith(f"{len(TEXTS) - 1} rows scored into {output}")
    rows = [line.split("\t") for line in output.read_text(encoding="utf-8").splitlines()]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(SCORES[:-1], abs=1e-4)
