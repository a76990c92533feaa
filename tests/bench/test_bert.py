"""The BERTs that students are compared with: the ONNX graph is KerasHub's BERT, and batches are what they should be."""

from pathlib import Path

import numpy as np
import pytest

from tfb2d.bench import keras_bert, onnx_bert
from tfb2d.bench.bert import ARCHITECTURES, Architecture, WordPiece

SMALL = Architecture(layers=2, width=24, heads=3, intermediate=40, vocabulary=97, positions=20, logits=3)


def weights_of(model, shape: Architecture) -> dict[str, np.ndarray]:
    """The weights of a KerasHub classifier under the names of `random_weights`."""
    backbone, width = model.backbone, shape.width
    weights = {
        "word": backbone.token_embedding.embeddings,
        "position": backbone.position_embedding.position_embeddings,
        "segment": backbone.segment_embedding.embeddings,
    }

    def norm(name, layer):
        weights[f"{name}.gamma"], weights[f"{name}.beta"] = layer.gamma, layer.beta

    def dense(name, layer):
        weights[f"{name}.kernel"], weights[f"{name}.bias"] = layer.kernel, layer.bias

    norm("norm", backbone.embeddings_layer_norm)
    for i, layer in enumerate(backbone.transformer_layers):
        own = {weight.path.partition("/")[2]: weight for weight in layer.weights}
        for part, shape_of_one in (("kernel", (width, width)), ("bias", width)):
            sides = [own[f"self_attention_layer/{side}/{part}"] for side in ("query", "key", "value")]
            weights[f"{i}.attention.{part}"] = np.concatenate([np.reshape(side, shape_of_one) for side in sides], -1)
        output = own["self_attention_layer/attention_output/kernel"]
        weights[f"{i}.output.kernel"] = np.reshape(output, (width, width))
        weights[f"{i}.output.bias"] = own["self_attention_layer/attention_output/bias"]
        for name, layer_name in (("norm", "self_attention_layer_norm"), ("last_norm", "feedforward_layer_norm")):
            for part in ("gamma", "beta"):
                weights[f"{i}.{name}.{part}"] = own[f"{layer_name}/{part}"]
        for name, layer_name in (("up", "feedforward_intermediate_dense"), ("down", "feedforward_output_dense")):
            for part in ("kernel", "bias"):
                weights[f"{i}.{name}.{part}"] = own[f"{layer_name}/{part}"]
    dense("pooler", backbone.pooled_dense)
    dense("head", model.output_dense)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


@pytest.mark.parametrize("shape", [SMALL, ARCHITECTURES["bert-tiny"]])
def test_onnx_graph_gives_the_scores_of_kerashub(shape: Architecture) -> None:
    rng = np.random.default_rng(3)
    model = keras_bert.classifier(shape)
    for weight in model.weights:  # the start values of biases and norms would hide a mistake
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape, np.float32))
    lengths = np.array([11, 4, 1, 7])
    mask = (np.arange(11) < lengths[:, None]).astype(np.int32)
    ids = rng.integers(1, 97, mask.shape).astype(np.int32) * mask
    segments = (np.arange(11) >= lengths[:, None] // 2).astype(np.int32) * mask
    expected = keras_bert.forward(model)(ids, segments, mask)
    proto = onnx_bert.graph(shape, weights_of(model, shape))
    loaded = onnx_bert.session(proto.SerializeToString(), 1)
    batches = loaded.run(None, dict(zip(onnx_bert.INPUTS, (ids, segments, mask), strict=True)))[0]
    assert batches.shape == expected.shape == (4, shape.logits)
    assert np.ptp(expected, axis=0).min() > 1e-3  # rows differ, so that equal means something
    np.testing.assert_allclose(batches, expected, atol=1e-4)


def test_quantised_graph_is_int8_and_near(tmp_path: Path, minilm: Path) -> None:
    import onnx

    shape = ARCHITECTURES["bert-tiny"]
    file = str(tmp_path / "tiny.onnx")
    onnx_bert.build("bert-tiny", file)
    ops = {node.op_type for node in onnx.load(file).graph.node}
    assert {"QAttention", "MatMulInteger", "QEmbedLayerNormalization"} <= ops
    assert "Attention" not in ops
    assert Path(file).stat().st_size < 30522 * shape.width * 1.2
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
    system = onnx_bert.open_onnx(file, str(minilm / "tokenizer.json"), 16, 1)
    texts = ["good film", "a much longer text about a bad film, cut somewhere", ""]
    proto = onnx_bert.graph(shape, onnx_bert.random_weights(shape))
    plain = onnx_bert.session(proto.SerializeToString(), 1)
    (_, inputs), *_ = WordPiece(str(minilm / "tokenizer.json"), 16).batches([texts])
    expected = plain.run(None, dict(zip(onnx_bert.INPUTS, inputs, strict=True)))[0]
    np.testing.assert_allclose(system.score(texts), expected, atol=0.02)


def test_a_quantised_row_depends_on_its_batch_and_a_float_one_does_not(tmp_path: Path, minilm: Path) -> None:
    tokenizer = str(minilm / "tokenizer.json")
    file = str(tmp_path / "tiny.onnx")
    onnx_bert.build("bert-tiny", file)
    plain = tmp_path / "plain.onnx"
    shape = ARCHITECTURES["bert-tiny"]
    plain.write_bytes(onnx_bert.graph(shape, onnx_bert.random_weights(shape)).SerializeToString())
    texts = ["good film", "bad film", "one more film of words"]
    shifts = []
    for model in (file, str(plain)):
        system = onnx_bert.open_onnx(model, tokenizer, 16, 1)
        alone = np.concatenate([system.score([text]) for text in texts])
        shifts.append(np.abs(system.score(texts) - alone).max())
    assert shifts[0] > 1e-5
    assert shifts[1] < 1e-6


def test_pieces_are_batched_by_length_and_put_back(minilm: Path) -> None:
    pieces = WordPiece(str(minilm / "tokenizer.json"), 12)
    texts = [" ".join(["film"] * (1 + 7 * row % 13)) for row in range(9)]
    batches = pieces.batches([texts], 4)
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(9))
    widths = [inputs[0].shape[1] for _, inputs in batches]
    assert widths == sorted(widths)
    assert max(widths) == 12
    for rows, (ids, segments, mask) in batches:
        assert [min(len(texts[row].split()) + 2, 12) for row in rows] == mask.sum(1).tolist()
        assert not segments.any()
        assert set(ids[:, 0]) == {101}
    (_, (ids, segments, mask)), *_ = pieces.batches([["red"], ["shoe of leather"]])
    assert ids.tolist() == [[101, 2417, 102, 10818, 1997, 5898, 102]]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    assert mask.all()


def test_kerashub_classifier_takes_strings(minilm: Path) -> None:
    system = keras_bert.open_keras("bert-tiny", str(minilm / "tokenizer.json"), 16)
    texts = [f"film number {row} " + "good " * (row % 5) for row in range(40)]  # more than one batch
    scores = system.score(texts)
    assert scores.shape == (40, 1)
    np.testing.assert_allclose(scores[[7]], system.score(texts[7:8]), atol=1e-5)
    np.testing.assert_allclose(system.rank("film", texts[:3]), system.score(["film"] * 3, texts[:3]), atol=1e-6)
    assert 4 < system.about["file_mb"] < 6
