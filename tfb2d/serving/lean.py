"""Keeps the memory of a serving process small: fewer imports, and freed memory given back.

`import tensorflow` also imports Keras, and with it pandas, pyarrow, scikit-learn and Matplotlib where they are installed;
its converter to TensorFlow Lite imports JAX, and old training loops SciPy. A server runs graphs alone. Without those
libraries it starts in two thirds of the CPU time and needs 300 MB less (docs/performance.md).
"""

import contextlib
import ctypes
import sys
from importlib.util import find_spec

UNUSED = ("keras", "tf_keras", "jax", "scipy")


def import_tensorflow() -> None:
    """Imports TensorFlow; to its own imports the UNUSED libraries look as if they were not installed.

    TensorFlow is made for that: it imports each of them only where it is there, and `tf.keras` on first use. Afterwards
    they can be imported as ever. Nothing happens in a process that has TensorFlow already.
    """
    if "tensorflow" in sys.modules:
        return
    hidden = [name for name in UNUSED if name not in sys.modules and find_spec(name)]
    for name in hidden:  # Python's reference, 5.3.1: None makes an import raise ModuleNotFoundError
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import tensorflow  # noqa: F401 (whoever needs it imports it again, which costs nothing)
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def give_back_memory() -> None:
    """Returns memory that was freed to the system, where the C library can (glibc); 40 MB after a student was loaded."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
