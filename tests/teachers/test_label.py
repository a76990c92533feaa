import importlib.util
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.killing import python, run, run_and_kill
from tests.teachers.harness import SINGLE, phrases, write_table
from tfb2d.config import ConfigError, LabelConfig, TeacherConfig
from tfb2d.data.tables import regroup
from tfb2d.errors import DataError
from tfb2d.outcomes import LogitsOutcome
from tfb2d.resume import bring_up, set_aside
from tfb2d.teachers.label import label_folder
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.steps import forward
from tfb2d.teachers.teacher import Teacher, load_teacher

CONFIG = LabelConfig(rows_per_shard=64, batch_tokens=256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {"title": phrases(300, 1), "label": [0.0] * 300, "query": phrases(300, 2, 3)}
    return write_table(tmp_path_factory.mktemp("source"), columns, parts=3)


@pytest.fixture(scope="module")
def labelled(saved: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    label_folder(saved, source, out, CONFIG, progress=False)
    return out


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("part-*"))}


def test_rows_keep_their_order_and_shards_their_size(labelled: Path, source: Path, teacher: Teacher) -> None:
    shards = [pq.read_table(path) for path in sorted(labelled.glob("part-*"))]
    assert [shard.num_rows for shard in shards] == [64, 64, 64, 64, 44]
    table = pa.concat_tables(shards)
    assert table.schema == pa.schema([("query", pa.string()), ("title", pa.string()), ("logit", pa.float32())])
    given = pq.read_table(source)
    assert table.select(["query", "title"]).equals(given.select(["query", "title"]))
    expected = teacher.logits([given["query"].to_pylist(), given["title"].to_pylist()])
    assert np.abs(table["logit"].to_numpy() - expected[:, 0]).max() < 1e-5


def test_the_bytes_do_not_depend_on_the_sources_parts(
    labelled: Path, source: Path, saved: Path, tmp_path: Path
) -> None:
    table = pq.read_table(source)
    write_table(tmp_path / "whole", {name: table[name].to_pylist() for name in table.column_names})
    label_folder(saved, tmp_path / "whole", tmp_path / "out", CONFIG, progress=False)
    assert content(tmp_path / "out") == content(labelled)


LABEL = """
from pathlib import Path
from tests.scale.jobs import SlowLabelJob
from tfb2d.config import LabelConfig
from tfb2d.teachers import label
label.LabelJob = SlowLabelJob  # time to be killed in
label.label_folder(Path({saved!r}), Path({source!r}), Path({out!r}), LabelConfig(64, 256), progress=False)
"""


def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    labelled: Path, source: Path, saved: Path, tmp_path: Path
) -> None:
    code = LABEL.format(saved=str(saved), source=str(source), out=str(tmp_path))
    run_and_kill(python(code), lambda: (tmp_path / "part-00001.parquet").exists())
    assert not (tmp_path / "part-00004.parquet").exists()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("part-*")}
    label_folder(saved, source, tmp_path, CONFIG, progress=False)
    assert content(tmp_path) == content(labelled)
    assert times == {path: path.stat().st_mtime_ns for path in times}  # kept, not made again


