"""From raw rows to a served model: the stages of a run, each in its folder of the run folder."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d import __version__
from tfb2d.config import Config, ConfigError, adapt_settings, tuning_settings
from tfb2d.data.files import fingerprint_files, read_json, write_json
from tfb2d.data.prepare import prepare
from tfb2d.data.tables import count_rows, iter_batches, part_files, read_table
from tfb2d.data.task import Task
from tfb2d.stages import DONE, Stage, StageRunner, file_identity, fingerprint, folder_identity, last_of, locked
from tfb2d.students.text_spec import SPEC
from tfb2d.teachers.reading import changed_reading

HASH_SPEC = f"hash spec {SPEC['version']}"
SPLITS = ("transfer", "valid", "test")  # what teachers label


class Pipeline:
    """The stages of one run.

    Args:
      config: what to do.
      workdir: the run folder.
      progress: whether to show progress bars.
      command: what the user typed, for the report.
    """

    def __init__(self, config: Config, workdir: Path, progress: bool = True, command: str = "") -> None:
        self.config = config
        self.workdir = workdir
        self.progress = progress
        self.command = command
        self.task = Task.from_config(config.data)

    def run(self, until: str = "", force: Sequence[str] = ()) -> dict[str, Any]:
        """Brings all stages up to `until` up to date and returns the last one's outcome.

        Raises:
          ConfigError: there is no stage of a name in `until` or `force`.
          RuntimeError: another process is at work in the run folder.
        """
        stages = self.stages()
        names = [stage.name for stage in stages]
        for name in (*force, *([until] if until else [])):
            if name not in names:
                raise ConfigError(f"there is no stage {name!r}; this run has {', '.join(names)}")
        with locked(self.workdir):
            write_json(self.workdir / "config.json", dataclasses.asdict(self.config))
            gone = [] if self._model_is_there() else ["export"]
            self._runner = StageRunner(self.workdir)
            self._runner.forget(stages, [*force, *gone])
            for stage in stages:
                outcome = self._runner.run(stage)
                if stage.name == until:
                    break
        return outcome

    def stages(self) -> list[Stage]:
        """All stages, in the order in which they run."""
        config = self.config
        external = [teacher.logits for teacher in config.teachers.values() if teacher.logits]
        data = config.data
        files = [*data.train, *data.valid, *data.test, *data.unlabelled, *data.offers.files, *data.offers.titles]
        files += sum(external, ())
        if not (data.train or data.offers.files):
            raise ConfigError("data.train names no file; a run needs judged rows")
        reading = [tuning_settings(config.data), external, file_identity(files)]
        stages = [Stage("data", reading, (), self._data, _data_content, _data_parts)]
        for name, teacher in config.teachers.items():
            settings: list[Any] = [tuning_settings(teacher), _dict(config.label)]
            if teacher.logits:  # the scores themselves, which no table of the data stage holds
                settings.append(file_identity(teacher.logits))
            inputs: tuple[str, ...] = ("data",)
            if teacher.preset:
                tuning = [tuning_settings(teacher), folder_identity(teacher.preset), *changed_reading(teacher.preset)]
                tutors: tuple[str, ...] = ("data:judged",)  # more unjudged text leaves a teacher as it is
                if (adapted := self._adapted(name)) is not None:
                    stage = f"adapted/{adapted}"
                    if adapted == name:
                        shared = [adapt_settings(teacher), *tuning[1:]]
                        stages.append(Stage(stage, shared, ("data",), self._adapt(name)))
                    tutors = ("data:judged", stage)
                stages.append(Stage(f"teachers/{name}", tuning, tutors, self._teacher(name)))
                inputs = (f"teachers/{name}", "data")
            stages.append(Stage(f"logits/{name}", settings, inputs, self._logits(name)))
        logits = tuple(f"logits/{name}" for name in config.teachers)
        if (tutor := self._tutor) is not None:
            teacher_stage = f"teachers/{tutor}"
            hashing = [config.student.max_tokens, HASH_SPEC, *config.student.affixes]
            stages.append(Stage("words", hashing, (teacher_stage, "data"), self._words))
            logits += ("words",)
        training = [tuning_settings(config.student), tuning_settings(config.training), HASH_SPEC]
        stages.append(Stage("student", [*training, _dict(config.distill)], ("data", *logits), self._student))
        if config.report.labels_only:
            stages.append(Stage("labels_only", training, ("data:judged",), self._labels_only))
        stages.append(Stage("compress", _dict(config.compress), ("student",), self._compress))
        stages.append(Stage("export", [_dict(config.export), self.name], ("compress",), self._export))
        last = tuple(stage.name for stage in stages)
        stages.append(Stage("report", _dict(config.report), last, self._report))
        return stages

    def _model_is_there(self) -> bool:
        done = self.workdir / "export" / DONE
        return not done.exists() or Path(read_json(done)["outcome"]["model"]).exists()

    def _adapted(self, name: str) -> str | None:
        """The first teacher that adapts its encoder as this one does: they share it. None where it is not adapted."""
        teachers = self.config.teachers
        if not (teachers[name].preset and teachers[name].adapt.rows):
            return None
        wanted = adapt_settings(teachers[name])
        return next(other for other, teacher in teachers.items() if adapt_settings(teacher) == wanted)

    @property
    def _tutor(self) -> str | None:
        """The teacher whose word vectors the student starts from: the first that is a model."""
        models = [name for name, teacher in self.config.teachers.items() if teacher.preset]
        return models[0] if models and self.config.student.teacher_init else None

    @property
    def name(self) -> str:
        """The exported model's name."""
        return self.config.export.name or self.config.name

    # The stages' work. Heavy imports stand where they are needed: a run whose stages are done answers at once.

    def _data(self, folder: Path) -> dict[str, Any]:
        external = [teacher.logits for teacher in self.config.teachers.values() if teacher.logits]
        return prepare(self.config.data, folder, external, progress=self.progress)

    def _adapt(self, name: str) -> Any:
        def work(folder: Path) -> dict[str, Any]:
            from tfb2d.teachers.adapt import adapt

            return adapt(self.config.teachers[name], self.workdir / "data", self.task, folder)

        return work

    def _teacher(self, name: str) -> Any:
        def work(folder: Path) -> dict[str, Any]:
            from tfb2d.teachers.fine_tune import fine_tune

            adapted = self._adapted(name)
            encoder = None if adapted is None else self.workdir / "adapted" / adapted
            return fine_tune(self.config.teachers[name], self.workdir / "data", self.task, folder, adapted=encoder)

        return work

    def _logits(self, name: str) -> Any:
        config = self.config.teachers[name]

        def work(folder: Path) -> dict[str, Any]:
            parts = {split: folder if split == "transfer" else folder / split for split in SPLITS}
            data = self.workdir / "data"
            if config.logits:
                from tfb2d.teachers.external import attach_splits

                splits = {split: (data / split, out) for split, out in parts.items()}
                return attach_splits(config, self.task, splits, self.config.data.max_rejected)
            from tfb2d.teachers.label import label_folder

            last = last_of(folder)
            for split, out in parts.items():
                earlier = last / out.relative_to(folder)
                label_folder(self.workdir / "teachers" / name, data / split, out, self.config.label, earlier=earlier)
            return {split: count_rows(out) for split, out in parts.items()}

        return work

    def _words(self, folder: Path) -> dict[str, Any]:
        from tfb2d.teachers.teacher import load_teacher
        from tfb2d.word_vectors import write_word_vectors

        teacher = load_teacher(self.workdir / f"teachers/{self._tutor}")
        transfer = self.workdir / "data/transfer"
        student = self.config.student
        found = write_word_vectors(teacher, transfer, self.task, student.max_tokens, folder, student.affixes)
        return {"words": found}

    def _student(self, folder: Path) -> dict[str, Any]:
        from tfb2d.distill.targets import fit, soft_rows
        from tfb2d.word_vectors import FILE

        data, logits = self.workdir / "data", [self.workdir / "logits" / name for name in self.config.teachers]
        labels = _labels(data / "valid")
        stack = fit(self.config.distill, [one / "valid" for one in logits], self.task, labels)
        source = soft_rows(data / "transfer", logits, self.task, stack, self.config.distill)
        words = self.workdir / "words" / FILE if self._tutor else None
        outcome = self._train(folder, source, count_rows(data / "transfer"), words)
        return {**outcome, "stack": dataclasses.asdict(stack)}

    def _labels_only(self, folder: Path) -> dict[str, Any]:
        from tfb2d.distill.targets import hard_rows

        data = self.workdir / "data"
        return self._train(folder, hard_rows(data / "train", self.task), count_rows(data / "train"), None)

    def _train(self, folder: Path, source: Any, total: int, words: Path | None) -> dict[str, Any]:
        from safetensors.numpy import load_file

        from tfb2d.distill.targets import hard_rows
        from tfb2d.evaluation.calibration import calibrate
        from tfb2d.students.model import Student
        from tfb2d.students.rows import hash_rows
        from tfb2d.students.training import Trainer

        config, valid = self.config.student, self.workdir / "data/valid"
        rows = hash_rows(source, folder / "rows", config.max_tokens, total, self.progress, config.affixes)
        valid_rows = hash_rows(
            hard_rows(valid, self.task), folder / "valid_rows", config.max_tokens, None, False, config.affixes
        )
        student = Student(self.task, config, self.config.training.seed)
        student.learn_vocabulary(rows)
        if words is not None:
            found = load_file(words)
            student.start_from(found["hashes"], found["vectors"])
        trainer = Trainer(student, rows, valid_rows, self.config.training, folder)
        history = trainer.fit(self.progress)
        student.silence(trainer.table_optimizer.untouched(student.ngrams.table))
        valid_logits = trainer.logits(valid_rows)
        calibration = calibrate(
            self.task, _labels(valid), valid_logits[:, 0] if self.task.n_logits == 1 else valid_logits
        )
        student.save(folder)
        trainer.discard()
        rows.discard()  # as large as the texts, and made again if need be
        valid_rows.discard()
        return {"rows": rows.n, "calibration": calibration.to_json(), "history": history}

    def _compress(self, folder: Path) -> dict[str, Any]:
        from tfb2d.compressing import compress

        return compress(self, folder)

    def _export(self, folder: Path) -> dict[str, Any]:
        from tfb2d.serving.export import export, folder_megabytes
        from tfb2d.students.model import WEIGHTS, load_student

        source = self.workdir / "compress"
        calibration = read_json(source / DONE)["outcome"]["calibration"]
        transfer = next(iter_batches(self.workdir / "data/transfer", self.task.fields, self.config.export.warmup_rows))
        weights = hashlib.sha256((source / WEIGHTS).read_bytes()).hexdigest()
        version = export(
            load_student(source),
            Path(self.config.export.folder).resolve() / self.name,
            scale=calibration["scale"],
            bias=calibration["bias"],
            warmup=[transfer.column(name).to_pylist() for name in self.task.fields],
            fingerprint=fingerprint(weights, calibration, HASH_SPEC, __version__, self.config.export.edge),
            edge="int8" if self.config.export.edge else "",
        )
        return {"model": str(version), "megabytes": folder_megabytes(version)}

    def _report(self, folder: Path) -> dict[str, Any]:
        from tfb2d.reporting import report

        return report(self, self._runner.seconds(), folder)


def _data_content(folder: Path) -> str:
    """Of what the other stages read."""
    parts = [part for split in ("train", *SPLITS) for part in part_files(folder / split)]
    return fingerprint_files([folder / "task.json", *parts])


def _data_parts(folder: Path) -> dict[str, str]:
    judged = [part for split in ("train", "valid", "test") for part in part_files(folder / split)]
    return {"judged": fingerprint_files([folder / "task.json", *judged])}


def _labels(folder: Path) -> np.ndarray:
    return read_table(folder, ["label"]).column("label").to_numpy().astype(np.float64)


def _dict(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)
