"""The systems of the bench, and how each is prepared: its files, its factory and the factory's arguments."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfb2d.bench.measure import BenchError, Worker
from tfb2d.bench.work import Work
from tfb2d.data.resources import resolve
from tfb2d.data.task import Task
from tfb2d.model_folder import EDGE

ENCODER = "pypi:all-minilm-l6-v2"
STUDENT = "student"
EXTRA = "pip install 'tfb2d[bench]'"


@dataclass(frozen=True)
class Peer:
    """Describes a system that is no student of tfb2d."""

    kind: str  # suffix of the `Maker` method that prepares it
    note: str  # a remark for readers of its figures
    packages: tuple[str, ...]  # modules that it imports
    architecture: str = ""  # of Transformers


_ONNX = (
    "ONNX Runtime, fused operators, int8 dynamically quantised; random weights; a row's score depends on the other rows "
    "of its batch, and the token embeddings have one scale for the whole table"
)
_KERAS = "KerasHub under tf.function, float32; random weights"
_BERTS = ("bert-base", "tinybert", "minilm", "bert-tiny")
PEERS = {
    **{f"{name}-onnx-int8": Peer("onnx", _ONNX, ("onnx", "onnxruntime", "tokenizers"), name) for name in _BERTS},
    **{f"{name}-keras": Peer("keras", _KERAS, ("tokenizers",), name) for name in _BERTS},
    "fasttext": Peer("fasttext", "fastText supervised; lower-cased, punctuation separated", ("fasttext",)),
    "fasttext-raw": Peer("fasttext", "fastText supervised on the text as it comes", ("fasttext",)),
    "model2vec": Peer(
        "model2vec",
        "Model2Vec, 256 wide, logistic head; it cuts texts to its first 512 tokens by a count of characters",
        ("model2vec",),
    ),
}
DEFAULT = (STUDENT, *(name for name in PEERS if not name.startswith("bert-tiny")))
FORMS = {  # of students: suffix, note
    "Session": ("", "SavedModel, one session run a call, as a server does it"),
    "Function": ("-python", "SavedModel, its signature called from Python"),
    "Bfloat16": ("-bfloat16", "as a server with --mixed_precision=bfloat16 does it, where the processor has that"),
    "Edge": ("-edge", "TFLite and NumPy, tfb2d.edge"),
}


@dataclass(frozen=True)
class Ready:
    """Describes a system that a worker can open."""

    name: str
    note: str  # in results
    factory: str  # of `Worker.open`
    arguments: Mapping[str, Any]
    trained: bool  # on the task, so that it has an accuracy
    threaded: bool = False  # whether the factory also takes `threads`

    def open(self, worker: Worker) -> dict[str, Any]:
        """Opens it in a worker; returns what `Worker.open` does."""
        threads = {"threads": worker.threads} if self.threaded else {}
        return worker.open(self.factory, **self.arguments, **threads)


@dataclass(frozen=True)
class Shape:
    """Holds the size of a student's table, which fastText gets, too."""

    buckets: int = 2**18
    dim: int = 64
    orders: tuple[int, ...] = (1, 2)


@dataclass
class Maker:
    """Prepares systems."""

    models: Mapping[str, tuple[Path, Task, Sequence[str]]]  # version folder, task and forms of our students, by name
    folder: Path  # for files; its BERTs are used again
    threads: int  # of the preparation
    max_length: int  # tokens that Transformers read
    shape: Shape = field(default_factory=Shape)  # of fastText

    def students(self, work: Work) -> list[Ready]:
        """Returns the models that read the work's fields; if there are none, a student trained on its labels alone."""
        models = {name: model for name, model in self.models.items() if len(model[1].fields) == len(work.task.fields)}
        if not models:
            out = str((self.folder / f"student.{work.name}").resolve())
            columns, labels = self._learn(work)
            about = work.task.to_json()
            made = self._run("training:train_student", folder=out, task=about, columns=columns, labels=labels)
            models = {f"{STUDENT}-labels-only": (Path(made), work.task, ("Session", "Function"))}
        ready = []
        for name, (version, task, forms) in models.items():
            for form in forms:
                suffix, note = FORMS[form]
                arguments = {"folder": str(version), "fields": task.fields}
                if edge := form == "Edge":
                    arguments = {"folder": str(version / EDGE)}
                factory = f"tfb2d.bench.{'edge' if edge else 'students'}:{form}"
                ready.append(Ready(f"{name}{suffix}", note, factory, arguments, True, edge))
        return ready

    def peer(self, name: str, work: Work) -> Ready:
        """Prepares a peer for a task's fields and labels; raises BenchError where packages that it needs are missing."""
        peer = PEERS[name]
        missing = [package for package in peer.packages if importlib.util.find_spec(package) is None]
        if missing:
            raise BenchError(f"{name} needs {', '.join(missing)}: {EXTRA}, or leave it out of --systems")
        return getattr(self, f"_{peer.kind}")(name, peer, work)

    def _onnx(self, name: str, peer: Peer, work: Work) -> Ready:
        file = self.folder / f"{peer.architecture}.int8.onnx"
        if not file.exists():
            self._run("onnx_bert:build", architecture=peer.architecture, file=str(file))
        arguments = {"file": str(file), **self._reading()}
        return Ready(name, peer.note, "tfb2d.bench.onnx_bert:open_onnx", arguments, False, True)

    def _keras(self, name: str, peer: Peer, work: Work) -> Ready:
        arguments = {"architecture": peer.architecture, **self._reading()}
        return Ready(name, peer.note, "tfb2d.bench.keras_bert:open_keras", arguments, False)

    def _fasttext(self, name: str, peer: Peer, work: Work) -> Ready:
        file, raw = self.folder / f"{name}.{work.name}.bin", name.endswith("-raw")
        shape = {"dim": self.shape.dim, "buckets": self.shape.buckets, "order": max(self.shape.orders)}
        columns, labels = self._learn(work)
        chosen = self._run(
            "words:train_fasttext", file=str(file), columns=columns, labels=_classes(labels), raw=raw, **shape
        )
        note = f"{peer.note}; {_listed(shape)}; {_listed(chosen)}"
        arguments = {"file": str(file), "raw": raw}
        return Ready(name, note, "tfb2d.bench.words:FastText", arguments, work.unseen)

    def _model2vec(self, name: str, peer: Peer, work: Work) -> Ready:
        folder = self.folder / f"{name}.{work.name}"
        columns, labels = self._learn(work)
        arguments = {"folder": str(folder), "encoder": resolve(ENCODER), "dim": 256}
        chosen = self._run("words:train_model2vec", columns=columns, labels=_classes(labels), **arguments)
        note = f"{peer.note}; {_listed(chosen)}"
        return Ready(name, note, "tfb2d.bench.words:Model2Vec", {"folder": str(folder)}, work.unseen)

    def _learn(self, work: Work) -> tuple[list[list[str]], list[float]]:
        if work.train.labels is None:
            raise BenchError(f"{work.name}: no labels to train the peers on")
        return work.train.columns, work.train.labels.tolist()

    def _reading(self) -> dict[str, Any]:
        return {"tokenizer": str(Path(resolve(ENCODER)) / "tokenizer.json"), "max_length": self.max_length}

    def _run(self, function: str, **arguments: Any) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        with Worker(self.threads) as worker:
            return worker.run(f"tfb2d.bench.{function}", **arguments)


def _classes(labels: Sequence[float]) -> list[int]:
    """Returns class indices; graded labels are positive from 0.5 on."""
    return [int(label >= 0.5) if label < 1 else int(label) for label in labels]


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
