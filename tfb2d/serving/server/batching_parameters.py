"""Reads a BatchingParameters file and checks what it says, for `batching`."""

import os
from dataclasses import dataclass
from typing import Any

from tfb2d.serving.server.errors import invalid
from tfb2d.serving.server.textprotos import read_text_proto


@dataclass(frozen=True)
class BatchingParameters:
    """Holds a BatchingParameters message with its defaults filled in."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def execution_size(self) -> int:
        """Returns the rows of the largest batch that runs."""
        split = self.enable_large_batch_splitting and self.max_execution_batch_size
        return self.max_execution_batch_size if split else self.max_batch_size

    def check(self) -> None:
        """Refuses what cannot work, when a model is loaded, as TensorFlow Serving does.

        Raises:
          StatusError: INVALID_ARGUMENT.
        """
        for name in ("max_batch_size", "num_batch_threads", "max_enqueued_batches"):
            if getattr(self, name) < 1:
                raise invalid(f"{name} must be positive; was {getattr(self, name)}")
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)):
            raise invalid("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            what = "max_execution_batch_size" if self.execution_size != self.max_batch_size else "max_batch_size"
            raise invalid(
                f"Last entry in allowed_batch_sizes must match {what}; last entry was {sizes[-1]}; expected"
                f" {self.execution_size}"
            )


def read_batching(path: str) -> BatchingParameters:
    """Reads a BatchingParameters file; "" gives the defaults.

    Raises:
      StatusError: it cannot be read.
    """
    if not path:
        return BatchingParameters()
    values: dict[str, Any] = {}
    for field, value in read_text_proto(path, "BatchingParameters").ListFields():
        if field.name in BatchingParameters.__dataclass_fields__:  # thread_pool_name is not
            values[field.name] = value.value if field.message_type else value
    return BatchingParameters(**values | {"allowed_batch_sizes": tuple(values.get("allowed_batch_sizes", ()))})
