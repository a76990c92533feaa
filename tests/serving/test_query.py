import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving.scoring_server import ScoringServer, score
from tfb2d.cli import main as tfb2d
from tfb2d.query import ROWS


def main(arguments):
    return tfb2d(["query", *arguments])


@pytest.fixture
def ask(server, capsys):
    """Runs the command against the server: (exit status, lines of stdout, stderr)."""

    def run(*arguments):
        status = main([f"--address={server.address}", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return run


def test_texts_of_a_single_text_model(ask):
    status, lines, _ = ask("--model=text", "a film", "łódź\t\x1b[31m")
    assert status == 0
    assert lines == [
        "score\ttext",
        f"{score('a film'):.6f}\ta film",
        f"{score(chr(0x142) + 'ódź' + chr(9) + chr(27) + '[31m'):.6f}\tłódź\\t\\x1b[31m",
    ]


def test_a_query_and_its_titles(ask):
    expected = {title: score("shoes", title) for title in ("a", "b", "c")}
    status, lines, _ = ask("--model=pair", "--json", "--sort", "shoes", *expected)
    assert status == 0
    rows = [json.loads(line) for line in lines]
    assert [row["score"] for row in rows] == pytest.approx(sorted(expected.values(), reverse=True))
    assert {row["title"]: row["score"] for row in rows} == pytest.approx(expected)
    assert all(row["query"] == "shoes" for row in rows)
    _, lines, _ = ask("--model=pair", "--output=logit", "shoes", "a")
    assert lines == ["logit\tquery\ttitle", f"{np.float32(10) * expected['a']:.6f}\tshoes\ta"]


def test_classes_and_label(ask):
    _, lines, _ = ask("--model=classes", "--label=stable", "x")
    assert lines[0] == "score_0\tscore_1\tscore_2\ttext"
    _, lines, _ = ask("--model=classes", "--json", "x")
    assert len(json.loads(lines[0])["score"]) == 3


def test_files(ask, tmp_path):
    tsv = tmp_path / "a.tsv"
    tsv.write_bytes(b"term\ttitle\nred\tshoes\nb\xffd\tz\nfew\n")
    status, lines, errors = ask("--model=pair", "--input", tsv, "--fields=query=term,title")
    assert status == 1
    assert lines == ["score\tquery\ttitle", f"{score('red', 'shoes'):.6f}\tred\tshoes"]
    assert f"{tsv}, row 3: term is not UTF-8" in errors
    assert f"{tsv}, row 4: ragged row" in errors
    assert "error: 2 rows could not be scored" in errors

    tsv.write_text('query\ttitle\n"red"\tshoes\n', encoding="utf-8")
    for quoting, query in (("csv", "red"), ("none", '"red"')):
        _, lines, _ = ask("--model=pair", "--input", tsv, f"--quoting={quoting}")
        assert lines[1] == f"{score(query, 'shoes'):.6f}\t{query}\tshoes"

    texts = [f"row {i}" for i in range(ROWS + 3)]
    parquet = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": texts}), parquet)
    server_limit = ask("--model=text", "--input", parquet)  # 512 rows a request are more than this server takes
    assert server_limit[0] == 1
    assert "larger than the maximum batch size" in server_limit[2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--model=pair", "alone"], "takes query and title: give a query and at least one title"),
        (["--model=nope", "x"], "model 'nope' at 127.0.0.1"),
        (["--model=text", "--label=zz", "x"], "Unrecognized servable version label: zz"),
        (["--model=text", "--output=probability", "x"], "has no output 'probability'; it has logit, score"),
        (["--model=ab", "x", "y"], "does not say in which order"),
        (["--model=text", "--input", "missing.tsv"], "missing.tsv"),
        (["--model=text", "--ca=missing.pem", "x"], "missing.pem"),
        (["--model=text", "--cert=a.pem", "x"], "go together"),
        (["--model=text", "--version=1", "--label=a", "x"], "exclude each other"),
    ],
)
def test_errors_are_one_clear_line(ask, arguments, word):
    status, lines, errors = ask(*arguments)
    assert status == 1
    assert not lines
    assert errors.startswith("error: ")
    assert word in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [[], ["x", "--input", "f.tsv"], ["--input", "f.tsv", "--sort"]])
def test_wrong_command_lines(arguments, capsys):
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_nobody_there_says_what_to_do(capsys):
    with ScoringServer() as unreachable:
        address = unreachable.address
    assert main([f"--address={address}", "--timeout=0.3", "x"]) == 1
    assert "tfb2d serve" in capsys.readouterr().err


def test_mutual_tls(certificates, capsys):
    import grpc

    pair = [((certificates / "server-key.pem").read_bytes(), (certificates / "server.pem").read_bytes())]
    ca = certificates / "ca.pem"
    credentials = grpc.ssl_server_credentials(pair, ca.read_bytes(), require_client_auth=True)
    with ScoringServer(credentials=credentials) as secure:
        shown = [f"--ca={ca}", f"--cert={certificates / 'client.pem'}", f"--key={certificates / 'client-key.pem'}"]
        assert main([f"--address=localhost:{secure.port}", "--model=text", *shown, "x"]) == 0
        assert main([f"--address={secure.address}", "--model=text", f"--ca={ca}", "--timeout=0.3", "x"]) == 1
    assert f"{score('x'):.6f}" in capsys.readouterr().out
