"""The command as it is typed; what it does is tested in tests/evaluation/test_batch.py."""

from pathlib import Path

import pytest

from tests.commands import run as command
from tests.evaluation.tiny_model import PAIRS, expected_logits, export
from tests.tables import read, write


def test_a_model_scores_files(tmp_path: Path) -> None:
    export(tmp_path / "shop/3", PAIRS)
    rows = [("tv", f"match {row}", str(row)) for row in range(200)] + [("", " ", "bad")]
    source = write(tmp_path / "logs.tsv.gz", ["term", "title", "id"], rows)
    output = tmp_path / "out/scored.tsv"
    done = command(
        "score", f"--model={tmp_path / 'shop'}", f"--input={source}", f"--output={output}", "--fields=query=term"
    )
    assert done.returncode == 0, done.stderr
    actual = read(output, ["term", "title", "id", "score", "logit"])
    assert [row[:3] for row in actual] == rows[:200]
    logits = expected_logits(PAIRS, [["tv"] * 200, [row[1] for row in rows[:200]]])
    assert [float(row[4]) for row in actual] == pytest.approx(logits)
    assert f"200 rows scored into {output}" in done.stdout
    assert f"1 row rejected, listed in {output}.rejected.jsonl: 1 empty text" in done.stdout
    assert "rows/s" in done.stderr  # the progress bar


def test_what_cannot_work_is_said_in_a_line(tmp_path: Path) -> None:
    done = command("score", f"--model={tmp_path}", f"--input={tmp_path}", f"--output={tmp_path / 'out.tsv'}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}: neither a SavedModel")
    done = command("score", f"--model={tmp_path}", f"--input={tmp_path}", f"--output={tmp_path / 'out.docx'}")
    assert "unknown kind of file" in done.stderr
