"""Every recipe builds; those that take a folder of data get it behind a colon."""

from pathlib import Path

import pytest

from tfb2d.cli.recipes import load
from tfb2d.config import Config, ConfigError
from tfb2d.recipes import names


@pytest.mark.parametrize("name", names())
def test_recipes_build(name: str) -> None:
    config = Config.from_dict(load(name))
    assert config.name == name


@pytest.mark.parametrize("name", ["sst2", "pricerunner", "twin_pricerunner"])
def test_a_folder_behind_a_colon(name: str, tmp_path: Path) -> None:
    data = Config.from_dict(load(f"{name}:{tmp_path}")).data
    files = [*data.train, *data.test, *data.unlabelled, *data.offers.files, *data.offers.titles]
    assert len(files) > 1
    assert all(file.startswith(f"{tmp_path}/") for file in files)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("quickstart", "quickstart:"),
        ("pairs", "pairs:"),
        ("pricerunner", "pricerunner:data,"),
        ("twin_pricerunner", "twin_pricerunner:data,"),
    ],
)
def test_recipes_with_several_teachers(name: str, before: str) -> None:
    teachers = Config.from_dict(load(f"{before}2")).teachers
    assert {name: one.seed for name, one in teachers.items()} == {"minilm": 0, "seed1": 1}
    assert list(Config.from_dict(load(name)).teachers) == ["minilm"]
    for wrong in ("two", "0", "-1"):
        with pytest.raises(ConfigError, match="number of teachers"):
            load(f"{before}{wrong}")


def test_sst2_takes_its_teachers_by_name(tmp_path: Path) -> None:
    assert list(Config.from_dict(load(f"sst2:{tmp_path}")).teachers) == ["mpnet"]
    assert list(Config.from_dict(load(f"sst2:{tmp_path},minilm,mpnet")).teachers) == ["minilm", "mpnet"]
    with pytest.raises(ConfigError, match=r"--config=sst2:.*,bert: there is no teacher 'bert'; mpnet, minilm"):
        load(f"sst2:{tmp_path},bert")
