"""Imports as late as possible, and without what a library would import that nobody here needs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def late(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package whose names are loaded when they are first used; `homes` are their modules."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load


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
