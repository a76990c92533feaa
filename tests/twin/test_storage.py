"""What storing weights costs, on the tiny twin that retrieves."""

from pathlib import Path

import pytest

from tests.twin.trained import some_offers, trained_twin
from tfb2d.twin.storage import main


def test_int8_weights_retrieve_what_float_weights_retrieve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offers = some_offers()
    trained_twin(tmp_path).save(tmp_path / "twin")
    (tmp_path / "queries.txt").write_text("\n".join(sorted({offer.product for offer in offers})[:100]))
    (tmp_path / "titles.txt").write_text("\n".join(offer.title for offer in offers))
    assert main([f"--{name}={tmp_path / file}" for name, file in FILES]) == 0
    rows = {
        line.split()[0]: [float(number) for number in line.split()[1:]]
        for line in capsys.readouterr().out.splitlines()[1:]
    }
    assert rows["float"][1:] == [1, 0, 1, 1]
    assert rows["int8"][0] < 0.35 * rows["float"][0]
    for weights in ("int8", "bfloat16"):
        _, cosine, change, recall, recall_10 = rows[weights]
        assert cosine > 0.999
        assert 0 < change < 0.03
        assert 0.98 < recall <= 1
        assert 0.98 < recall_10 <= 1


def test_a_folder_without_a_twin_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries.txt").write_text("usb\n")
    (tmp_path / "titles.txt").write_text("usb\n")
    assert main([f"--{name}={tmp_path / file}" for name, file in FILES]) == 2
    assert "twin.json" in capsys.readouterr().err


FILES = (("twin", "twin"), ("queries", "queries.txt"), ("titles", "titles.txt"))
