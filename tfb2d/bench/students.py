"""Students as systems: the SavedModel as a server runs it, and as a Python program calls it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfb2d.model_folder import EDGE, served_megabytes, version_folder

Feeds = tuple[dict[str, np.ndarray], str]  # array by tensor name, and the name of the fetched tensor


class Session:
    """Scores as a server does: one session run a call (`tfb2d.serving.server.session`)."""

    def __init__(self, folder: str, fields: Sequence[str], mixed_precision: str = "") -> None:
        from tfb2d.serving.server.options import Options
        from tfb2d.serving.server.session import Session as Loaded

        # The server's own settings: one thread, as a student's ops are too small to share among cores.
        self._session = Loaded(folder, Options(mixed_precision=mixed_precision), folder)
        self._fields = list(fields)
        served = self._session.signatures.items()
        self._inputs = {name: {key: info.name for key, info in signature.inputs.items()} for name, signature in served}
        self._outputs = {
            name: {key: info.name for key, info in signature.outputs.items()} for name, signature in served
        }
        self.about = {"file_mb": served_megabytes(Path(folder))}

    def score(self, *columns: Sequence[str]) -> np.ndarray:
        """Returns probabilities `[n]`, or `[n, k]` of a multi-class task."""
        return self._run(*self.score_feeds(*columns))

    def rank(self, query: str, titles: Sequence[str]) -> np.ndarray:
        """Returns probabilities of titles, `[n]`; the query is hashed and embedded once."""
        return self._run(*self.rank_feeds(query, titles))[0]

    def score_feeds(self, *columns: Sequence[str]) -> Feeds:
        """Returns the feeds and the fetch of `score`."""
        texts = zip(self._fields, (np.array(column, object) for column in columns), strict=True)
        return self._feeds("serving_default", dict(texts), "score")

    def rank_feeds(self, query: str, titles: Sequence[str]) -> Feeds:
        """Returns the feeds and the fetch of `rank`."""
        inputs = {"query": np.array([query], object), "titles": np.array([titles], object)}
        return self._feeds("rank", inputs, "scores")

    def embed_query(self, queries: Sequence[str]) -> np.ndarray:
        """Returns a twin's vectors of queries, float32 `[n, dim]`."""
        (key,) = self._inputs["embed_query"]  # named as the task's first field
        return self._run(*self._feeds("embed_query", {key: np.array(queries, object)}, "embedding"))

    def _feeds(self, signature: str, inputs: dict[str, np.ndarray], output: str) -> Feeds:
        names = self._inputs[signature]
        return {names[key]: value for key, value in inputs.items()}, self._outputs[signature][output]

    def _run(self, feeds: dict[str, np.ndarray], fetch: str) -> np.ndarray:
        return self._session.run(feeds, (fetch,), None)[0]

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


class Bfloat16(Session):
    """Scores as a server with `--mixed_precision=bfloat16` does."""

    def __init__(self, folder: str, fields: Sequence[str]) -> None:
        super().__init__(folder, fields, "bfloat16")


class Function:
    """Scores as a Python program does: `tf.saved_model.load`, then the signatures."""

    def __init__(self, folder: str, fields: Sequence[str]) -> None:
        import tensorflow as tf

        self._tf, self._fields = tf, list(fields)
        self._model = tf.saved_model.load(folder)  # keeps the variables alive
        self._signatures = self._model.signatures
        self.about = {"file_mb": served_megabytes(Path(folder))}

    def score(self, *columns: Sequence[str]) -> np.ndarray:
        """Returns probabilities `[n]`, or `[n, k]` of a multi-class task."""
        texts = zip(self._fields, (self._tf.constant(column) for column in columns), strict=True)
        return self._signatures["serving_default"](**dict(texts))["score"].numpy()

    def rank(self, query: str, titles: Sequence[str]) -> np.ndarray:
        """Returns probabilities of titles, `[n]`."""
        constant = self._tf.constant
        return self._signatures["rank"](query=constant([query]), titles=constant([titles]))["scores"].numpy()[0]


def forms(model: str) -> tuple[Path, list[str]]:
    """Returns a model's version folder, and its keys of `systems.FORMS`; raises DataError without a SavedModel."""
    folder = version_folder(model)
    return folder, ["Session", "Function", *(["Edge"] if (folder / EDGE).is_dir() else [])]
