"""What is said of a cluster that is not there, before Ray is started in these tests' process."""

from pathlib import Path

from tests import commands


def test_a_cluster_that_is_not_there(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("query\ttitle\nred\tshoe\n")
    words = [f"--teacher={saved}", f"--input={tmp_path / 'log.tsv'}", f"--output={tmp_path / 'out'}", "--noprogress"]
    for wrong, message in [
        (["--engine=spark"], "'spark' is not known"),
        (["--engine=ray", "--actors=-1"], "actors"),
        (["--engine=ray", "--ray_address=127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--engine=ray", "--ray_address=ray://127.0.0.1:1"], "no Ray cluster answers at ray://127.0.0.1:1"),
    ]:
        assert message in commands.run("label", *words, *wrong).error()
