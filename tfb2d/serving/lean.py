"""Keeps the memory of a serving process small: fewer imports, and freed memory given back.

`import tensorflow` also imports Keras, and with it pandas, pyarrow, scikit-learn and Matplotlib where they are installed;
its converter to TensorFlow Lite imports JAX, and old training loops SciPy. A server runs graphs alone. Without those
libraries it starts in two thirds of the CPU time and needs 300 MB less (docs/performance.md).
"""

import contextlib
import ctypes
import sys

from tfb2d.imports import hidden

UNUSED = ("keras", "tf_keras", "jax", "scipy")


def import_tensorflow() -> None:
    """Imports TensorFlow; to its own imports the UNUSED libraries look as if they were not installed.

    TensorFlow is made for that: it imports each of them only where it is there, and `tf.keras` on first use. Afterwards
    they can be imported as ever. Nothing happens in a process that has TensorFlow already.
    """
    if "tensorflow" in sys.modules:
        return
    with hidden(*UNUSED):
        import tensorflow  # noqa: F401 (whoever needs it imports it again, which costs nothing)


def give_back_memory() -> None:
    """Returns memory that was freed to the system, where the C library can (glibc); 40 MB after a student was loaded."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
