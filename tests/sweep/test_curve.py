"""The learning curve finds a law that it was made from, and is as unsure as its points."""

import numpy as np
import pytest

from tfb2d.sweep.curve import fit, learning_curve

ROWS = np.array([1e4, 2e4, 4e4, 1e5, 3e5, 1e6])


@pytest.mark.parametrize(("floor", "scale", "rate"), [(0.1, 2.0, 0.3), (0.0, 1.0, 0.15), (0.12, 60.0, 0.7)])
def test_it_finds_the_law(floor: float, scale: float, rate: float) -> None:
    fitted = fit(ROWS, (floor + scale * ROWS**-rate)[None])
    further = floor + scale * 1e7**-rate
    assert fitted([1e7])[0, 0] == pytest.approx(further, abs=2e-3)
    assert fitted.rate[0] == pytest.approx(rate, rel=0.15)


def test_errors_that_do_not_fall_give_a_flat_curve() -> None:
    fitted = fit(ROWS, np.linspace(0.1, 0.2, len(ROWS))[None])
    assert fitted([1e7])[0, 0] == pytest.approx(fitted([1e4])[0, 0])


def test_what_ten_times_more_buys_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    law = 0.1 + 2.0 * ROWS**-0.3
    samples = [np.clip(error + rng.normal(0, 0.004, (3, 300)), 0, 1) for error in law]
    figures = learning_curve(ROWS, [[error] * 3 for error in law], samples)
    gain, (low, high) = figures["times10"]["gain"]["value"], figures["times10"]["gain"]["ci95"]
    assert gain == pytest.approx(2.0 * (1e6**-0.3 - 1e7**-0.3), abs=2e-3)
    assert 0 <= low < gain < high < 0.1
    assert figures["band"]["rows"][-1] == pytest.approx(1e7)
    assert all(a <= b for a, b in zip(figures["band"]["low"], figures["band"]["high"], strict=True))


def test_resamples_without_the_figure_are_left_out_and_a_split_without_it_has_no_curve() -> None:
    rng = np.random.default_rng(0)
    law = 0.1 + 2.0 * ROWS**-0.3
    samples = [np.clip(error + rng.normal(0, 0.004, (2, 100)), 0, 1) for error in law]
    samples[1][0, :10] = np.nan
    figures = learning_curve(ROWS, [[error] * 2 for error in law], samples)
    assert np.isfinite([*figures["floor"]["ci95"], *figures["times10"]["gain"]["ci95"], *figures["band"]["low"]]).all()
    samples[2][:, :60] = np.nan
    assert learning_curve(ROWS, [[error] * 2 for error in law], samples)["floor"]["ci95"] is None
    with pytest.raises(ValueError, match="no such figure"):
        learning_curve(ROWS, [[np.nan] * 2 for _ in law], samples)


def test_three_sizes_are_too_few() -> None:
    with pytest.raises(ValueError, match="needs 4"):
        fit(ROWS[:3], np.ones((1, 3)))
