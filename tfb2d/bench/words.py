"""Peers of word vectors, trained on the task's own rows: supervised fastText, and Model2Vec with a logistic head.

Learning rate, epochs and regularisation are chosen on every tenth training row. Then all rows are used.

fastText reads words between spaces. As in its documentation, texts are lower-cased first and punctuation gets spaces
around it. The form called raw takes texts unchanged. Pairs are joined into one text. Model2Vec embeds query and title
separately, a query once for all its titles. Its head reads both vectors, their product and their difference.

Reference: fastText (arXiv 1607.01759); Model2Vec (https://github.com/MinishLab/model2vec).
"""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.bench.measure import BenchError

JOIN = " | "
SIF = 1e-3  # of smooth inverse frequency; a token's rank gives its frequency (Zipf), as in Model2Vec
_LABEL = "__label__"
_PUNCTUATION = re.compile(r"([^\w\s])")
_OWN_WORDS = re.compile(r"(__(?=label__)|<(?=/s>))")
_FASTTEXT_SETTINGS = [{"lr": lr, "epoch": epoch} for lr in (0.1, 0.3, 0.6) for epoch in (5, 15)]
_REGULARISATIONS = (0.1, 1.0, 10.0, 100.0)

Columns = Sequence[Sequence[str]]


def held_out(rows: int) -> np.ndarray:
    """Picks the rows that settings are chosen on, every tenth; bool `[rows]`."""
    return np.arange(rows) % 10 == 9


class FastText:
    """Scores with a model that `train_fasttext` wrote; `raw` takes texts unchanged."""

    def __init__(self, file: str, raw: bool = False) -> None:
        import fasttext

        fasttext.FastText.eprint = lambda *_: None
        self._model = fasttext.load_model(file)
        self._classes = len(self._model.labels)
        self._raw = raw
        self.about = {"file_mb": Path(file).stat().st_size / 1e6}

    def score(self, *columns: Sequence[str]) -> np.ndarray:
        """Returns the probability of the positive class `[n]`, or `[n, classes]`: of the class decided for, and 0."""
        labels, probabilities = self._model.predict(lines(columns, self._raw))
        decided = np.array([int(names[0][len(_LABEL) :]) for names in labels])
        best = np.clip([row[0] for row in probabilities], 0, 1)  # fastText adds 1e-5 to every probability
        if self._classes <= 2:
            return np.where(decided == 1, best, 1 - best)
        scores = np.zeros((len(best), self._classes), np.float32)
        scores[np.arange(len(best)), decided] = best
        return scores

    def rank(self, query: str, titles: Sequence[str]) -> np.ndarray:
        """Returns probabilities of titles, `[n]`."""
        return self.score([query] * len(titles), titles)


def lines(columns: Columns, raw: bool) -> list[str]:
    """Returns texts as lines for fastText, with pairs joined.

    fastText reserves two words: `</s>` ends a line, and a word that begins with `__label__` is a class. In a user's text
    they are ordinary words, so they are split.
    """
    texts: Iterable[str] = columns[0] if len(columns) == 1 else map(JOIN.join, zip(*columns, strict=True))
    if not raw:
        texts = (_PUNCTUATION.sub(r" \1 ", text.lower()) for text in texts)
    return [_without_own_words(text.replace("\n", " ")) for text in texts]


def _without_own_words(text: str) -> str:
    # Times include this function. Two searches cost less than the expression on texts with neither word.
    return _OWN_WORDS.sub(r"\1 ", text) if "</s>" in text or _LABEL in text else text


def train_fasttext(
    file: str, columns: Columns, labels: Sequence[int], dim: int, buckets: int, order: int, raw: bool = False
) -> dict[str, Any]:
    """Writes a fastText classifier of the student's width, hash buckets and highest order; returns the settings chosen."""
    import fasttext

    out = Path(file)
    out.parent.mkdir(parents=True, exist_ok=True)
    marked = [f"{_LABEL}{label} {line}\n" for label, line in zip(labels, lines(columns, raw), strict=True)]
    chosen = held_out(len(marked))

    def train(rows: np.ndarray, **settings: Any) -> Any:
        source = out.with_suffix(".txt")
        source.write_text("".join(marked[row] for row in np.flatnonzero(rows)), encoding="utf-8")
        shape = {"dim": dim, "bucket": buckets if order > 1 else 0, "wordNgrams": order}  # words have rows of their own
        # Its 12 threads by default: with fewer than 11, fastText 0.9 leaves start values of its table as memory was (NaN at
        # times). The outcome differs a little from time to time.
        model = fasttext.train_supervised(str(source), **shape, **settings, thread=12, seed=1, verbose=0)
        source.unlink()
        return model

    test = out.with_suffix(".test.txt")
    test.write_text("".join(marked[row] for row in np.flatnonzero(chosen)), encoding="utf-8")

    def accuracy(settings: dict[str, Any]) -> float:
        with suppress(RuntimeError):  # NaN: the learning rate is too high
            return train(~chosen, **settings).test(str(test))[1]
        return 0.0

    for settings in sorted(_FASTTEXT_SETTINGS, key=accuracy, reverse=True) if chosen.any() else _FASTTEXT_SETTINGS:
        with suppress(RuntimeError):
            train(np.ones(len(marked), bool), **settings).save_model(str(out))
            test.unlink()
            return settings
    raise BenchError(f"fastText gives NaN with all settings: {_FASTTEXT_SETTINGS}")


