"""Every recipe builds; those that take a folder of data get it behind a colon."""

import runpy
from pathlib import Path

import pytest

from tfb2d.config import Config, ConfigError
from tfb2d.train import RECIPES, _named_recipe, _parse

NAMES = sorted(path.stem for path in RECIPES.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_recipes_build(name: str) -> None:
    config = Config.from_dict(runpy.run_path(str(RECIPES / f"{name}.py"))["get_config"]())
    assert config.name == name


@pytest.mark.parametrize("name", ["sst2", "pricerunner"])
def test_a_folder_behind_a_colon(name: str, tmp_path: Path) -> None:
    word = _named_recipe(f"--config={name}:{tmp_path}")
    assert word == f"--config={RECIPES / name}.py:{tmp_path}"
    data = Config.from_dict(runpy.run_path(str(RECIPES / f"{name}.py"))["get_config"](str(tmp_path))).data
    files = [*data.train, *data.test, *data.unlabelled, *data.offers.files, *data.offers.titles]
    assert len(files) > 1
    assert all(file.startswith(f"{tmp_path}/") for file in files)


def test_files_and_other_words_stay_as_they_are() -> None:
    for word in ("--config=my/sst2.py", "--config=recipe.py:a", "--workdir=sst2:a"):
        assert _named_recipe(word) == word
    with pytest.raises(SystemExit, match="did you mean 'sst2'"):
        _named_recipe("--config=sst:data")


@pytest.mark.parametrize(("name", "before"), [("quickstart", ""), ("pricerunner", "data,")])
def test_recipes_with_several_teachers(name: str, before: str) -> None:
    recipe = runpy.run_path(str(RECIPES / f"{name}.py"))["get_config"]
    teachers = Config.from_dict(recipe(f"{before}2")).teachers
    assert {name: one.seed for name, one in teachers.items()} == {"minilm": 0, "seed1": 1}
    assert list(Config.from_dict(recipe()).teachers) == ["minilm"]
    for wrong in ("two", "0", "-1"):
        with pytest.raises(ConfigError, match="number of teachers"):
            recipe(f"{before}{wrong}")


def test_sst2_takes_its_teachers_by_name(tmp_path: Path) -> None:
    recipe = runpy.run_path(str(RECIPES / "sst2.py"))["get_config"]
    assert list(Config.from_dict(recipe(f"{tmp_path}")).teachers) == ["mpnet"]
    assert list(Config.from_dict(recipe(f"{tmp_path},minilm,mpnet")).teachers) == ["minilm", "mpnet"]
    with pytest.raises(SystemExit, match=r"error: --config=sst2:.*,bert: there is no teacher 'bert'; mpnet, minilm"):
        _parse(["train", f"--config={RECIPES / 'sst2.py'}:{tmp_path},bert"])
