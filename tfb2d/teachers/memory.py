"""Sets the process's memory allocator, for commands that run teachers with PyTorch on a CPU."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Keeps glibc from giving the memory of each of PyTorch's operators back to the kernel at once.

    Otherwise each operator has page faults on all of its output, which takes up to half of the time
    (docs/performance.md). This changes the whole process: commands call it when they start, and no library function
    does. Returns whether it was set: with `KERAS_BACKEND=torch` on Linux with glibc. Other backends keep memory
    themselves.
    """
    if os.environ.get("KERAS_BACKEND") != "torch" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    answers = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, 2**31 - 1), mallopt(_M_TOP_PAD, 2**28)]
    return all(answers)
