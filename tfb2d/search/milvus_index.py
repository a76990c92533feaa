"""Search by Milvus: a server's address where one machine is too small, Milvus Lite's local file in tests.

The collection holds a row's number and its vector as float32 (Milvus Lite has no other dense type); ids, titles and the
vectors that scores are computed from stay in the catalogue. Rows are written with `upsert`: `insert` of a known key
keeps both rows on a server and one in Milvus Lite. Milvus Lite ignores index parameters, and is exact until its index is
built in the background, so its recall says nothing of a server's.

The server's token is read from the environment variable TFB2D_MILVUS_TOKEN.
"""

import os
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tfb2d.best import Rows
from tfb2d.search.answer import SearchError
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.exact import Backend
from tfb2d.search.manifest import Manifest

BATCH = 1000  # rows of a request: 128 numbers each, well below the 64 MiB that a server takes
MAX_LIMIT = 16_384  # hits of a search, the server's limit
_SECONDS = 10.0


class Milvus(Backend):
    """A collection of a Milvus server; connects at the first use, and anew after a failure."""

    def __init__(self, manifest: Manifest) -> None:
        self.parameters = dict(manifest.parameters)
        self._uri: str = self.parameters["uri"]
        self._name = "tfb2d_" + manifest.catalogue.rpartition("-")[2]
        self._dim = manifest.dim
        self._client: Any = None
        self._new = False
        self._lock = threading.Lock()

    @classmethod
    def create(cls, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Makes the collection anew, empty."""
        from pymilvus import DataType, MilvusClient

        self = cls(manifest)

        def make(client: Any) -> None:
            if client.has_collection(self._name, timeout=_SECONDS):
                client.drop_collection(self._name, timeout=_SECONDS)
            schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("row", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dim)
            index = client.prepare_index_params()
            build = {"M": self.parameters["m"], "efConstruction": self.parameters["ef_construction"]}
            kind = self.parameters["index_type"]
            index.add_index("vector", index_type=kind, metric_type="IP", params=build if kind == "HNSW" else {})
            client.create_collection(self._name, schema=schema, index_params=index, timeout=_SECONDS)

        self._call(make)
        self._new = True
        return self

    @classmethod
    def load(cls, index: Path, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Returns the collection, without a connection yet."""
        return cls(manifest)

    def search(self, query: NDArray[np.float32], k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns about k near rows; raises SearchError where the server did not answer."""
        limit = min(int(k * 1.25), MAX_LIMIT, len(deleted))
        effort = {"metric_type": "IP", "params": {"ef": max(self.parameters["ef_search"], limit)}}
        if not limit:
            return np.zeros(0, np.int64)
        asked = {"anns_field": "vector", "limit": limit, "search_params": effort, "timeout": _SECONDS}
        asked["output_fields"] = ["row"]  # without it Milvus Lite sends the vectors, too
        (hits,) = self._call(lambda client: client.search(self._name, data=[query.tolist()], **asked))
        rows = np.unique(np.array([hit["row"] for hit in hits], np.int64))
        rows = rows[(rows >= 0) & (rows < len(deleted))]  # an update that was cut short may have added more
        return rows[~deleted[rows]]

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Adds vectors of the rows from `first` on; those that are there are replaced."""
        for start in range(0, len(vectors), BATCH):
            some = vectors[start : start + BATCH].astype(np.float32)
            rows = [{"row": first + start + index, "vector": vector.tolist()} for index, vector in enumerate(some)]
            self._call(lambda client, rows=rows: client.upsert(self._name, rows, timeout=_SECONDS))

    def remove(self, rows: Rows) -> None:
        """Deletes rows; unknown ones do not matter."""
        for start in range(0, len(rows), BATCH):
            ids = rows[start : start + BATCH].tolist()
            self._call(lambda client, ids=ids: client.delete(self._name, ids=ids, timeout=_SECONDS))

    def save(self, path: Path) -> None:
        """Makes the server write what it holds, and loads the collection for searching."""

        def settle(client: Any) -> None:
            client.flush(self._name, timeout=60 * _SECONDS)
            if self._new:  # Milvus Lite looks at the index's type on loading alone: a wrong one must fail now
                client.release_collection(self._name, timeout=60 * _SECONDS)
                self._new = False
            client.load_collection(self._name, timeout=60 * _SECONDS)

        self._call(settle)

    def drop(self) -> None:
        """Deletes the collection."""
        self._call(lambda client: client.drop_collection(self._name, timeout=_SECONDS))

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _call(self, work: Any) -> Any:
        from pymilvus import MilvusClient, MilvusException

        try:
            with self._lock:
                if self._client is None:
                    token = os.environ.get("TFB2D_MILVUS_TOKEN", "")
                    client = MilvusClient(self._uri, token=token, timeout=_SECONDS)
                    # Milvus Lite's server has released all collections after a restart; loading twice does no harm.
                    if client.has_collection(self._name, timeout=_SECONDS):
                        client.load_collection(self._name, timeout=6 * _SECONDS)
                    self._client = client
                client = self._client
            return work(client)
        except (MilvusException, OSError, RuntimeError) as error:
            with self._lock:
                self._client = None  # the next call connects anew
            raise SearchError(f"Milvus at {self._uri} did not answer: {error}") from error
