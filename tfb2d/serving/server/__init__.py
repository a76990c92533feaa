"""Serves models by TensorFlow Serving's contract in this Python process.

`tfb2d serve` starts it where there is no official binary. A client cannot distinguish the two: same RPCs, REST
paths, flags, status codes and messages. What differs is listed in `docs/embedded_server.md`. Nothing here is imported by
this file, so that `--help` stays quick.
"""
