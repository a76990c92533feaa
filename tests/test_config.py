"""Settings: checked when built; a wrong one is answered with the nearest right one."""

import pytest

from tfb2d.cli.recipes import override
from tfb2d.config import (
    AugmentConfig,
    Config,
    ConfigError,
    DataConfig,
    DistillConfig,
    OffersConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from tfb2d.config.mapping import changed_settings


def one(**changes: object) -> Config:
    return Config(teachers={"t": TeacherConfig(preset="p")}, **changes)


def test_round_trip() -> None:
    config = one(data=DataConfig(train=("a.tsv",), classes=("no", "yes")), student=StudentConfig(orders=(1, 2, 3)))
    assert Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"student": {"dmi": 3}}, r"student.dmi; did you mean student.'dim'"),
        ({"teachers": {"t": {"preset": "p", "epoch": 3}}}, r"teachers.t.epoch; did you mean teachers.t.'epochs'"),
        ({"student": {"dim": "wide"}}, "student.dim is 'wide'; it takes int"),
        ({"nonsense": 1}, "there is no setting nonsense; there are name, models, data"),
    ],
)
def test_wrong_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({"teachers": {"t": {"preset": "p"}}, **change})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Config(), "needs at least one"),
        (lambda: Config(teachers={"a/b": TeacherConfig(preset="p")}), "folder's"),
        (lambda: one(distill=DistillConfig(stack="weighted", weights=(1.0, 2.0))), "2 numbers, 1 teachers"),
        (lambda: DistillConfig(stack="weighted"), "goes with"),
        (lambda: DistillConfig(temperature=0.0), "above 0"),
        (lambda: TeacherConfig(), "one of `preset`, `logits` and `students`"),
        (lambda: TeacherConfig(preset="p", warmup=1.0), "share"),
        (lambda: DataConfig(fields=()), "a single text or"),
        (lambda: DataConfig(fields=("a", "a")), "twice"),
        (lambda: DataConfig(fields=("a",), label="a"), "also a text field"),
        (lambda: DataConfig(classes=("a",)), "a single name"),
        (lambda: DataConfig(classes=("a", "b"), label_range=(0.0, 1.0)), "exclude"),
        (lambda: DataConfig(label_range=(3.0, 1.0)), "lowest, highest"),
        (lambda: DataConfig(valid_fraction=0.5, test_fraction=0.5), "leave no train"),
        (lambda: DataConfig(fields=("q", "t"), augment=AugmentConfig(sentences=True)), "two fields"),
        (lambda: AugmentConfig(mask=1.5), "probability"),
        (lambda: StudentConfig(orders=(2, 1)), "must rise"),
        (lambda: StudentConfig(buckets=2**31), "2\\^31"),
        (lambda: StudentConfig(convolutions=(1, 2)), "goes with student.window"),
        (lambda: StudentConfig(vocabulary=10), "goes with student.window"),
        (lambda: StudentConfig(affixes=(5, 3)), "goes with student.window"),
        (lambda: StudentConfig(window=3, affixes=(5,)), r"\(prefix, suffix\)"),
        (lambda: one(student=StudentConfig(spelling=True)), "student.spelling corrects queries"),
        (lambda: StudentConfig(window=3, affixes=(5, 0)), "above 0"),
        (lambda: StudentConfig(window=3, vocabulary=10, buckets=35), "takes 36 rows"),
        (lambda: StudentConfig(window=3, convolutions=(1, 0)), "1 or more"),
        (lambda: StudentConfig(window=3, convolution_width=9), "goes with student.convolutions"),
        (lambda: StudentConfig(window=3, convolutions=(1,), convolution_width=-1), "0 or more"),
        (lambda: StudentConfig(window=3, convolutions=(256,)), "below student.max_tokens"),
        (lambda: TrainingConfig(epochs=0), "above 0"),
    ],
)
def test_settings_that_cannot_work(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_convolutions_that_are_off_leave_finished_students_done() -> None:
    assert changed_settings(StudentConfig(window=3)) == {"window": 3}
    wide = changed_settings(StudentConfig(window=3, convolutions=(1, 2), convolution_width=9))
    assert wide == {"window": 3, "convolutions": (1, 2), "convolution_width": 9}
    assert changed_settings(TeacherConfig(preset="x", checkpoint_seconds=1.0)) == {"preset": "x"}


def test_a_renamed_setting_is_read_by_its_former_name_and_leaves_finished_work_done() -> None:
    config = one(data=DataConfig(augment=AugmentConfig(labelled=True), offers=OffersConfig(labelled=7)))
    former = {"augment": {"judged": True}, "offers": {"judged": 7}}
    assert Config.from_dict({"teachers": {"t": {"preset": "p"}}, "data": former}) == config
    assert changed_settings(config.data) == former  # as fingerprints of earlier versions have it
    recipe = config.to_dict()
    override(recipe, ["--config.data.offers.judged=9", "--noconfig.data.augment.judged"])
    assert changed_settings(Config.from_dict(recipe).data) == {"offers": {"judged": 9}}
