"""Reads `spec.json`, which says how texts become an edge model's ids, and its logits scores."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

from tfb2d.errors import UserError
from tfb2d.model_folder import ABOUT, EDGE
from tfb2d.students.spelling import SPELLING, Dictionary
from tfb2d.students.text_spec import SPEC as HASH_SPEC
from tfb2d.students.text_spec import check_orders

SCORER = "scorer.tflite"
SPEC_FILE = "spec.json"
VOCABULARY = "vocabulary.i64"  # token hashes, rising, little-endian
VERSION = 1  # of the edge form: names and shapes of the model's inputs, this file's keys


class EdgeError(UserError, ValueError):
    """An edge model that cannot be used; the message says why."""


@dataclass(frozen=True)
class Spec:
    """Holds what `spec.json` says."""

    fields: tuple[str, ...]  # the text fields; two of them are a query and a title
    classes: tuple[str, ...]  # names of a multi-class task's classes, else ()
    # orders, buckets, max_tokens: n-grams, rows of their table, tokens kept of a text
    orders: tuple[int, ...]
    window: int  # of composed n-grams, which take the place of `orders`; 0 without
    buckets: int
    max_tokens: int
    soft_buckets: int  # rows of soft matching's table; 0 without
    # scale, bias: `score = sigmoid(scale * logit + bias)`, softmax over several classes
    scale: float
    bias: tuple[float, ...]
    form: str  # "int8" or "float"
    # affixes, vocabulary: with a window, bytes of prefix and suffix, and tokens in `vocabulary.i64`; () and 0 without
    affixes: tuple[int, ...] = ()
    vocabulary: int = 0
    known_words: int = 0  # of a student that corrects queries, words in `spelling.i64`; 0 without
    # hash_spec, version: of the text hash and of the edge form
    hash_spec: int = HASH_SPEC["version"]
    version: int = VERSION

    @property
    def width(self) -> int:
        """Counts the ids of a token: one for each order, or one for each position in the window and each affix."""
        return self.window + len(self.affixes) if self.window else len(self.orders)


def edge_folder(folder: str | Path) -> Path:
    """Finds the edge form in a folder, or in an exported version; raises EdgeError where neither has it."""
    folder = Path(folder)
    for candidate in (folder, folder / EDGE):
        if (candidate / SPEC_FILE).is_file() and (candidate / SCORER).is_file():
            return candidate
    if not folder.is_dir():
        raise EdgeError(f"{folder} is no folder")
    about = folder / ABOUT
    if about.is_file() and json.loads(about.read_bytes()).get("kind") == "twin":
        raise EdgeError(f"{folder} is a twin, and twins have no TensorFlow Lite form; tfb2d.load reads it")
    raise EdgeError(f"{folder}: no {SCORER} with {SPEC_FILE} in it or in assets.extra/edge; `tfb2d export` writes them")


def read_spec(folder: Path) -> Spec:
    """Reads and checks `spec.json`; raises EdgeError where it is damaged or of another version."""
    path = folder / SPEC_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EdgeError(f"{path} is no JSON: {error}") from None
    for name, known in (("version", VERSION), ("hash_spec", HASH_SPEC["version"])):
        have = values.get(name) if isinstance(values, dict) else None
        if have != known:
            raise EdgeError(f"{path}: {name} is {have!r}, this runner knows {known}; use the tfb2d that exported it")
    try:
        settings: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        spec = Spec(**settings)
        check_orders(spec.orders, spec.buckets)
        _check(spec)
    except (TypeError, ValueError) as error:
        raise EdgeError(f"{path} is damaged: {error}") from None
    return spec


def read_vocabulary(folder: Path, spec: Spec) -> np.ndarray | None:
    """Reads the vocabulary that a spec names, `[size]` int64; None where tokens are hashed to rows.

    Raises EdgeError where it is not there, or damaged.
    """
    if not spec.vocabulary:
        return None
    known = _read_hashes(folder / VOCABULARY, spec.vocabulary)
    if not (np.diff(known) >= 0).all():
        raise EdgeError(f"{folder / VOCABULARY} is damaged: its numbers do not rise")
    return known


def read_dictionary(folder: Path, spec: Spec) -> Dictionary | None:
    """Reads the dictionary that a spec names, with which queries are read; None where they are read as they are.

    Raises EdgeError where it is not there, or damaged.
    """
    return Dictionary(_read_hashes(folder / SPELLING, spec.known_words)) if spec.known_words else None


def _read_hashes(path: Path, count: int) -> np.ndarray:
    """Reads token hashes, `[count]` int64; raises EdgeError where the file cannot be read, or has another number."""
    try:
        hashes = np.fromfile(path, "<i8").astype(np.int64)
    except OSError as error:
        raise EdgeError(f"{path} cannot be read: {error}") from None
    if len(hashes) != count:
        raise EdgeError(f"{path} is damaged: {count} numbers of 8 bytes are what {SPEC_FILE} says")
    return hashes


def _check(spec: Spec) -> None:
    wrong = [name for name, hint in get_type_hints(Spec).items() if not _is_of(getattr(spec, name), hint)]
    if not wrong:
        holds = {
            "fields": len(spec.fields) in (1, 2),
            "max_tokens": spec.max_tokens > 0,
            "window": spec.window >= 0,
            "affixes": len(spec.affixes) in (0, 2) and all(size > 0 for size in spec.affixes),
            "vocabulary": spec.vocabulary >= 0,
            "known_words": spec.known_words == 0 or (spec.known_words > 0 and len(spec.fields) == 2),
            "soft_buckets": spec.soft_buckets >= 0,
            "bias": len(spec.bias) > 0,
        }
        wrong = [name for name, good in holds.items() if not good]
    if not wrong and (spec.affixes or spec.vocabulary):
        first = (spec.vocabulary + 2) * spec.window if spec.vocabulary else 0  # the first row for affixes
        wrong = [] if spec.window and first + bool(spec.affixes) <= spec.buckets else ["window, vocabulary, buckets"]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be so")


def _is_of(value: Any, hint: Any) -> bool:
    """Says whether a value of JSON has a field's type; True is no whole number."""
    if items := get_args(hint):
        return isinstance(value, tuple) and all(type(item) is items[0] for item in value)
    return type(value) is hint
