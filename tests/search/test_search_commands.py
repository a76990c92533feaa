"""`tfb2d search`: what each command prints, writes and refuses."""

import io
import json
from pathlib import Path

import pytest

from tests.commands import run, spawn
from tests.search.shop import TITLES, Models, write_titles
from tfb2d import cli
from tfb2d.resume import RECORD
from tfb2d.search.__main__ import COMMANDS


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Queries whose relevant titles hold both of their words."""
    lines = ["query\tid\ttitle\tlabel"]
    for query in ("acme red", "corvo 4k", "bolt blue"):
        for place, title in enumerate(TITLES):
            if set(query.split()) <= set(title.split()):
                lines.append(f"{query}\tt{place}\t{title}\t1")
        lines.append(f"{query}\tt0\t{TITLES[0]}\t{int(query == 'acme red')}")
    lines += ["acme red\tzzz\tnot in the catalogue\t1", "nothing relevant\tt1\t" + TITLES[1] + "\t0"]
    file = tmp_path / "judged.tsv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_build_update_and_query(models: Models, titles_file: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    flags = (f"--titles={titles_file}", f"--model={models.twin}", f"--index={index}", "--noprogress")
    done = run("search", "build", *flags)
    assert done.returncode == 0, done
    assert done.stdout.startswith(
        f"{len(TITLES)} titles in {index}: 64 numbers of float16 each, searched by exact; made by"
    )
    new = write_titles(tmp_path / "new.tsv", {"n": "zeppelin", "t1": "changed"})
    gone = tmp_path / "gone.txt"
    gone.write_text("t2\nnobody\n")
    done = run("search", "update", f"--index={index}", f"--titles={new}", f"--delete={gone}", "--noprogress")
    assert "1 titles added, 1 replaced, 1 deleted, 0 unchanged; 75 in" in done.stdout
    assert "not in the index, so not deleted: nobody" in done.stdout
    done = run("search", "query", f"--index={index}", f"--ranker={models.ranker}", "--k=2", "zeppelin", "iphone case")
    tables = done.stdout.split("'iphone case'")
    assert "zeppelin (n)" in tables[0]
    assert tables[1].count("(t") == 2
    assert "ms" in tables[1]
    done = run("search", "query", f"--index={index}", "--json", "--k=1", "zeppelin")
    assert json.loads(done.stdout)["hits"][0]["id"] == "n"


def test_queries_from_standard_input(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("red shoes\nblue lamp\n"))
    done = run("search", "query", f"--index={index}", "--json", "--k=1", "--legs=bm25")
    assert [json.loads(line)["query"] for line in done.stdout.splitlines()] == ["red shoes", "blue lamp"]


def test_evaluate(index: Path, judged: Path, models: Models, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    flags = (f"--index={index}", f"--judged={judged}", "--recall_at=10,200", "--noprogress", "--resamples=50")
    done = run("search", "evaluate", *flags, "--id=id", f"--ranker={models.ranker}", f"--output={output}")
    assert done.returncode == 0, done
    for way in ("random", "bm25", "twin", "both", "ranked"):
        assert f"\n{way} " in done.stdout
    assert "3 measured, 1 without a relevant title" in done.stdout
    assert "1 judged titles are not in the index" in done.stdout
    result = json.loads(output.read_text())
    figures = result["figures"]
    assert figures["bm25"]["recall@10"]["value"] == 1.0
    assert figures["bm25"]["ndcg@10"]["value"] > figures["random"]["ndcg@10"]["value"]
    assert figures["random"]["recall@200"]["value"] == 1.0  # the whole catalogue
    assert "recall@200" not in figures["ranked"]  # of which only the first 100 were ranked
    by_title = run("search", "evaluate", *flags)
    assert by_title.returncode == 0, by_title
    assert "\nranked" not in by_title.stdout


@pytest.mark.slow  # a process, with TensorFlow, for each index
def test_bench_with_distractors(models: Models, titles_file: Path, judged: Path, tmp_path: Path) -> None:
    flags = (
        f"--titles={titles_file}",
        f"--model={models.twin}",
        f"--judged={judged}",
        f"--workdir={tmp_path / 'bench'}",
        "--distractors=1500",
        "--indexes=hnsw-int8",
        "--ef_search=",
        f"--ranker={models.ranker}",
        "--peer=bert-tiny",
        "--noprogress",
    )
    done = run("search", "bench", *flags)
    assert done.returncode == 0, done
    result = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert result["titles"] == len(TITLES) + 1500
    assert result["indexes"]["exact-float32"]["ways"]["twin"]["recall@1000"] == 1.0
    hnsw = result["indexes"]["hnsw-int8"]
    assert hnsw["ways"]["twin, ef_search 128"]["recall@100"] > 0.9
    assert set(hnsw["two_stages"]["both"]) == {"bm25", "embed", "twin", "fuse", "rank", "total"}
    assert set(hnsw["two_stages"]["both, ranked by the cross-encoder"]) == {"retrieve", "rank", "total"}
    assert set(result["indexes"]["exact-float32"]["query_encoding"]) == {"session", "python"}
    assert "query encoding, session: " in done.stdout
    assert 0 < hnsw["memory_mb"]["own"] < 500
    assert result["judged"]["exact-float32"]["bm25"]["recall@1000"]["value"] == 1.0
    before = (tmp_path / "bench" / "hnsw-int8" / RECORD).stat().st_mtime_ns
    assert run("search", "bench", *flags).returncode == 0
    assert (tmp_path / "bench" / "hnsw-int8" / RECORD).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "tfb2d search takes one of build, update"),
        (("bild",), "there is no command 'bild'; did you mean build?"),
        (("build", "--titles=x.tsv", "--model=m", "--index=i"), "there is no such folder; a model is"),
        (("build", "--titles=x.tsv", "--model=m", "--index=i", "--parameters=m"), "--parameters takes NAME=NUMBER"),
        (("build", "--titles=x.tsv", "--model=m"), "--index"),
        (("update", "--index=nowhere"), "nothing to do: give --titles=FILE"),
        (("update", "--index=nowhere", "--delete_ids=1"), "nowhere holds no index"),
        (("query", "--index=nowhere", "x"), "nowhere holds no index (no index.json): build one"),
        (("query", "--idnex=nowhere", "x"), "there is no flag --idnex; did you mean --index?"),
        (("evaluate", "--index=i", "--judged=j", "--recall_at=0"), "--recall_at: 0 is outside of its range"),
        (
            ("bench", "--titles=x", "--model=m", "--judged=j", "--workdir=w", "--indexes=hnws-int8"),
            "--indexes: hnws-int8 is no BACKEND-DTYPE",
        ),
        (("bench", "--titles=x", "--model=m", "--judged=j", "--workdir=w", "--peer=mini"), "--peer=mini: bert-base, "),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in run("search", *words).error()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_teaches(name: str) -> None:
    done = run("search", name, "--help")
    assert done.returncode == 0
    assert f"usage: tfb2d search {name} [FLAGS]" in done.stdout
    assert done.stdout.partition("\n")[2].count(f"tfb2d search {name}") >= 2
    _, parser = cli.parser_of("search", [name])
    with pytest.raises(SystemExit):
        parser.read(["--vebrose"])


def test_search_itself_imports_no_tensorflow(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from tests.search.indexes import make_index, unit
index = make_index(Path(sys.argv[1]), unit(300), "hnsw", "int8")
index.nearest(unit(1)[0], 3), index.lexical.search("title 7", 3)
import tfb2d.search.searcher, tfb2d.search.build, tfb2d.search.judgements, tfb2d.search.query
print(sorted({"tensorflow", "keras", "tf_keras", "jax", "pymilvus"} & set(sys.modules)))
"""
    import subprocess
    import sys

    command = [sys.executable, "-c", code, str(tmp_path / "index")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert spawn("search", "--help").stdout.startswith("usage: tfb2d search [FLAGS]")
