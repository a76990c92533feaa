"""MPNet out of a Hugging Face folder, beside its formulas written down once more with NumPy."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.teachers.harness import PAIR, mpnet_pieces
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.mpnet import relative_buckets
from tfb2d.teachers.teacher import Teacher, load_teacher

HEADS, WIDTH, INNER, LAYERS, BUCKETS, POSITIONS = 2, 8, 16, 2, 32, 66


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes an MPNet below a head, as Hugging Face's libraries do, with random weights."""
    folder = tmp_path_factory.mktemp("mpnet")
    config = {
        "model_type": "mpnet",
        "vocab_size": len(mpnet_pieces()),
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "max_position_embeddings": POSITIONS,
        "relative_attention_num_buckets": BUCKETS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (folder / "vocab.txt").write_text("\n".join(mpnet_pieces()) + "\n")
    rng = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(mpnet_pieces()), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "encoder.relative_attention_bias.weight": (BUCKETS, HEADS),
    }
    norms, dense = ["embeddings.LayerNorm"], {}
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        norms += [f"{name}.attention.LayerNorm", f"{name}.output.LayerNorm"]
        dense |= {f"{name}.attention.attn.{part}": (WIDTH, WIDTH) for part in "qkvo"}
        dense |= {f"{name}.intermediate.dense": (INNER, WIDTH), f"{name}.output.dense": (WIDTH, INNER)}
    for name in norms:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    save_file(
        {f"mpnet.{name}": rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    return folder


def states(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Computes the encoder's last states [len(ids), WIDTH] of a row without padding."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * weights[f"mpnet.{name}.weight"] + weights[f"mpnet.{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"mpnet.{name}.weight"].T + weights[f"mpnet.{name}.bias"]

    def bucket(offset: int) -> int:
        """Computes T5's bucket of the distance `offset`, from the token that attends to the other."""
        first, distance = (BUCKETS // 2 if offset > 0 else 0), abs(offset)
        if distance < BUCKETS // 4:
            return first + distance
        far = BUCKETS // 4 + int(math.log(distance / (BUCKETS // 4)) / math.log(128 / (BUCKETS // 4)) * BUCKETS // 4)
        return first + min(far, BUCKETS // 2 - 1)

    n = len(ids)
    x = weights["mpnet.embeddings.word_embeddings.weight"][ids]
    x = norm(x + weights["mpnet.embeddings.position_embeddings.weight"][2 : 2 + n], "embeddings.LayerNorm")
    table = weights["mpnet.encoder.relative_attention_bias.weight"]
    bias = np.array([[table[bucket(j - i)] for j in range(n)] for i in range(n)])
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        q, k, v = (dense(x, f"{name}.attention.attn.{part}").reshape(n, HEADS, -1) for part in "qkv")
        logits = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(WIDTH // HEADS) + bias.transpose(2, 0, 1)
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", shares, v).reshape(n, WIDTH)
        x = norm(x + dense(attended, f"{name}.attention.attn.o"), f"{name}.attention.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x


def test_states_are_those_of_the_formulas(folder: Path) -> None:
    teacher = Teacher(build_classifier(TeacherConfig(preset=str(folder), max_length=64), 1), PAIR, 64)
    packed = teacher.pack([["Red shoe", "hât"], ["the good film " * 9, ""]])
    rows = [packed.ids[a:b].tolist() for a, b in zip(packed.starts[:-1], packed.starts[1:], strict=True)]
    pieces = mpnet_pieces()
    assert [pieces[i] for i in rows[1]] == ["<s>", "hat", "</s>", "</s>", "</s>"]  # accents go, as in Hugging Face's
    assert [pieces[i] for i in rows[0]][:6] == ["<s>", "red", "shoe", "</s>", "</s>", "the"]
    result = teacher.model.backbone.predict_on_batch(dict(teacher.packer.pad(packed, np.arange(2))))
    weights = load_file(folder / "model.safetensors")
    for i, row in enumerate(rows):
        assert np.abs(result[i, : len(row)] - states(weights, row)).max() < 1e-4


def test_saved_and_read_back(folder: Path, tmp_path: Path) -> None:
    teacher = Teacher(build_classifier(TeacherConfig(preset=str(folder), max_length=64, layers=1), 1), PAIR, 64)
    texts = [["red shoe", "the <mask> hat"], ["the red shoe", "poor"]]
    teacher.save(tmp_path / "teacher", {})
    again = load_teacher(tmp_path / "teacher")
    assert again.mask_token == "<mask>"
    assert (again.logits(texts) == teacher.logits(texts)).all()


@pytest.mark.parametrize("length", [1, 7, 300])
def test_buckets_of_distances(length: int) -> None:
    result = relative_buckets(length, BUCKETS)
    assert result.shape == (length, length)
    assert (np.diag(result) == 0).all()
    assert (result[np.triu_indices(length, 1)] > BUCKETS // 2).all()  # what follows
    assert (result[np.tril_indices(length, -1)] < BUCKETS // 2).all()  # what went before
    assert (np.diff(result[-1, ::-1]) >= 0).all()  # never nearer than what is nearer
    assert result.max(initial=0) <= BUCKETS - 1


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"there is no model\.safetensors"):
        build_classifier(TeacherConfig(preset=str(broken), max_length=64), 1)
    weights = load_file(folder / "model.safetensors")
    del weights["mpnet.encoder.layer.1.attention.attn.k.bias"]
    save_file(weights, broken / "model.safetensors")
    (broken / "vocab.txt").write_text((folder / "vocab.txt").read_text())
    with pytest.raises(ConfigError, match=r"there is no tensor 'encoder\.layer\.1\.attention\.attn\.k\.bias'"):
        build_classifier(TeacherConfig(preset=str(broken), max_length=64), 1)
    (broken / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    with pytest.raises(ConfigError, match="hidden_act is 'relu'"):
        build_classifier(TeacherConfig(preset=str(broken), max_length=64), 1)
    (broken / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-12}))
    with pytest.raises(ConfigError, match="layer_norm_eps is 1e-12"):
        build_classifier(TeacherConfig(preset=str(broken), max_length=64), 1)
    del config["vocab_size"]
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="there is no 'vocab_size'"):
        build_classifier(TeacherConfig(preset=str(broken), max_length=64), 1)
