"""Imports a library while others, which it would import and nobody here needs, look as if they were not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Hides libraries from imports within the block; afterwards they can be imported as ever.

    A library that was imported before is not hidden.
    """
    new = [name for name in names if name not in sys.modules]
    for name in new:  # Python's reference, 5.3.1: None makes an import raise ModuleNotFoundError
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in new:
            sys.modules.pop(name, None)


def import_bm25s() -> Any:
    """Imports bm25s without JAX.

    bm25s runs a JAX operation on import where JAX is installed. That takes seconds, and on a GPU most of its memory. Its
    top-k, which uses it, is not used here.
    """
    with hidden("jax"):
        import bm25s
        import bm25s.tokenization
    return bm25s
