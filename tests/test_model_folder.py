from pathlib import Path

import pytest

from tfb2d.model_folder import newest_version, version_folders


def test_versions_are_ordered_by_number_and_nothing_else_counts(tmp_path: Path) -> None:
    for name in ("9", "10", "007", "1a", "²", ".11", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert [path.name for path in version_folders(tmp_path)] == ["007", "9", "10"]
    assert newest_version(tmp_path).name == "10"
    (tmp_path / "9" / "saved_model.pb").write_text("")
    assert newest_version(tmp_path, "saved_model.pb").name == "9"
    assert version_folders(tmp_path / "nowhere") == []


def test_a_folder_without_versions_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no version"):
        newest_version(tmp_path)
    (tmp_path / "1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"with saved_model\.pb"):
        newest_version(tmp_path, "saved_model.pb")
