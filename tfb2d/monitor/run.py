"""Runs the monitor: reads logs; writes figures, fresh transfer data and a page."""

from collections import Counter
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import read_json, write_atomic, write_json
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.evaluation.scores import distances
from tfb2d.model_folder import ABOUT
from tfb2d.monitor import fresh, reference
from tfb2d.monitor.alerts import alerts
from tfb2d.monitor.describe import Describer
from tfb2d.monitor.fidelity import fidelity
from tfb2d.monitor.fresh import SampledRow
from tfb2d.monitor.intake import Intake
from tfb2d.monitor.logs import Counts, LogReader, Rows
from tfb2d.monitor.ngrams import Hasher
from tfb2d.monitor.requests import Unroller
from tfb2d.monitor.sample import Reservoir
from tfb2d.monitor.settings import Settings, parts
from tfb2d.monitor.windows import Window, Windows, seconds_of
from tfb2d.outcomes import Calibration
from tfb2d.probability import probabilities
from tfb2d.students.text_spec import SPEC

MAX_TOKENS = 256
NEW_TOKENS = 50  # listed
EXAMPLES = 12


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
        self._check_spec()
        self.hasher = Hasher(*self._shape())
        run = self.run_folder
        self._transfer = settings.reference or parts(run, "data/transfer")
        self._test = settings.test or [*parts(run, "data/test"), *parts(run, "data/valid")]
        about = read_json(self.scorer.folder / ABOUT).get("calibration", {"scale": 1.0, "bias": [0.0]})
        self._calibration = Calibration(about["scale"], tuple(about["bias"]))

    def run(self) -> dict[str, Any]:
        """Writes the page, `monitor.json`, `fresh/` and `next.py` into the output folder; returns the figures."""
        settings, task = self.settings, self.task
        out = settings.output
        out.mkdir(parents=True, exist_ok=True)
        held = fresh.held_out(self._test, task.fields, self.settings.quoting)
        past: reference.Reference | None = None
        if self._transfer:
            cache = out / "reference.safetensors"
            past = reference.load_or_build(
                self._transfer, self.scorer, self.hasher, cache, settings.seed, settings.quoting, settings.progress
            )
        reader = LogReader(
            settings.logs,
            Unroller(task, self._calibration),
            out / "broken.jsonl",
            settings.name,
            settings.version,
            settings.progress,
        )
        windows = Windows(
            seconds_of(settings.window), (len(task.fields), len(self.hasher.orders), max(2, task.n_logits))
        )
        kept: Reservoir[SampledRow] = Reservoir(settings.sample, settings.seed)
        intake = Intake(past.known if past is not None else None, self.hasher.max_tokens)
        for rows in reader.rows():
            grams = [self.hasher(column) for column in rows.texts]
            windows.add(
                rows, [intake.counted(rows, field, grams_of_field) for field, grams_of_field in enumerate(grams)]
            )
            kept.offer(len(rows), partial(_sampled, rows, intake.usable(rows)))
        by_time, sample = windows.finish(), kept.items()
        counts = reader.counts
        result: dict[str, Any] = {
            "model": str(self.scorer.folder),
            "task": task.to_json(),
            "logs": {
                **{name: dict(v) if isinstance(v, Counter) else v for name, v in vars(counts).items()},
                "unusable": dict(intake.unusable),
                "window_seconds": windows.length,
                "time": _time_source(counts),
            },
            "reference": self._about(past),
            **self._drift(by_time, past),
        }
        result.update(self._fidelity(sample, [start for start, _ in by_time], windows.length, held, result["windows"]))
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

    def _check_spec(self) -> None:
        spec = read_json(self.scorer.folder / ABOUT).get("hash_spec", SPEC)["version"]
        if spec != SPEC["version"]:
            raise DataError(
                f"{self.settings.model}: exported with hash spec {spec}, this tfb2d counts n-grams by {SPEC['version']}; "
                "train and export it again, or look at its logs with the tfb2d that exported it"
            )

    def _shape(self) -> tuple[tuple[int, ...], int]:
        student = read_json(self.run_folder / "config.json")["student"] if self.run_folder else {}
        orders = self.settings.orders or tuple(student.get("orders", (1, 2)))
        return tuple(sorted({1, *orders})), student.get("max_tokens", MAX_TOKENS)

    def _about(self, past: reference.Reference | None) -> dict[str, Any] | None:
        if past is None:
            return None
        return {
            "files": [str(path) for path in self._transfer],
            "rows": past.rows,
            "orders": list(past.orders),
            "megabytes": len(past.known.bits) / 1e6,
            "false_positives": past.known.false_positives,
            "scores_of_this_model": past.model == reference.model_fingerprint(self.scorer),
        }

    def _drift(self, by_time: list[tuple[int, Window]], past: reference.Reference | None) -> dict[str, Any]:
        """Returns volume, lengths, new n-grams and score drift, by window and over all."""
        fields, orders = by_time[0][1].tokens.shape
        total = Window.none(fields, orders, len(by_time[0][1].classes))
        for _, window in by_time:
            total.add(window)
        usable = past is not None and past.model == reference.model_fingerprint(self.scorer)
        if past is not None and usable:
            base, classes, baseline = past.scores, past.classes, "reference"
        else:
            first = next((w for _, w in by_time if w["scored"] >= 500), by_time[0][1])
            base, classes, baseline = first.scores, first.classes, "first window"
        missed = past.known.false_positives if past is not None else None
        multiclass = self.task.kind == "multiclass"
        describe = Describer(base, classes, multiclass, missed, self.hasher.orders, self.task.fields)
        return {
            "baseline": baseline,
            "overall": describe(total),
            "windows": [{"start": start, "time": _utc(start), **describe(window)} for start, window in by_time],
        }

    def _fidelity(
        self, sample: list[SampledRow], starts: list[int], length: int, held: set[str], windows: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Relabels the sample, writes it as fresh data and compares the logged scores with the teacher's."""
        settings, task, out = self.settings, self.task, self.settings.output
        folder = out / "sample"
        table_rows = fresh.write_sample(folder, task, sample)
        labelled: dict[str, Any] = {"sample": {"rows": len(sample), "seed": settings.seed}, "skew": self._skew(sample)}
        if not sample or not (self.teacher or settings.teacher_logits):
            return {**labelled, "fidelity": None, "fresh": None, "next": ""}
        logits = fresh.relabel(
            folder,
            task,
            out / "labelled",
            self.teacher,
            settings.teacher_logits,
            settings.quoting,
            settings.progress,
        )
        aliases = read_json(self.run_folder / "config.json")["data"]["unlabelled_fields"] if self.run_folder else ()
        labelled["fresh"] = fresh.write_fresh(out / "fresh", folder, task, logits, held, aliases)
        labelled["fresh"]["held_out_texts"] = len(held)
        labelled["next"] = fresh.write_recipe(out, self.run_folder, self.teacher, out / "fresh", task)
        scores = np.stack([item.scores for item in sample]).astype(np.float64)
        logits = logits[table_rows]
        both: NDArray[np.bool_] = np.isfinite(np.concatenate([logits, scores], 1)).all(1)
        teacher = probabilities(logits.astype(np.float64))
        student = np.clip(scores[:, 0] if task.n_logits == 1 else scores, 0, 1)
        requests = np.array([item.request for item in sample])
        times = np.array([item.time for item in sample])
        versions = np.array([item.version for item in sample])

        def compared(rows: NDArray[np.bool_]) -> dict[str, Any]:
            rows = rows & both
            return fidelity(teacher[rows], student[rows], requests[rows], seed=settings.seed)

        for start, window in zip(starts, windows, strict=True):
            window["fidelity"] = compared((times >= start) & (times < start + length))
        labelled["fidelity"] = {
            "overall": compared(np.ones(len(sample), np.bool_)),
            "versions": {str(version): compared(versions == version) for version in np.unique(versions)},
        }
        labelled["scatter"] = (teacher[both], student[both])
        if settings.show_text:
            gaps = distances(teacher, student)
            order = [row for row in np.argsort(-np.where(both, gaps, -1)) if both[row]][:EXAMPLES]
            labelled["examples"] = [
                {
                    "texts": dict(zip(task.fields, sample[row].texts, strict=True)),
                    "teacher": teacher[row].tolist(),
                    "student": student[row].tolist(),
                }
                for row in order
            ]
        return labelled

    def _skew(self, sample: list[SampledRow]) -> dict[str, Any]:
        """Returns the largest distance of a logged score from the model's own, over rows that this version answered."""
        name = self.scorer.folder.name
        mine = [item for item in sample if str(item.version) == name and np.isfinite(item.scores).all()]
        if not mine:
            return {"rows": 0, "largest": None}
        again = self.scorer.score(list(zip(*(item.texts for item in mine), strict=True)))[0]
        logged = np.stack([item.scores for item in mine]).reshape(again.shape)
        return {"rows": len(mine), "largest": float(np.abs(again - logged).max())}


def _time_source(counts: Counts) -> str:
    if not counts.dated:
        return "files"
    return "records" if counts.dated == counts.requests else "records and files"


def _sampled(rows: Rows, usable: NDArray[np.bool_], row: int) -> SampledRow | None:
    if not usable[row]:
        return None
    texts = tuple(column[row].decode() for column in rows.texts)
    return SampledRow(texts, rows.scores[row], int(rows.times[row]), int(rows.requests[row]), int(rows.versions[row]))


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")
