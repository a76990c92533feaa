"""Axes: what is tried, that the recipe's own settings are always among it, and what cannot be answered."""

from dataclasses import replace

import numpy as np
import pytest

from tests.sweep.made_run import AUGMENTED, CONFIG, LABELLED, UNLABELLED
from tfb2d.config import ConfigError
from tfb2d.sweep.axes import axes
from tfb2d.sweep.run_data import RunData
from tfb2d.sweep.settings import ALL, Facts, base
from tfb2d.sweep.training import identity, jobs
from tfb2d.sweep.variants import AXES, count

FACTS = Facts(LABELLED, UNLABELLED, AUGMENTED, words=True, pairs=False)
PAIRS = replace(FACTS, pairs=True)
COMPOSED = replace(CONFIG, student=replace(CONFIG.student, window=3))
LETTERS = replace(CONFIG, student=replace(COMPOSED.student, vocabulary=20, affixes=(3, 2)))
WIDE = replace(CONFIG, student=replace(COMPOSED.student, convolutions=(1,), convolution_width=9))


@pytest.mark.parametrize("name", AXES)
def test_every_axis_has_the_recipe_and_something_else(name: str) -> None:
    config = {"convolutions": WIDE, "convolution_width": WIDE, "affixes": LETTERS}.get(name, CONFIG)
    (axis,) = axes([name], config, PAIRS, {"transfer": ("0", "50")} if name == "transfer" else {})
    assert sum(variant.base for variant in axis.variants) == 1
    assert len({str(variant.settings) for variant in axis.variants}) > 1
    assert len({variant.name for variant in axis.variants}) == len(axis.variants)


def test_values_are_read_as_people_write_them() -> None:
    values = {"transfer": ("0", "0.1k"), "buckets": ("2^9", "2^10"), "ffn": ("none", "8", "16-8"), "orders": ("1-2",)}
    answered = {axis.name: axis for axis in axes(list(values), CONFIG, FACTS, values)}
    assert [variant.settings.rows for variant in answered["transfer"].variants] == [0, 100, ALL]
    assert [variant.settings.student.buckets for variant in answered["buckets"].variants] == [512, 1024]
    assert [variant.settings.student.ffn for variant in answered["ffn"].variants] == [(), (8,), (16, 8)]
    assert [variant.settings.student.orders for variant in answered["orders"].variants] == [(1, 2)]


def test_what_the_run_cannot_answer_is_said_or_left_out_of_all() -> None:
    with pytest.raises(ConfigError, match="one text field"):
        axes(["interactions"], CONFIG, FACTS, {})
    with pytest.raises(ConfigError, match="no axis 'temprature'"):
        axes(["temprature"], CONFIG, FACTS, {})
    with pytest.raises(ConfigError, match=r"values=dim"):
        axes(["dim"], CONFIG, FACTS, {"dim": ("wide",)})
    with pytest.raises(ConfigError, match=r"values=dim"):
        axes(["dim"], CONFIG, FACTS, {"dim": ("0",)})
    for name, value in (("transfer", "-1"), ("dim", "1.5"), ("buckets", "2^-3"), ("vocabulary", "0")):
        with pytest.raises(ConfigError, match=f"values={name}"):
            axes([name], CONFIG, FACTS, {name: (value,)})
    with pytest.raises(ConfigError, match="does not name it"):
        axes(["dim"], CONFIG, FACTS, {"ffn": ("8",)})
    with pytest.raises(ConfigError, match="its variants are given"):
        axes(["targets"], CONFIG, FACTS, {"targets": ("soft",)})
    with pytest.raises(ConfigError, match="labelled rows alone"):
        axes(["transfer"], CONFIG, replace(FACTS, unlabelled=0, augmented=0), {})
    poor = replace(FACTS, augmented=0, words=False)
    names = [axis.name for axis in axes(["all"], CONFIG, poor, {})]
    composed = {"convolutions", "convolution_width", "affixes"}
    assert set(AXES) - set(names) == {"interactions", "augmentation", "teacher_init"} | composed


def test_a_student_that_composes_ngrams_has_no_orders() -> None:
    advice = r"orders: .*student\.window=3.*--config\.student\.window=0 --config\.student\.convolutions=\(\) --config"
    with pytest.raises(ConfigError, match=advice):
        axes(["orders"], COMPOSED, FACTS, {})
    lines: list[str] = []
    names = [axis.name for axis in axes(["all"], COMPOSED, FACTS, {}, left_out=lines.append)]
    assert set(AXES) - set(names) == {"interactions", "orders", "convolution_width", "vocabulary", "affixes"}
    assert sum("is left out" in line for line in lines) == 5
    (buckets,) = axes(["buckets"], COMPOSED, FACTS, {})
    assert "not counted" in buckets.note
    (convolutions,) = axes(["convolutions"], WIDE, FACTS, {"convolutions": ("none", "1")})
    shapes = [
        (variant.settings.student.convolutions, variant.settings.student.convolution_width)
        for variant in convolutions.variants
    ]
    assert shapes == [((), 0), ((1,), 9)]
    with pytest.raises(ConfigError, match=r"convolutions: .*student\.window=0"):
        axes(["convolutions"], CONFIG, FACTS, {})


