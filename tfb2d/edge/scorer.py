"""The runner: strings -> ids (NumPy) -> logits (TensorFlow Lite) -> scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.edge.spec import SCORER, EdgeError, Spec, edge_folder, read_dictionary, read_spec, read_vocabulary
from tfb2d.edge.strings import WordHashes
from tfb2d.probability import one_column, probabilities
from tfb2d.students.text_spec import composed_ids, ngram_ids

Float32 = NDArray[np.float32]
IDS_PER_CALL = 4096  # whose vectors fit the CPU's cache; more at once are slower


class EdgeScorer:
    """Runs a student on a small machine, with TensorFlow Lite.

    Scores equal those of the exported SavedModel to 1e-5 (float form) or 1e-2 (int8 form). Threads must not share a
    scorer.

    Args:
      folder: the edge form's, or an exported version's.
      threads: of TensorFlow Lite.
      xnnpack: whether its faster kernels are used where they can be.

    Attributes:
      spec: what spec.json says.

    Raises:
      EdgeError: no edge form there, a damaged one, or one of another version; no runtime installed.
    """

    def __init__(self, folder: str | Path, threads: int = 1, xnnpack: bool = True) -> None:
        if threads < 1:
            raise EdgeError(f"threads is {threads}; at least 1")
        folder = edge_folder(folder)
        self.spec: Spec = read_spec(folder)
        self._vocabulary = read_vocabulary(folder, self.spec)
        self._hashes = WordHashes(self.spec.affixes)
        dictionary = read_dictionary(folder, self.spec)
        self._query_hashes = None if dictionary is None else WordHashes(dictionary=dictionary)
        self._model = _interpreter(folder / SCORER, threads, xnnpack)
        self._inputs = _inputs(self._model, self.spec, folder / SCORER)
        self._output = self._model.get_output_details()[0]["index"]
        self._shapes: list[tuple[int, ...]] = []

    def score(self, *columns: Sequence[str | bytes]) -> Float32:
        """Returns calibrated probabilities.

        Args:
          columns: a sequence of n texts for each field: `score(texts)`, or `score(queries, titles)`.

        Returns:
          `[n]`, or `[n, k]` of a model of k classes, float32.

        Raises:
          EdgeError: another number of columns than the model has fields, columns of different lengths, or no texts.
        """
        return self._scores(self._column_logits(columns))

    def logits(self, *columns: Sequence[str | bytes]) -> Float32:
        """Returns raw logits of the same texts, float32 `[n]` or `[n, k]`."""
        return one_column(self._column_logits(columns))

    def rank(self, query: str | bytes, titles: Sequence[str | bytes]) -> Float32:
        """Scores many titles for one query, which is hashed once.

        Returns:
          `[n]` float32. Empty titles score 0, as padding does.

        Raises:
          EdgeError: the model does not take pairs, or has several classes.
        """
        if len(self.spec.fields) != 2 or self.spec.classes:
            fields = ", ".join(self.spec.fields)
            raise EdgeError(f"ranking takes a model of pairs with one score; this one has {fields}")
        if not isinstance(query, str | bytes):
            raise EdgeError(f"the query is {type(query).__name__}; it takes one text")
        scores = self._scores(self._logits(([query], titles)))
        scores[[len(title) == 0 for title in titles]] = 0
        return scores

    def _column_logits(self, columns: Sequence[Any]) -> np.ndarray:
        fields = self.spec.fields
        if len(columns) != len(fields):
            raise EdgeError(f"{len(columns)} columns of texts; this model takes {', '.join(fields)}")
        for name, column in zip(fields, columns, strict=True):
            _check(name, column)
        if len(columns) == 2 and len(columns[0]) != len(columns[1]):
            raise EdgeError(f"{len(columns[0])} texts of {fields[0]}, {len(columns[1])} of {fields[1]}")
        return self._logits(columns)

    def _logits(self, columns: Sequence[Sequence[str | bytes]]) -> np.ndarray:
        """Computes logits `[n, n_logits]`. A single query goes with every title."""
        for name, column in zip(self.spec.fields, columns, strict=True):
            _check(name, column)
        texts = self._texts(columns)
        rows = len(columns[-1])
        if rows == 1:
            return self._call([texts.padded(np.arange(field, field + 1), field) for field in range(len(columns))])
        shared = len(columns) == 2 and len(columns[0]) == 1
        first = len(texts.lengths) - rows  # of the last column's texts
        lengths = texts.lengths[first:] if shared or first == 0 else texts.lengths.reshape(2, -1).max(0)
        order = np.argsort(lengths, kind="stable")  # texts of like length together: little padding
        rising = lengths[order]
        query = [texts.padded(np.arange(1), 0)] if shared else []
        out = np.empty((rows, len(self.spec.bias)), np.float32)
        start = 0
        while start < rows:
            stop = self._stop(rising, start)
            part = order[start:stop]
            starts = (first,) if shared or first == 0 else (0, first)
            fields = [texts.padded(part + at, len(query) + field) for field, at in enumerate(starts)]
            out[part] = self._call([*query, *fields])
            start = stop
        return out

    def _stop(self, lengths: np.ndarray, start: int) -> int:
        """Returns the row after the last row of the call that begins at row `start`; lengths rise."""
        ids = np.maximum(lengths[start:], 1) * np.arange(1, len(lengths) - start + 1) * self.spec.width
        return start + max(1, int(np.searchsorted(ids, IDS_PER_CALL, "right")))

    def _texts(self, columns: Sequence[Sequence[str | bytes]]) -> "_Texts":
        """Makes the ids of all texts, column after column."""
        spec = self.spec
        hashes, lengths = self._hashed(columns)
        splits = np.concatenate([[0], np.cumsum(lengths)])
        if spec.window:
            grams = composed_ids(hashes, spec.window, spec.buckets, spec.affixes, self._vocabulary, splits)
        else:
            grams = ngram_ids(hashes, spec.orders, spec.buckets, splits)
        kinds = [(grams, spec.buckets)]
        if spec.soft_buckets:
            kinds.append((self._soft(hashes, grams, splits), spec.soft_buckets))
        return _Texts(lengths, splits, kinds)

    def _hashed(self, columns: Sequence[Sequence[str | bytes]]) -> tuple[np.ndarray, np.ndarray]:
        """Hashes the tokens of all texts, column after column; see `WordHashes.of`."""
        if self._query_hashes is None:
            return self._hashes.of([text for column in columns for text in column], self.spec.max_tokens)
        query, query_lengths = self._query_hashes.of(columns[0], self.spec.max_tokens)
        title, title_lengths = self._hashes.of(columns[1], self.spec.max_tokens)
        return np.concatenate([query, title]), np.concatenate([query_lengths, title_lengths])

    def _soft(self, hashes: np.ndarray, grams: np.ndarray, splits: np.ndarray) -> np.ndarray:
        """Returns the ids of soft matching's table, `[tokens]` int32."""
        spec = self.spec
        if 1 in spec.orders and spec.buckets % spec.soft_buckets == 0:  # the soft id is a remainder of the n-gram's
            return grams[:, spec.orders.index(1)] % np.int32(spec.soft_buckets)
        return ngram_ids(hashes, (1,), spec.soft_buckets, splits)[:, 0]

    def _call(self, fields: list[list[np.ndarray]]) -> np.ndarray:
        values = [fields[field][kind] for field, kind, _ in self._inputs]
        shapes = [value.shape for value in values]
        if shapes != self._shapes:
            for (_, _, index), shape in zip(self._inputs, shapes, strict=True):
                self._model.resize_tensor_input(index, shape)
            self._model.allocate_tensors()
            self._shapes = shapes
        for (_, _, index), value in zip(self._inputs, values, strict=True):
            self._model.set_tensor(index, value)
        self._model.invoke()
        return self._model.get_tensor(self._output)

    def _scores(self, logits: np.ndarray) -> Float32:
        return probabilities(logits * np.float32(self.spec.scale) + np.array(self.spec.bias, np.float32))


