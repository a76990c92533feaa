"""Runs the monitor: reads logs; writes figures, fresh transfer data and a page."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import read_json, write_atomic, write_json
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.monitor import fresh
from tfb2d.monitor.alerts import alerts
from tfb2d.monitor.describe import describe
from tfb2d.monitor.fidelity import compare
from tfb2d.monitor.fresh import SampledRow
from tfb2d.monitor.intake import Intake
from tfb2d.monitor.logs import Counts, LogReader
from tfb2d.monitor.ngrams import Hasher
from tfb2d.monitor.reference import Reference, load_or_build
from tfb2d.monitor.requests import Unroller
from tfb2d.monitor.sample import Reservoir
from tfb2d.monitor.settings import Settings, parts
from tfb2d.monitor.windows import Windows, seconds_of
from tfb2d.students.text_spec import SPEC

MAX_TOKENS = 256
NEW_TOKENS = 50  # listed


class Monitor:
    """Monitors a log by `run`.

    Raises:
      ConfigError, DataError: a file or folder of the settings cannot be used; the message names it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_folder = settings.run_folder()
        self.teacher = settings.teacher or settings.only_teacher()
        self.scorer = Scorer(settings.model)
        self.task = self.scorer.task
        spec = self.scorer.about.get("hash_spec", SPEC)["version"]
        if spec != SPEC["version"]:
            raise DataError(
                f"{settings.model}: exported with hash spec {spec}, this tfb2d counts n-grams by {SPEC['version']}; "
                "train and export it again, or look at its logs with the tfb2d that exported it"
            )
        self._config = read_json(self.run_folder / "config.json") if self.run_folder else {}
        student = self._config.get("student", {})
        orders = settings.orders or tuple(student.get("orders", (1, 2)))
        self.hasher = Hasher(tuple(sorted({1, *orders})), student.get("max_tokens", MAX_TOKENS))
        self._transfer = settings.reference or parts(self.run_folder, "data/transfer")
        self._test = settings.test or [*parts(self.run_folder, "data/test"), *parts(self.run_folder, "data/valid")]

    def run(self) -> dict[str, Any]:
        """Writes the page, `monitor.json`, `fresh/` and `next.py` into the output folder; returns the figures."""
        settings, out = self.settings, self.settings.output
        out.mkdir(parents=True, exist_ok=True)
        held_out = fresh.held_out(self._test, self.task.fields, settings.quoting)
        past = self._reference()
        intake, counts = self._read(past)
        by_time, sample = intake.windows.finish(), intake.sample.items()
        about = self._about(past)
        own_scores = about is not None and about["scores_of_this_model"]
        result: dict[str, Any] = {
            "model": str(self.scorer.folder),
            "task": self.task.to_json(),
            "logs": {
                **{name: dict(v) if isinstance(v, Counter) else v for name, v in vars(counts).items()},
                "unusable": dict(intake.unusable),
                "window_seconds": intake.windows.length,
                "time": _time_source(counts),
            },
            "reference": about,
            **describe(by_time, past, own_scores, self.task, self.hasher.orders),
            "sample": {"rows": len(sample), "seed": settings.seed},
            "skew": self._skew(sample),
        }
        result |= self._taught(sample, held_out, result["windows"], intake.windows.length)
        if settings.show_text:
            result["new_tokens"] = [
                {"token": token.decode("utf-8", "replace"), "count": count}
                for token, count in intake.tokens.most_common(NEW_TOKENS)
            ]
        result["alerts"] = alerts(result, settings.thresholds)
        result["thresholds"] = vars(settings.thresholds)
        write_json(out / "monitor.json", {name: value for name, value in result.items() if name != "scatter"})
        from tfb2d.monitor.page import render

        write_atomic(out / "monitor.html", render(result))
        return result

    def _reference(self) -> Reference | None:
        """Summarises the training rows; None where there are none to compare with."""
        if not self._transfer:
            return None
        settings, cache = self.settings, self.settings.output / "reference.safetensors"
        how = settings.seed, settings.quoting, settings.progress
        return load_or_build(self._transfer, self.scorer, self.hasher, cache, *how)

    def _about(self, past: Reference | None) -> dict[str, Any] | None:
        if past is None:
            return None
        return {
            "files": [str(path) for path in self._transfer],
            "rows": past.rows,
            "orders": list(past.orders),
            "megabytes": len(past.known.bits) / 1e6,
            "false_positives": past.known.false_positives,
            "scores_of_this_model": past.model == self.scorer.fingerprint,
        }

    def _read(self, past: Reference | None) -> tuple[Intake, Counts]:
        """Reads the log once; returns what was taken in, and the counts of its records."""
        settings, task = self.settings, self.task
        reader = LogReader(
            settings.logs,
            Unroller(task, self.scorer.calibration),
            settings.output / "broken.jsonl",
            settings.name,
            settings.version,
            settings.progress,
        )
        shape = len(task.fields), len(self.hasher.orders), max(2, task.n_logits)
        windows = Windows(seconds_of(settings.window), shape)
        sample: Reservoir[SampledRow] = Reservoir(settings.sample, settings.seed)
        intake = Intake(self.hasher, past.known if past is not None else None, windows, sample)
        for rows in reader.rows():
            intake.add(rows)
        return intake, reader.counts

    def _skew(self, sample: list[SampledRow]) -> dict[str, Any]:
        """Returns the largest distance of a logged score from the model's own, over rows that this version answered."""
        name = self.scorer.folder.name
        mine = [item for item in sample if str(item.version) == name and np.isfinite(item.scores).all()]
        if not mine:
            return {"rows": 0, "largest": None}
        again = self.scorer.score(list(zip(*(item.texts for item in mine), strict=True)))[0]
        logged = np.stack([item.scores for item in mine]).reshape(again.shape)
        return {"rows": len(mine), "largest": float(np.abs(again - logged).max())}

    def _taught(
        self, sample: list[SampledRow], held_out: set[str], windows: list[dict[str, Any]], length: int
    ) -> dict[str, Any]:
        """Has the teacher label the sample, writes it as fresh data, and compares the logged scores with the teacher's."""
        settings, out = self.settings, self.settings.output
        table_rows = fresh.write_sample(out / "sample", self.task, sample)
        if not sample or not (self.teacher or settings.teacher_logits):
            return {"fidelity": None, "fresh": None, "next": ""}
        given = self.teacher, settings.teacher_logits, settings.quoting, settings.progress
        logits: NDArray[np.float32] = fresh.relabel(out / "sample", self.task, out / "labelled", *given)
        aliases = self._config["data"]["unlabelled_fields"] if self._config else ()
        written = fresh.write_fresh(out / "fresh", out / "sample", self.task, logits, held_out, aliases)
        return {
            "fresh": {**written, "held_out_texts": len(held_out)},
            "next": fresh.write_recipe(out, self.run_folder, self.teacher, out / "fresh", self.task),
            **compare(self.task, sample, logits[table_rows], windows, length, settings.seed, settings.show_text),
        }


def _time_source(counts: Counts) -> str:
    if not counts.dated:
        return "files"
    return "records" if counts.dated == counts.requests else "records and files"
