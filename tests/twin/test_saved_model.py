"""A twin's SavedModel: the same numbers by every way there is from strings to scores, versions, kills, what is refused."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import tfb2d
from tests.killing import python, run, run_and_kill
from tests.twin.twins import TASK, TEXTS, shake, twin
from tfb2d.atomic import read_json
from tfb2d.cli import main
from tfb2d.errors import UserError
from tfb2d.model_folder import ABOUT, version_folders
from tfb2d.serving import AsyncClient, Client, ServingError
from tfb2d.serving.local import LocalServer
from tfb2d.serving.version_folder import WARMUP
from tfb2d.twin.model import Twin
from tfb2d.twin.saved_model import export

QUERIES = ["usb cable", "café 3.5 mm", "", "中日 ß"]
TITLES = ["Anker USB-C cable, 2 m", "a", "usb " * 40, "Kabel 3.5"]
SAME = 3e-6  # of float32 weights; batches of other sizes are summed in another order
SIGNATURES = ["embed_query", "embed_title", "rank", "score_embeddings", "serving_default"]


def made(kind: str, folder: Path, weights: str = "float") -> tuple[Twin, Path]:
    keras.utils.set_random_seed(2)
    trained = twin(kind, crossing="max", shared=kind == "bert")
    for tower in {id(tower.model): tower for tower in (trained.query_tower, trained.title_tower)}.values():
        shake(tower)
    warmup = [QUERIES, TITLES]
    version = export(
        trained, folder / kind, scale=0.5, bias=0.25, warmup=warmup, fingerprint=f"{kind} {weights}", weights=weights
    )
    return trained, version


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=["bert", "asymmetric", "triletters", "ngram"])
def exported(request: pytest.FixtureRequest, models: Path) -> tuple[Twin, Path]:
    return made(request.param, models)


@pytest.fixture(scope="module")
def bert(models: Path) -> tuple[Twin, Path]:
    return made("bert", models)


def test_every_way_gives_the_trained_twins_numbers(exported: tuple[Twin, Path]) -> None:
    trained, version = exported
    logits = trained.logits([QUERIES, TITLES])[:, 0]
    scores = 1 / (1 + np.exp(-(0.5 * logits + 0.25)))
    assert np.ptp(scores) > 1e-3
    queries, titles = trained.embed_query(QUERIES), trained.embed_title(TITLES)
    model = tfb2d.load(version)
    np.testing.assert_allclose(model.embed_query(QUERIES), queries, atol=SAME)
    np.testing.assert_allclose(model.embed_title(TITLES), titles, atol=SAME)
    pairs = list(zip(QUERIES, TITLES, strict=True))
    np.testing.assert_allclose(model.logits(pairs), logits, atol=1e-4)
    np.testing.assert_allclose(model.score(pairs), scores, atol=2e-5)
    np.testing.assert_allclose(
        model.rank(QUERIES[0], TITLES), model.score([(QUERIES[0], t) for t in TITLES]), atol=2e-5
    )
    served = tf.saved_model.load(str(version)).signatures
    assert sorted(served) == SIGNATURES
    vectors = {"query_embedding": tf.constant(queries), "title_embedding": tf.constant(titles)}
    np.testing.assert_allclose(served["score_embeddings"](**vectors)["score"], scores, atol=2e-5)
    lists = [[*TITLES[:2], ""], ["", "", ""], ["", TITLES[3], ""]]
    ranked = served["rank"](query=tf.constant(QUERIES[:3]), titles=tf.constant(lists))["scores"].numpy()
    expected = np.zeros((3, 3), np.float32)
    expected[0, :2] = model.rank(QUERIES[0], TITLES[:2])
    expected[2, 1] = model.rank(QUERIES[2], TITLES[3:])[0]
    np.testing.assert_allclose(ranked, expected, atol=2e-5)
    assert model.embed_query([]).shape == (0, 8)
    with pytest.raises(TypeError, match="one string"):
        model.embed_title("usb cable")


@pytest.mark.parametrize(("queries", "titles"), [(1, 2), (2, 1)])
def test_inputs_with_other_numbers_of_rows_are_refused(queries: int, titles: int, bert: tuple[Twin, Path]) -> None:
    served = tf.saved_model.load(str(bert[1])).signatures
    query = tf.constant(QUERIES[:queries])
    vectors = {"query_embedding": tf.ones([queries, 8]), "title_embedding": tf.ones([titles, 8])}
    for signature, inputs in (
        ("rank", {"query": query, "titles": tf.constant([TITLES] * titles)}),
        ("serving_default", {"query": query, "title": tf.constant(TITLES[:titles])}),
        ("score_embeddings", vectors),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same number of rows"):
            served[signature](**inputs)


def test_what_lies_beside_the_graph(exported: tuple[Twin, Path]) -> None:
    trained, version = exported
    about = read_json(version / ABOUT)
    assert (about["kind"], about["dim"], about["crossing"]) == ("twin", 8, "max")
    assert about["signatures"] == SIGNATURES
    assert about["calibration"] == {"scale": 0.5, "bias": [0.25]}
    reads_pieces = trained.title_tower.shape["kind"] == "word_pieces"
    assert about["needs"] == (["tensorflow_text"] if reads_pieces else [])
    records = tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name for request in requests} == set(SIGNATURES)


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_stored_weights_make_the_model_smaller_and_move_scores_little(weights: str, models: Path) -> None:
    exact, small = made("asymmetric", models)[1], made("asymmetric", models / weights, weights)[1]
    sizes = [sum(file.stat().st_size for file in (path / "variables").iterdir()) for path in (exact, small)]
    assert sizes[1] < 0.75 * sizes[0]
    pairs = list(zip(QUERIES, TITLES, strict=True))
    scores = [tfb2d.load(path).score(pairs) for path in (exact, small)]
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.05


def test_twins_of_hashed_inputs_load_with_tensorflow_alone(models: Path) -> None:
    code = (
        "import sys, tensorflow as tf\n"
        "for folder in sys.argv[1:]:\n"
        "    model = tf.saved_model.load(folder)\n"
        "    vector = model.signatures['embed_query'](query=tf.constant(['usb']))['embedding']\n"
        "    assert vector.shape == (1, 8) and 'tensorflow_text' not in sys.modules"
    )
    folders = [str(made(kind, models)[1]) for kind in ("triletters", "ngram")]
    subprocess.run([sys.executable, "-c", code, *folders], check=True, capture_output=True)


WITHOUT_TEXT = "import sys; sys.modules['tensorflow_text'] = None\n"  # what an import then raises is ImportError


def test_a_model_of_word_pieces_says_what_it_lacks(bert: tuple[Twin, Path]) -> None:
    code = WITHOUT_TEXT + (
        "import tfb2d\n"
        "from tfb2d.errors import UserError\n"
        "from tfb2d.serving.server.errors import StatusError\n"
        "from tfb2d.serving.server.options import Options\n"
        "from tfb2d.serving.server.session import Session\n"
        "for load in (tfb2d.load, lambda folder: Session(folder, Options(), folder)):\n"
        "    try:\n"
        "        load(sys.argv[1])\n"
        "    except (UserError, StatusError) as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bert[1])], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("install the tensorflow-text of TensorFlow's own version" in line for line in lines)


def test_the_embedded_server_embeds_and_ranks(bert: tuple[Twin, Path], tiny_twin: Path) -> None:
    config = "".join(
        f'config {{ name: "{name}" base_path: "{version.parent}" model_platform: "tensorflow" }}\n'
        for name, version in (("bert", bert[1]), ("tiny", tiny_twin))
    )
    file = tiny_twin.parent.parent / "models.cfg"
    file.write_text(f"model_config_list {{ {config} }}")
    with LocalServer(["--embedded", f"--model_config_file={file}"]) as server:
        for name, version in (("bert", bert[1]), ("tiny", tiny_twin)):
            model = tfb2d.load(version)
            with Client(server.address, model=name, timeout=60) as client:
                np.testing.assert_allclose(client.embed_query(QUERIES), model.embed_query(QUERIES), atol=SAME)
                np.testing.assert_allclose(client.embed_title(TITLES), model.embed_title(TITLES), atol=SAME)
                np.testing.assert_allclose(client.rank("usb", TITLES), model.rank("usb", TITLES), atol=2e-5)
                pairs = list(zip(QUERIES, TITLES, strict=True))
                np.testing.assert_allclose(client.score(pairs), model.score(pairs), atol=2e-5)
                with pytest.raises(ServingError, match="no signature 'embed'"):
                    client.embed(QUERIES)

            async def embed(name: str = name) -> list[np.ndarray]:
                async with AsyncClient(server.address, model=name, timeout=60) as client:
                    return list(await asyncio.gather(client.embed_query(QUERIES), client.embed_title(TITLES)))

            queries, titles = asyncio.run(embed())
            np.testing.assert_allclose(queries, model.embed_query(QUERIES), atol=SAME)
            np.testing.assert_allclose(titles, model.embed_title(TITLES), atol=SAME)


def test_the_tiny_twin_retrieves(tiny_twin: Path) -> None:
    from tests.twin.trained import some_offers

    offers, model = some_offers(), tfb2d.load(tiny_twin)
    products = sorted({offer.product for offer in offers})
    cosines = model.embed_query(products) @ model.embed_title([offer.title for offer in offers]).T
    best = [offers[index].product for index in cosines.argmax(1)]
    assert np.mean([product == name for product, name in zip(products, best, strict=True)]) > 0.9


def test_the_same_twin_is_not_written_twice(bert: tuple[Twin, Path]) -> None:
    trained, version = bert
    arguments = {"scale": 0.5, "bias": 0.25, "warmup": [QUERIES, TITLES]}
    assert export(trained, version.parent, fingerprint="bert float", **arguments) == version
    assert export(trained, version.parent, fingerprint="another", **arguments).name == "2"


def test_a_killed_export_leaves_no_version_and_the_next_one_writes_it(tmp_path: Path) -> None:
    trained = twin("ngram")
    trained.save(tmp_path / "twin", {"calibration": {"scale": 1.0, "bias": [0.0]}})
    output = tmp_path / "shop"
    code = f"from tfb2d.cli import main; main(['export', '--source={tmp_path}/twin', '--output={output}'])"
    run_and_kill(python(code), lambda: output.exists() and any(output.glob(".*.partial")))  # its hidden folder is there
    assert version_folders(output) == []
    run(python(code))
    (version,) = version_folders(output)
    assert [path.name for path in output.glob("[!.]*")] == ["1"]
    np.testing.assert_allclose(tfb2d.load(version).embed_query(TEXTS), trained.embed_query(TEXTS), atol=0.02)


def test_commands_score_with_a_twin_or_refuse_it(
    bert: tuple[Twin, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, version = bert
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("query\ttitle\tlabel\n" + "".join(f"{q or 'x'}\t{t}\t{i % 2}\n" for i, (q, t) in enumerate(PAIRS)))
    scores = tmp_path / "scores.jsonl"
    assert main(["score", f"--model={version}", f"--input={pairs}", f"--output={scores}"]) == 0
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    expected = tfb2d.load(version).score([(row["query"], row["title"]) for row in rows])
    np.testing.assert_allclose([row["score"] for row in rows], expected, atol=1e-5)
    assert main(["evaluate", f"--model={version}", f"--data={pairs}", "--resamples=0"]) == 0
    assert "accuracy" in capsys.readouterr().out
    trained.save(tmp_path / "twin", {"calibration": {"scale": 1.0, "bias": [0.0]}})
    for arguments, message in (
        (
            ["export", f"--source={tmp_path}/twin", f"--output={tmp_path}/edge", "--forms=edge"],
            "no TensorFlow Lite form",
        ),
        (["explain", f"--model={version}", "usb", "cable"], "explain takes students"),
    ):
        assert main(arguments) != 0
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="twins have no TensorFlow Lite form"):
        tfb2d.EdgeScorer(version)
    assert TASK.fields == tfb2d.load(version).fields


PAIRS = [(q, t) for q in QUERIES for t in TITLES]
