"""The page on what large jobs cost: its tables are those that its script computes from the measured figures."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[1] / "docs" / "scale.py"


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_makes_of_the_figures(scale: ModuleType) -> None:
    result = json.loads(scale.RESULT.read_text(encoding="utf-8"))
    assert scale.page(result) == scale.PAGE.read_text(encoding="utf-8")


def test_hours_and_money_follow_from_a_row(scale: ModuleType) -> None:
    def sizes(a_row: float) -> dict:
        rows = (100, 1000, 10_000)
        each = [{"rows": n, "cpu_seconds": 5 + n * a_row, "peak_mb": 1, "bytes": 10 * n, "moved": 50 * n} for n in rows]
        return {"sizes": each, "load": 1.0, "cores": 2, "date": "2026-11-29"}

    result = {"preparing": sizes(3.6e-4), "labelling": sizes(3.6), "hashing": sizes(3.6e-3), "training": sizes(3.6e-2)}
    assert scale.row_costs(result)["labelling"] == pytest.approx(3.6)
    (line,) = [line for line in scale.lines(result, 0.04, 2.0, 0.0) if line.startswith("| 10^7")]
    # 10^7 rows: an hour of preparing, 10^4 of labelling, 10 of hashing, 5 epochs of 100 hours
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2:6] == ["1.00 core h", "10,000 core h", "10 core h", "500 core h"]
    assert cells[7:9] == ["1.0 GB", "420"]
    (line,) = [line for line in scale.lines(result, 0.04, 2.0, 10_000.0) if line.startswith("| 10^7")]
    assert line.split("|")[3].strip() == "0.28 GPU h"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (0.5, "0.50"), (1.26, "1.3"), (12.6, "13"), (1234.5, "1,200"), (0.0, "0.000")],
)
def test_amounts_have_two_digits(scale: ModuleType, value: float, text: str) -> None:
    assert scale.amount(value) == text
