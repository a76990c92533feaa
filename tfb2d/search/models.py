"""The models that search asks: a twin that embeds, a student that ranks; in this process or behind a server."""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import fingerprint_files, read_json
from tfb2d.errors import UserError
from tfb2d.model_folder import ABOUT
from tfb2d.search.answer import SearchError

_SERVER = re.compile(r"(?P<address>[^/\s]+:\d+)/(?P<name>[\w.-]+)")
_PROBES = ("red usb-c cable 2 m", "iPhone 8 64GB", "Kühlschrank")  # texts by whose vectors a twin is known again
_SAME = 0.999  # cosine of two vectors of one text by one twin; other machines and servers round otherwise

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """Says which model made an index."""

    model: str  # as it was named: a folder, or "host:port/name"
    version: int = 0  # the exported version; 0 if unknown
    fingerprint: str = ""  # of the exported files; "" of a model behind a server
    probes: Sequence[Sequence[float]] = field(default_factory=list)  # the vectors of a few fixed titles, rounded

    def check(self, other: "Identity") -> None:
        """Raises SearchError where another model gives other vectors, or is another version."""
        remedy = f"name the model that it was built with ({self}), or build the index anew with {other}"
        if self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            raise SearchError(f"the index was built by another version of the model: {remedy}")
        mine, others = np.array(self.probes), np.array(other.probes)
        if mine.shape != others.shape or np.any((mine * others).sum(axis=-1) < _SAME):
            raise SearchError(f"the index was built by a model that gives other vectors: {remedy}")

    def __str__(self) -> str:
        return f"{self.model}, version {self.version}" if self.version else self.model


class Model:
    """An exported model's folder, or a model behind a server, with the methods that search needs.

    Args:
      model: a model's folder, a version's, or "host:port/name" of a server.
      timeout: seconds that a server may take for an answer, retries included.
      pause: seconds for which a server that did not answer is not asked again.

    Raises:
      UserError: there is no such model.
    """

    def __init__(self, model: str, timeout: float = 5.0, pause: float = 5.0) -> None:
        server = None if Path(model).exists() else _SERVER.fullmatch(model)
        self.name = model
        self.version, self.fingerprint = 0, ""
        self._client: Any = None
        self._pause = pause
        self._model: Any
        self._rests_until = 0.0  # of the monotonic clock
        if server:
            from tfb2d.serving import Client

            self._client = self._model = Client(server["address"], server["name"], timeout=timeout)
            return
        import tfb2d

        self._model = local = tfb2d.load(model)
        folder = local.folder
        self.name = str(folder.parent if folder.name.isdigit() else folder)
        self.version = int(folder.name) if folder.name.isdigit() else 0
        self.fingerprint = _fingerprint(folder)

    def titles(self, texts: Sequence[str]) -> Floats:
        """Returns the unit vectors of titles, `[n, dim]`."""
        return self._embed(texts, "embed_title")

    def query(self, text: str) -> Floats:
        """Returns the unit vector of a query, `[dim]`."""
        return self._embed([text], "embed_query")[0]

    def rank(self, query: str, titles: Sequence[str]) -> Floats:
        """Returns the scores of titles for a query, `[n]`."""
        return np.asarray(self._ask(self._model.rank, query, list(titles)), np.float32)

    def identity(self) -> Identity:
        """Returns what an index records of the twin that made it."""
        probes = np.round(self.titles(_PROBES).astype(np.float64), 6).tolist()
        return Identity(self.name, self.version, self.fingerprint, probes)

    def check_ranks(self) -> None:
        """Raises UserError where a model in this process does not take a query and a title."""
        if self._client is None and len(self._model.fields) != 2:
            raise UserError(f"{self.name} takes {self._model.fields[0]} alone; only models of query and title rank")

    @property
    def is_remote(self) -> bool:
        """Says whether the model is behind a server."""
        return self._client is not None

    def close(self) -> None:
        """Closes the connections to a server."""
        if self._client is not None:
            self._client.close()

    def _ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Calls the model; a server that did not answer is not asked for a while, so that searches need not wait.

        Raises UserError where it does not answer, or did not a moment ago.
        """
        if not self.is_remote:
            return call(*arguments, **named)
        from tfb2d.serving.errors import DeadlineExceeded, ServerUnreachable

        if (rest := self._rests_until - time.monotonic()) > 0:
            raise SearchError(f"{self.name} did not answer a moment ago; it is asked again in {rest:.0f} s")
        try:
            return call(*arguments, **named)
        except (DeadlineExceeded, ServerUnreachable):
            self._rests_until = time.monotonic() + self._pause
            raise

    def _embed(self, texts: Sequence[str], signature: str) -> Floats:
        vectors = np.asarray(self._ask(self._model.embed, list(texts), signature=signature), np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        # A vector of NaN would never be retrieved, or come back as a score that JSON cannot hold.
        wrong = np.flatnonzero(~(np.abs(lengths - 1) < 0.02))
        if len(wrong):
            first = int(wrong[0])
            raise SearchError(
                f"{self.name} gives {texts[first][:60]!r} a vector of length {lengths[first]:g}; twins give unit vectors"
            )
        return vectors


def _fingerprint(folder: Path) -> str:
    """Returns what distinguishes exported versions: what the export recorded, else a digest of the files."""
    about = folder / ABOUT
    recorded = read_json(about).get("fingerprint", "") if about.exists() else ""
    if recorded:
        return str(recorded)
    files = [folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))]
    return hashlib.sha256(fingerprint_files(files).encode()).hexdigest()[:32]
