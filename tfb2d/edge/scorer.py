"""The runner: strings -> ids (NumPy) -> logits (TensorFlow Lite) -> scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.edge.spec import SCORER, EdgeError, Spec, edge_folder, read_spec, read_vocabulary
from tfb2d.probability import one_column, probabilities
from tfb2d.students.text_spec import composed_ids, ngram_ids, token_hashes

Float32 = NDArray[np.float32]
IDS_PER_CALL = 4096  # the vectors of so many ids fit the CPU's cache; more at once are slower


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
            raise EdgeError(
                f"ranking takes a model of pairs with one score; this one has {', '.join(self.spec.fields)}"
            )
        if not isinstance(query, str | bytes):
            raise EdgeError(f"the query is {type(query).__name__}; it takes one text")
        title_hashes = self._hashes(self.spec.fields[1], titles)
        scores = self._scores(self._logits([self._hashes(self.spec.fields[0], [query]), title_hashes]))
        scores[[len(title) == 0 for title in titles]] = 0
        return scores

    def _column_logits(self, columns: Sequence[Any]) -> np.ndarray:
        fields = self.spec.fields
        if len(columns) != len(fields):
            raise EdgeError(f"{len(columns)} columns of texts; this model takes {', '.join(fields)}")
        hashes = [self._hashes(name, column) for name, column in zip(fields, columns, strict=True)]
        if len(hashes) == 2 and len(hashes[0]) != len(hashes[1]):
            raise EdgeError(f"{len(hashes[0])} texts of {fields[0]}, {len(hashes[1])} of {fields[1]}")
        return self._logits(hashes)

    def _hashes(self, name: str, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        if isinstance(texts, str | bytes):
            raise EdgeError(f"{name} is one text; it takes a sequence of texts")
        wrong = [type(text).__name__ for text in texts if not isinstance(text, str | bytes)]
        if wrong:
            raise EdgeError(f"{name} has {wrong[0]} in it; it takes str or bytes")
        return [token_hashes(text, self.spec.max_tokens, self.spec.affixes) for text in texts]

    def _logits(self, fields: list[list[np.ndarray]]) -> np.ndarray:
        """Computes logits `[n, n_logits]`. A single query goes with every title."""
        rows = len(fields[-1])
        if rows == 1:
            return self._call(self._padded(fields))
        shared = len(fields) == 2 and len(fields[0]) == 1
        out = np.empty((rows, len(self.spec.bias)), np.float32)
        alone = fields[1:] if shared else fields
        lengths = np.array([max(map(len, row)) for row in zip(*alone, strict=True)], np.int64)
        order = np.argsort(lengths, kind="stable")  # texts of like length together: little padding
        start = 0
        while start < rows:
            stop = self._stop(lengths[order], start)
            part = order[start:stop]
            texts = [[column[i] for i in part] for column in fields[-1:]]
            if len(fields) == 2:
                texts.insert(0, fields[0] if shared else [fields[0][i] for i in part])
            out[part] = self._call(self._padded(texts))
            start = stop
        return out

    def _stop(self, lengths: np.ndarray, start: int) -> int:
        """Returns the row behind the last one of the call that begins at row `start`; lengths rise."""
        ids = np.maximum(lengths[start:], 1) * np.arange(1, len(lengths) - start + 1) * self.spec.width
        return start + max(1, int(np.searchsorted(ids, IDS_PER_CALL, "right")))

    def _padded(self, fields: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
        """Makes each field's inputs: ids `[texts, positions, width]` and, for soft matching, `[texts, positions]`."""
        spec, texts = self.spec, [text for field in fields for text in field]
        lengths = np.array([len(text) for text in texts], np.int64)
        splits = np.concatenate([[0], np.cumsum(lengths)])
        hashes = np.concatenate(texts)
        if spec.window:
            grams = composed_ids(hashes, spec.window, spec.buckets, spec.affixes, self._vocabulary, splits)
        else:
            grams = ngram_ids(hashes, spec.orders, spec.buckets, splits)
        soft = self._soft(hashes, grams, splits) if spec.soft_buckets else None
        padded, end = [], 0
        for field, column in enumerate(fields):
            start, end = end, end + len(column)
            tokens = slice(splits[start], splits[end])
            inputs = [_padded(grams[tokens], lengths[start:end], spec.buckets + field)]
            if soft is not None:
                inputs.append(_padded(soft[tokens], lengths[start:end], spec.soft_buckets + field)[:, :, 0])
            padded.append(inputs)
        return padded

    def _soft(self, hashes: np.ndarray, grams: np.ndarray, splits: np.ndarray) -> np.ndarray:
        """Returns the ids of soft matching's table, `[tokens, 1]` int32."""
        spec = self.spec
        if (
            1 in spec.orders and spec.buckets % spec.soft_buckets == 0
        ):  # then the soft id is a remainder of the n-gram id
            at = spec.orders.index(1)
            return grams[:, at : at + 1] % np.int32(spec.soft_buckets)
        return ngram_ids(hashes, (1,), spec.soft_buckets, splits)

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


def _padded(ids: np.ndarray, lengths: np.ndarray, pad: int) -> np.ndarray:
    """Lays ids `[tokens, width]` of consecutive texts out as `[texts, positions, width]`, filled up with `pad`."""
    positions = max(1, int(lengths.max()))
    if len(lengths) * positions == len(ids):
        return ids.reshape(len(lengths), positions, -1)
    out = np.full((len(lengths), positions, ids.shape[1]), pad, np.int32)
    out[np.arange(positions) < lengths[:, None]] = ids
    return out


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
