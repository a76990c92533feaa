"""What storing weights costs, on the tiny twin that retrieves."""

from pathlib import Path

from tests.commands import run
from tests.twin.trained import some_offers, trained_twin


def test_int8_weights_retrieve_what_float_weights_retrieve(tmp_path: Path) -> None:
    offers = some_offers()
    trained_twin(tmp_path).save(tmp_path / "twin")
    (tmp_path / "queries.txt").write_text("\n".join(sorted({offer.product for offer in offers})[:100]))
    (tmp_path / "titles.txt").write_text("\n".join(offer.title for offer in offers))
    done = run("storage", *(f"--{name}={tmp_path / file}" for name, file in FILES))
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: [float(number) for number in line.split()[1:]] for line in done.stdout.splitlines()[2:]}
    assert rows["float"][1:] == [1, 0, 1, 1]
    assert rows["int8"][0] < 0.35 * rows["float"][0]
    for weights in ("int8", "bfloat16"):
        _, cosine, change, recall, recall_10 = rows[weights]
        assert cosine > 0.999
        assert 0 < change < 0.03
        assert 0.98 < recall <= 1
        assert 0.98 < recall_10 <= 1


def test_a_folder_without_a_twin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("usb\n")
    (tmp_path / "titles.txt").write_text("usb\n")
    assert "twin.json" in run("storage", *(f"--{name}={tmp_path / file}" for name, file in FILES)).error()


FILES = (("twin", "twin"), ("queries", "queries.txt"), ("titles", "titles.txt"))
