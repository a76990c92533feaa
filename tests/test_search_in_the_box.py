"""The student and the twin for search that the repository brings: as their card says, small, and able to search."""

import json
from pathlib import Path

import numpy as np
import pytest

import tfb2d
from tests.machine_paths import machine_paths
from tfb2d.atomic import read_json
from tfb2d.cli import main

ROOT = Path(__file__).parents[1]
MODELS = {"student": ROOT / "saved_models/search", "twin": ROOT / "saved_models/search_twin"}
CARD = read_json(MODELS["student"] / "card.json")


@pytest.mark.parametrize("model", MODELS)
def test_they_rank_as_their_card_says(model: str) -> None:
    loaded = tfb2d.load(MODELS[model] / "1")
    for ranking in CARD["rankings"]:
        scores = loaded.rank(ranking["query"], ranking["titles"])
        np.testing.assert_allclose(scores, ranking["scores"][model], atol=1e-4)
        assert np.argmax(scores) == 0


def test_their_figures_are_above_bm25s_and_near_the_teachers() -> None:
    figures = {name: values["roc_auc"]["value"] for name, values in CARD["figures"].items()}
    assert min(figures["student"], figures["twin"]) > figures["bm25"] + 0.1
    assert min(figures["student"], figures["twin"]) > 0.98 * figures["teacher"]


@pytest.mark.parametrize("model", MODELS)
def test_they_are_small_and_hold_nothing_of_the_machine_that_made_them(model: str) -> None:
    files = [path for path in (MODELS[model] / "1").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 7e6
    assert [path for file in files for path in machine_paths(file)] == []


def test_they_find_an_offer_among_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offers = tmp_path / "offers.csv"
    titles = [
        "apple iphone 8 plus 64gb silver",
        "bosch serie 4 washing machine 8kg",
        "lg 55 inch 4k tv",
        "usb-c cable 2 m",
    ]
    offers.write_text("id,title\n" + "".join(f"{row},{title}\n" for row, title in enumerate(titles)), "utf-8")
    index = str(tmp_path / "index")
    built = main(["search", "build", f"--titles={offers}", f"--model={MODELS['twin'] / '1'}", f"--index={index}"])
    assert built == 0
    capsys.readouterr()
    asked = [
        "search",
        "query",
        f"--index={index}",
        f"--ranker={MODELS['student'] / '1'}",
        "--json",
        "bosch 8 kg washer",
    ]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["hits"][0]["title"] == titles[1]