@pytest.fixture(scope="module")
def moved(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that says that it is `saved` and gives other logits: they show which texts it was asked for."""
    folder = tmp_path_factory.mktemp("moved") / "teacher"
    teacher = load_teacher(saved)
    bias = teacher.model.output_dense.bias
    bias.assign(bias + 7.0)
    teacher.save(folder, read_about(saved))
    shutil.copyfile(saved / "teacher.json", folder / "teacher.json")
    return folder


def asked(out: Path) -> int:
    """Counts the rows whose logit is of the moved teacher; the other's are all below 5."""
    return int((pq.read_table(out)["logit"].to_numpy() > 5).sum())


def test_texts_that_were_labelled_before_keep_their_logits(
    labelled: Path, source: Path, saved: Path, moved: Path, tmp_path: Path
) -> None:
    table = pq.read_table(source)
    old = {name: table[name].to_pylist() for name in ("query", "title")}
    new = {name: values[100:] + [f"{name} {i}" for i in range(30)] + values[:90] for name, values in old.items()}
    write_table(tmp_path / "grown", new)
    label_folder(moved, tmp_path / "grown", tmp_path / "out", CONFIG, progress=False, earlier=[labelled])
    assert asked(tmp_path / "out") == 30
    made, before = pq.read_table(tmp_path / "out"), pq.read_table(labelled)["logit"].to_numpy()
    assert made.select(["query", "title"]).to_pydict() == new
    first = {pair: before[i] for i, pair in reversed([*enumerate(zip(old["query"], old["title"], strict=True))])}
    kept = [first.get(pair, np.nan) for pair in zip(new["query"], new["title"], strict=True)]
    assert np.isnan(kept).sum() == 30
    logit = made["logit"].to_numpy()
    assert (np.isnan(kept) | (logit == kept)).all()
    assert np.abs(logit[200:230] - load_teacher(moved).logits([new["query"], new["title"]])[200:230, 0]).max() < 1e-5

    other = shutil.copytree(moved, tmp_path / "teacher")
    about = json.loads((other / "teacher.json").read_text())
    (other / "teacher.json").write_text(json.dumps({**about, "weights": "of another"}))
    label_folder(other, tmp_path / "grown", tmp_path / "all", CONFIG, progress=False, earlier=[labelled])
    assert asked(tmp_path / "all") == 320  # another teacher's logits are not taken
    label_folder(moved, source, tmp_path / "none", CONFIG, progress=False, earlier=[tmp_path / "nothing"])
    assert asked(tmp_path / "none") == 300


def test_logits_of_an_unfinished_labelling_are_kept_when_its_rows_change(
    source: Path, saved: Path, moved: Path, tmp_path: Path
) -> None:
    table = pq.read_table(source)
    grown = {name: [*table[name].to_pylist()[:200], *(f"{name} {i}" for i in range(9))] for name in ("query", "title")}
    write_table(tmp_path / "grown", grown)

    damaged = shutil.copytree(source, tmp_path / "damaged")  # in its third part, which begins at row 133
    third = (damaged / "part-00002.parquet").read_bytes()
    (damaged / "part-00002.parquet").write_bytes(third[:4] + bytes(500) + third[504:])

    def interrupted(folder: Path) -> LogitsOutcome:
        label_folder(saved, damaged, folder, CONFIG, progress=False)
        return LogitsOutcome({})

    def whole(folder: Path) -> LogitsOutcome:
        label_folder(moved, tmp_path / "grown", folder, CONFIG, progress=False, earlier=set_aside(folder))
        return LogitsOutcome({})

    with pytest.raises(DataError, match="not a whole Parquet file"):
        bring_up(tmp_path / "out", "before", interrupted, LogitsOutcome)
    bring_up(tmp_path / "out", "after", whole, LogitsOutcome)
    known = set(zip(table["query"].to_pylist()[:128], table["title"].to_pylist()[:128], strict=True))
    new = sum(pair not in known for pair in zip(grown["query"], grown["title"], strict=True))
    assert 9 < new < 209
    assert asked(tmp_path / "out") == new
    assert pq.read_table(tmp_path / "out").select(["query", "title"]).to_pydict() == grown
    assert not set_aside(tmp_path / "out")


def test_what_is_done_is_not_loaded_again(labelled: Path, source: Path, saved: Path, tmp_path: Path) -> None:
    shutil.copyfile(saved / "teacher.json", tmp_path / "teacher.json")  # and no weights
    label_folder(tmp_path, source, labelled, CONFIG, progress=False)
    with pytest.raises(ValueError, match="model"):
        label_folder(tmp_path, source, tmp_path / "out", CONFIG, progress=False)


def test_a_table_without_rows(saved: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "none", {"query": [], "title": [], "label": []})
    label_folder(saved, tmp_path / "none", tmp_path / "out", CONFIG, progress=False)
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    assert table.column_names == ["query", "title", "logit"]
    assert table.num_rows == 0


def test_what_is_wrong_is_named(saved: Path, source: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "single", {"query": ["a"]})
    with pytest.raises(DataError, match=r"part-00000\.parquet: there is no column 'title'"):
        label_folder(saved, tmp_path / "single", tmp_path / "out", CONFIG, progress=False)
    with pytest.raises(DataError, match=r"no part-\*"):
        label_folder(saved, tmp_path, tmp_path / "out", CONFIG, progress=False)
    with pytest.raises(ConfigError, match=r"no teacher\.json"):
        label_folder(source, source, tmp_path / "out", CONFIG, progress=False)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_regroup_gives_tables_of_the_same_size(rows: int) -> None:
    sizes = [3, 0, 11, 1, 5]
    numbers = iter(range(20))
    batches = [pa.record_batch({"n": [next(numbers) for _ in range(size)]}) for size in sizes if size]
    tables = list(regroup(batches, rows))
    assert all(table.num_rows == rows for table in tables[:-1])
    assert pa.concat_tables(tables)["n"].to_pylist() == list(range(20))


def test_labelling_is_three_times_as_fast_as_padding_to_the_maximum_length(minilm: Path, snippets: Path) -> None:
    """Real reviews through two layers of the real encoder, beside KerasHub's own pass over rows of 128 tokens."""
    texts = [line.split("\t")[0] for line in snippets.read_text(encoding="utf-8").splitlines()[1:]][:2000:16]
    config = TeacherConfig(preset=str(minilm), layers=2, max_length=128)
    teacher = Teacher(build_classifier(config, 1), SINGLE, 128)
    packed = teacher.pack([texts])
    full = teacher.packer.pad(packed, np.arange(len(packed)), 128)
    keras_hub_pass = forward(teacher.model)

    def seconds(compute: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
        started = time.process_time()  # of the processor, so that other processes matter less
        logits = compute()
        return time.process_time() - started, logits

    pairs = [(seconds(lambda: teacher.logits_of(packed)), seconds(lambda: keras_hub_pass(full))) for _ in range(4)]
    assert max(np.abs(fast - slow).max() for (_, fast), (_, slow) in pairs) < 1e-4
    assert np.median([slow / fast for (fast, _), (slow, _) in pairs[1:]]) > 3  # the first pair is traced


ELSEWHERE = """
import keras, numpy
assert keras.backend.backend() == {backend!r}
from pathlib import Path
from tfb2d.config import LabelConfig, TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers.fine_tune import fine_tune
from tfb2d.teachers.label import label_folder
label_folder(Path({saved!r}), Path({source!r}), Path({out!r}) / "logits", LabelConfig(256, 256), progress=False)
config = TeacherConfig(preset={encoder!r}, layers=1, max_length=16, epochs=3, batch_size=4, learning_rate=1e-2)
fine_tune(config, Path({data!r}), Task(("query", "title")), Path({out!r}) / "teacher", progress=False)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])  # labels BERT's, trains an MPNet
def test_other_backends_train_and_label(
    labelled: Path, source: Path, saved: Path, encoder: Callable[[str], Path], pairs: Path, tmp_path: Path, backend: str
) -> None:
    if backend == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is large, so the extra of the tests does without; `pip install '.[torch]'`")
    out = tmp_path / backend
    paths = {"saved": saved, "source": source, "out": out, "encoder": encoder("mpnet"), "data": pairs}
    code = ELSEWHERE.format(backend=backend, **{name: str(path) for name, path in paths.items()})
    run(python(code), KERAS_BACKEND=backend, JAX_PLATFORMS="cpu")
    theirs, ours = pq.read_table(out / "logits"), pq.read_table(labelled)
    assert np.abs(theirs["logit"].to_numpy() - ours["logit"].to_numpy()).max() < 1e-4
    assert read_about(out / "teacher")["outcome"]["best"]["valid_accuracy"] > 0.9
    label_folder(out / "teacher", source, tmp_path / "here", CONFIG, progress=False)  # made there, read by TensorFlow
