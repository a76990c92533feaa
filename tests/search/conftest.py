"""A small shop for the tests of the page: a catalogue, its index, a ranker trained for seconds, a tiny teacher."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run as command
from tests.search import shop as small
from tests.search.shop import Models
from tfb2d.config import StudentConfig, TeacherConfig, TrainingConfig
from tfb2d.data.task import Task
from tfb2d.search.building import build
from tfb2d.search.titles import Source

PAIR = Task(("query", "title"))
BRANDS, COLOURS = ["Acme", "Bolt", "Corvo", "Delta"], ["red", "blue", "black"]
THINGS = ["running shoes", "rain jacket", "USB-C cable 2 m", "coffee grinder", "desk lamp LED"]
TITLES = [f"{brand} {thing}, {colour}" for brand, thing, colour in itertools.product(BRANDS, THINGS, COLOURS)]


@dataclass(frozen=True)
class Shop:
    """Folders of what a search needs."""

    index: Path
    ranker: Path
    student: Path
    teacher: Path


def train_ranker(folder: Path) -> tuple[Path, Path]:
    """Trains a student to find titles that have the query's words; returns its folder and that of its export."""
    from tfb2d.serving.export import export
    from tfb2d.students.model import Student
    from tfb2d.students.rows import hash_rows
    from tfb2d.students.training import Trainer

    rng = np.random.default_rng(4)
    rows = []
    for _ in range(1500):
        title, other = rng.choice(TITLES, 2)
        words = rng.permutation(title.replace(",", "").split())[: rng.integers(1, 4)]
        query = " ".join(words)
        rows += [(query, title, 1.0), (query, other, float(set(words) <= set(other.replace(",", "").split())))]
    queries, titles, labels = zip(*rows, strict=True)
    columns = [np.array(queries, object), np.array(titles, object)]
    targets = np.array(labels, np.float32)[:, None]

    def hashed(part: slice, name: str):  # type: ignore[no-untyped-def]
        source = iter([([column[part] for column in columns], targets[part])])
        return hash_rows(source, folder / name, 32, progress=False)

    config = StudentConfig(
        buckets=1009, dim=8, ffn=(32,), soft_buckets=509, max_tokens=32, dropout=0.0, ngram_dropout=0.0
    )
    training = TrainingConfig(epochs=2, batch_size=64, table_learning_rate=0.2, learning_rate=1e-2)
    student = Student(PAIR, config, 1)
    Trainer(student, hashed(slice(200, None), "rows"), hashed(slice(200), "valid"), training, folder / "fit").fit(False)
    student.save(folder / "student")
    warmup = [["red shoes"], ["Acme running shoes, red"]]
    exported = export(student, folder / "ranker", scale=1.0, bias=(0.0,), warmup=warmup, fingerprint="shop")
    return folder / "student", exported.parent


def save_teacher(folder: Path) -> Path:
    """Saves a tiny BERT with random weights as a teacher of pairs."""
    from tests.teachers.harness import save_encoder
    from tfb2d.teachers.models import build_classifier
    from tfb2d.teachers.teacher import Teacher

    config = TeacherConfig(preset=str(save_encoder("bert", folder / "encoder")), max_length=32)
    Teacher(build_classifier(config, 1), PAIR, config.max_length).save(
        folder / "teacher", {"preset": "tiny", "outcome": {}}
    )
    return folder / "teacher"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Shop:
    """The shop, whose index was built by the command."""
    folder = tmp_path_factory.mktemp("shop")
    titles = folder / "titles.tsv"
    titles.write_text("id\ttitle\n" + "".join(f"p{at}\t{title}\n" for at, title in enumerate(TITLES)), encoding="utf-8")
    done = command("search", "build", f"--titles={titles}", f"--model={models.twin}", f"--index={folder / 'index'}")
    assert done.returncode == 0, done
    student, ranker = train_ranker(folder)
    return Shop(folder / "index", ranker, student, save_teacher(folder))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Twins of hashed words, and a ranker of the same kind."""
    from tests.search.twins import export

    folder = tmp_path_factory.mktemp("models")
    return Models(
        export(folder / "twin"), export(folder / "twin_2", seed=2), export(folder / "ranker", version=3, kind="student")
    )


@pytest.fixture(scope="session")
def titles_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of titles with the ids t0, t1, ..."""
    titles = {f"t{place}": title for place, title in enumerate(small.TITLES)}
    return small.write_titles(tmp_path_factory.mktemp("catalogue") / "titles.tsv", titles)


@pytest.fixture
def index(models: Models, titles_file: Path, tmp_path: Path) -> Path:
    """An index of these titles, which the test may change."""
    source = Source([str(titles_file)])
    build(tmp_path / "index", source, str(models.twin), backend="hnsw", dtype="int8", progress=False)
    return tmp_path / "index"