def test_its_tokens_have_rows_of_their_own_or_share_them() -> None:
    vocabulary, affixes = axes(["vocabulary", "affixes"], LETTERS, FACTS, {"vocabulary": ("5", "20")})
    assert [(variant.settings.student.vocabulary, variant.base) for variant in vocabulary.variants] == [
        (5, False),
        (20, True),
        (0, False),
    ]
    assert [variant.settings.student.affixes for variant in affixes.variants] == [(3, 2), ()]
    with pytest.raises(ConfigError, match=r"buckets: .*--config\.student\.vocabulary=0"):
        axes(["buckets"], LETTERS, FACTS, {})
    with pytest.raises(ConfigError, match="takes 1,507 rows"):
        axes(["vocabulary"], LETTERS, FACTS, {"vocabulary": ("500",)})


def test_interactions_are_those_of_the_recipe() -> None:
    off = dict.fromkeys(("products", "differences", "matched"), False)
    config = replace(CONFIG, student=replace(CONFIG.student, **off))
    (axis,) = axes(["interactions"], config, PAIRS, {})
    assert [variant.name for variant in axis.variants] == ["all that the recipe has", "without soft match"]
    none = replace(CONFIG, student=replace(CONFIG.student, **off, soft_match=False))
    with pytest.raises(ConfigError, match="no interaction features"):
        axes(["interactions"], none, PAIRS, {})


def test_steps_are_made_equal_once() -> None:
    (axis,) = axes(["augmentation"], CONFIG, FACTS, {}, equal_steps=True)
    expected = round(CONFIG.training.epochs * (LABELLED + UNLABELLED + AUGMENTED) / (LABELLED + UNLABELLED))
    assert [variant.settings.training.epochs for variant in axis.variants] == [
        CONFIG.training.epochs,
        expected,
        expected,
    ]


def test_fewer_rows_may_have_as_many_steps() -> None:
    (axis,) = axes(["transfer"], CONFIG, FACTS, {"transfer": ("0", "50")}, equal_steps=True)
    rows = [LABELLED, LABELLED + 50, LABELLED + UNLABELLED + AUGMENTED]
    steps = [variant.settings.training.epochs * n for variant, n in zip(axis.variants, rows, strict=True)]
    np.testing.assert_allclose(steps, steps[-1], rtol=0.1)
    assert axis.variants[-1].base


def test_all_axes_but_transfer_may_be_answered_with_fewer_rows() -> None:
    dim, transfer = axes(["dim", "transfer"], CONFIG, FACTS, {"transfer": ("0", "50")}, rows=50)
    assert {variant.settings.rows for variant in dim.variants} == {50}
    assert "50 rows" in dim.note
    assert [(variant.settings.rows, variant.base) for variant in transfer.variants] == [
        (0, False),
        (50, True),
        (ALL, False),
    ]
    (augmentation,) = axes(["augmentation"], CONFIG, FACTS, {}, rows=50)
    assert len(augmentation.variants) == 2  # as many rows with and without: as many steps
    (transfer,) = axes(["transfer"], CONFIG, FACTS, {"transfer": ("0",)}, rows=50)
    assert [variant.name for variant in transfer.variants if variant.base] == ["50 rows, as the other axes"]
    with pytest.raises(ValueError, match="1 or more"):
        count("0", least=1)
    (dim,) = axes(["dim"], CONFIG, FACTS, {}, rows=10**9)
    assert {variant.settings.rows for variant in dim.variants} == {ALL}


def test_same_settings_are_trained_once_and_the_recipe_first(run_data: RunData) -> None:
    answered = axes(["temperature", "transfer", "vocabulary"], CONFIG, run_data.facts, {"transfer": ("0", "50")})
    todo = jobs(run_data, answered, 2)
    assert todo[0].names == ("recipe",)
    assert [job.seed for job in todo[:2]] == [0, 1]
    assert len({job.folder for job in todo}) == len(todo) == 2 * (5 + 2 + 3)
    assert identity(run_data, base(CONFIG)) == todo[0].key
    slower = replace(CONFIG, training=replace(CONFIG.training, checkpoint_seconds=1.0, seed=7))
    assert identity(run_data, base(slower)) == todo[0].key
