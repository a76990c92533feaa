"""Which backends there are, and with which parameters each works."""

from collections.abc import Mapping
from typing import Any

from tfb2d.errors import UserError
from tfb2d.search.exact import Backend, Exact

EXACT_ROWS = 100_000  # titles up to which "auto" searches all of them; beyond, by HNSW
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "exact": {},
    "hnsw": {"m": 16, "ef_construction": 100, "ef_search": 128},
    "ivfpq": {"lists": 0, "bytes": 0, "probes": 0, "refine": 8},  # 0: by the number of titles, by the vectors' width
    "sq": {},
    "milvus": {"m": 16, "ef_construction": 200, "ef_search": 128, "index_type": "HNSW", "uri": ""},
}


def settle(backend: str, rows: int, dim: int, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the backend for a catalogue of so many rows and numbers a vector, and all its parameters.

    `backend` is a key of `DEFAULTS`, or "auto". Raises UserError for a `given` parameter that the backend lacks, or too few
    titles for it.
    """
    if backend == "auto":
        backend = "exact" if rows <= EXACT_ROWS else "hnsw"
    known = DEFAULTS[backend]
    for name in given:
        if name not in known:
            raise UserError(f"{backend} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
    parameters = {**known, **given}
    if backend == "ivfpq":
        from tfb2d.search.faiss_index import ivfpq_parameters

        parameters = ivfpq_parameters(rows, dim, parameters)
    if backend == "milvus" and not parameters["uri"]:
        raise UserError(
            "--backend=milvus needs --milvus=URI: http://host:19530 of a server, or the path of a local file"
        )
    return backend, parameters


def backend_class(backend: str) -> type[Backend]:
    """Returns what creates and loads the indexes of a backend; its library is imported here."""
    if backend == "exact":
        return Exact
    if backend == "milvus":
        from tfb2d.search.milvus_index import Milvus

        return Milvus
    from tfb2d.search.faiss_index import Faiss

    return Faiss
