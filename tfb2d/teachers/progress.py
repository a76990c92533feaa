"""Shows how labelling goes on: rows a second, the time left and, at a stated price, the cost."""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import logging
from tqdm import tqdm

from tfb2d.config import LabelConfig
from tfb2d.errors import DataError
from tfb2d.teachers.shards import shard_path, without_logit


class LabelProgress:
    """A progress bar that counts the rows of a folder of shards, and those without a logit.

    Args:
      out: the folder.
      rows: of all shards together.
      config: shard size and price.
      todo: the shards that are missing; the others are counted as they are.
      show: whether to show the bar.
      max_without: share of rows without a logit from which on DataError is raised.

    Attributes:
      without: rows without a logit, in finished shards too.
    """

    def __init__(
        self, out: Path, rows: int, config: LabelConfig, todo: Sequence[int], show: bool, max_without: float
    ) -> None:
        missing, starts = set(todo), range(0, rows, config.rows_per_shard)
        present = [i for i in range(len(starts)) if i not in missing]
        done = sum(min(config.rows_per_shard, rows - starts[i]) for i in present)
        self.without = sum(without_logit(shard_path(out, i)) for i in present)
        self._out, self._rows, self._max, self._price = out, rows, max_without, config.price_per_hour
        self._labelled, self._begin = 0, time.monotonic()
        self._bar = tqdm(total=rows, initial=done, desc=f"labelling {out.name}", unit="row", disable=not show)
        self._check()

    def update(self, rows: int, without: int) -> None:
        """Takes note of a shard; raises DataError where too many rows have no logit."""
        self._labelled += rows
        self.without += without
        if self._price:
            cost = self._price * (time.monotonic() - self._begin) / 3600
            whole = cost * (self._rows - self._bar.n + self._labelled - rows) / self._labelled
            self._bar.set_postfix_str(f"cost {cost:.2f} of about {whole:.2f}", refresh=False)
        self._bar.update(rows)
        self._check()

    def close(self) -> None:
        """Ends the bar, and logs the rate and the cost."""
        self._bar.close()
        if not self._labelled:
            return
        seconds = time.monotonic() - self._begin
        cost = f", cost {self._price * seconds / 3600:.2f} at {self._price:g} an hour" if self._price else ""
        rate = self._labelled / max(seconds, 1e-9)
        logging.info("%s rows labelled in %.0f s: %.0f rows/s%s", f"{self._labelled:,}", seconds, rate, cost)
        if self.without:
            logging.warning("%s: %d rows have no logit: the teacher gave no finite number", self._out, self.without)

    def _check(self) -> None:
        if self.without > self._max * self._rows:
            raise DataError(
                f"{self._out}: the teacher gives no finite number for {self.without:,} of {self._rows:,} rows, more than "
                f"the share of {self._max:g} that max_rejected allows; its weights are damaged, or its precision overflows"
            )