class Model2Vec:
    """Scores with Model2Vec and a logistic head, of a folder that `train_model2vec` wrote."""

    def __init__(self, folder: str) -> None:
        from model2vec import StaticModel
        from safetensors.numpy import load_file

        self._model = StaticModel.from_pretrained(folder)
        head = load_file(Path(folder) / "head.safetensors")
        self._kernel, self._bias = head["kernel"], head["bias"]
        size = sum(path.stat().st_size for path in Path(folder).iterdir() if path.suffix != ".md")
        self.about = {"file_mb": size / 1e6}

    def score(self, *columns: Sequence[str]) -> np.ndarray:
        """Returns the probability of the positive class `[n]`, or of all `[n, classes]`."""
        return self._probabilities(*(self._model.encode(column) for column in columns))

    def rank(self, query: str, titles: Sequence[str]) -> np.ndarray:
        """Returns probabilities of titles, `[n]`."""
        titles_vectors = self._model.encode(titles)
        return self._probabilities(np.broadcast_to(self._model.encode([query]), titles_vectors.shape), titles_vectors)

    def _probabilities(self, *vectors: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        logits = features(*vectors) @ self._kernel + self._bias
        return expit(logits[:, 0]) if logits.shape[1] == 1 else softmax(logits, axis=1)


def features(*vectors: np.ndarray) -> np.ndarray:
    """Returns the head's input: a text's vectors `[n, dim]`, or of a query's and a title's `[n, 4 * dim]`."""
    if len(vectors) == 1:
        return vectors[0]
    query, title = vectors
    return np.concatenate([query, title, query * title, np.abs(query - title)], 1)


def static_vectors(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Reduces token vectors by PCA, with less weight for frequent tokens; returns float32 `[vocabulary, dim]`."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    ranks = np.arange(2, len(vectors) + 2)
    shares = 1 / ranks / np.sum(1 / ranks)
    return (centred @ axes[:, ::-1][:, :dim] * (SIF / (SIF + shares))[:, None]).astype(np.float32)


def train_model2vec(folder: str, encoder: str, columns: Columns, labels: Sequence[int], dim: int) -> dict[str, Any]:
    """Writes static vectors of width `dim` from a BERT's token embeddings, and a logistic head trained on labels.

    `encoder` is the BERT's folder, with `model.safetensors` and `tokenizer.json`. Returns the settings chosen: `C`, the
    inverse regularisation.
    """
    from model2vec import StaticModel
    from safetensors.numpy import load_file, save_file
    from sklearn.linear_model import LogisticRegression
    from tokenizers import Tokenizer

    loaded = load_file(Path(encoder) / "model.safetensors")
    (embeddings,) = [value for name, value in loaded.items() if name.endswith("word_embeddings.weight")]
    tokenizer = Tokenizer.from_file(str(Path(encoder) / "tokenizer.json"))
    model = StaticModel(static_vectors(embeddings.astype(np.float32), dim), tokenizer, normalize=True)
    model.save_pretrained(folder)
    x, y = features(*(model.encode(list(column)) for column in columns)), np.asarray(labels)
    chosen = held_out(len(y))

    def head(rows: np.ndarray, c: float) -> Any:
        return LogisticRegression(C=c, max_iter=1000).fit(x[rows], y[rows])

    def accuracy(c: float) -> float:
        return float(head(~chosen, c).score(x[chosen], y[chosen]))

    best = max(_REGULARISATIONS, key=accuracy) if chosen.any() else 1.0
    fitted = head(np.ones(len(y), bool), best)
    kernel = {"kernel": fitted.coef_.T.astype(np.float32), "bias": fitted.intercept_.astype(np.float32)}
    save_file({name: np.ascontiguousarray(value) for name, value in kernel.items()}, Path(folder) / "head.safetensors")
    Path(folder, "head.json").write_text(json.dumps({"C": best}), encoding="utf-8")
    return {"C": best}