@dataclass(frozen=True)
class _Texts:
    """Texts as ids."""

    lengths: np.ndarray  # tokens of each text, `[texts]`
    splits: np.ndarray  # where each text's tokens begin, and the end, `[texts + 1]`
    # Ids of all tokens and how many rows their table has: of n-grams `[tokens, width]`, of soft matching `[tokens]`
    kinds: list[tuple[np.ndarray, int]]

    def padded(self, index: np.ndarray, field: int) -> list[np.ndarray]:
        """Lays ids of some texts out as the model takes them, `[texts, positions, *]`, filled up as the field's are."""
        lengths = self.lengths[index]
        positions = max(1, int(lengths.max()))
        steps = np.arange(positions)
        at = self.splits[index][:, None] + steps
        past = steps >= lengths[:, None]
        out = []
        for ids, pad in self.kinds:
            # An index past the last token is brought back to it, and what is read there is overwritten.
            values = ids.take(at, 0, mode="clip") if len(ids) else np.zeros((*at.shape, *ids.shape[1:]), np.int32)
            values[past] = pad + field
            out.append(values)
        return out


def _check(name: str, texts: Any) -> None:
    if isinstance(texts, str | bytes):
        raise EdgeError(f"{name} is one text; it takes a sequence of texts")
    for text in texts:
        if not isinstance(text, str | bytes):
            raise EdgeError(f"{name} has {type(text).__name__} in it; it takes str or bytes")


def _interpreter(path: Path, threads: int, xnnpack: bool) -> Any:
    try:
        from ai_edge_litert import interpreter as runtime
    except ImportError:
        try:
            from tflite_runtime import interpreter as runtime
        except ImportError:
            raise EdgeError("no TensorFlow Lite runtime: pip install ai-edge-litert") from None
    kind = runtime.OpResolverType
    resolver = kind.AUTO if xnnpack else kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        return runtime.Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=resolver)
    except (ValueError, RuntimeError) as error:
        raise EdgeError(f"{path} cannot be loaded: {error}") from None


def _inputs(model: Any, spec: Spec, path: Path) -> list[tuple[int, int, int]]:
    """Lists the model's inputs as (field index, 0 for n-grams or 1 for soft matching, tensor index)."""
    signature = model.get_signature_list().get("serving_default", {"inputs": []})["inputs"]
    kinds = {name: (field, 0) for field, name in enumerate(spec.fields)}
    if spec.soft_buckets:
        kinds |= {f"{name}_soft": (field, 1) for field, name in enumerate(spec.fields)}
    if sorted(signature) != sorted(kinds):
        raise EdgeError(f"{path} takes {', '.join(sorted(signature))}; spec.json means {', '.join(sorted(kinds))}")
    named = {
        tensor["name"].removeprefix("serving_default_").split(":")[0]: tensor for tensor in model.get_input_details()
    }
    width, outputs = named[spec.fields[0]]["shape"][2], model.get_output_details()[0]["shape"][1]
    if (width, outputs) != (spec.width, len(spec.bias)):
        raise EdgeError(f"{path} takes {width} ids of a token and gives {outputs} scores; spec.json says otherwise")
    return [(*kinds[name], named[name]["index"]) for name in kinds]
