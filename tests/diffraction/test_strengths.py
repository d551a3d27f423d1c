"""How strong spots are, and how often they are missed."""

import numpy as np
import pytest
from scipy import special, stats

from interphase.diffraction.strengths import STRONGEST, strength_law

S = np.exp([-0.7, 1.1, 3.0, 5.3])  # of the grid


@pytest.mark.parametrize("threshold", [4.0, 6.0, 9.0])
def test_without_spread_the_law_is_the_non_central_chi_square_law(threshold):
    law = strength_law(threshold, spread=0.02, odd=1e-6)
    rows = law.row(np.log(S))
    assert np.exp(law.missed[rows]) == pytest.approx(
        stats.ncx2.cdf(2 * threshold, 2, 2 * S), abs=0.03
    )
    column = 20
    steps = law.seen.shape[1] - 1
    r = np.exp(np.log(threshold) + law.range * column / steps)
    exact = r * np.exp(-((np.sqrt(S) - np.sqrt(r)) ** 2)) * special.ive(0, 2 * np.sqrt(S * r))
    assert law.column(np.log(r)) == column
    listed = law.seen[rows, column]
    assert np.exp(listed) == pytest.approx(exact, rel=0.12, abs=1e-6)


@pytest.mark.parametrize("threshold", [6.0, 9.0])
def test_a_reflection_is_either_listed_or_missed(threshold):
    law = strength_law(threshold)
    step = (STRONGEST - np.log(threshold)) / (law.seen.shape[1] - 1)
    listed = np.trapezoid(np.exp(law.seen), dx=step, axis=1)
    # Up to strengths of which none lies above the greatest that is tabulated.
    weak = law.row(np.array([4.0]))[0]
    assert (listed + np.exp(law.missed))[:weak] == pytest.approx(1, abs=0.01)


def test_strengths_drawn_about_a_prediction_follow_the_law(rng):
    spread, odd, predicted, threshold = 1.2, 0.08, 30.0, 6.0
    law = strength_law(threshold, spread, odd)
    s = predicted * np.exp(rng.normal(0, spread, 40000))
    r = stats.ncx2.rvs(2, 2 * s, random_state=rng) / 2
    r = np.where(rng.random(40000) < odd, np.where(rng.random(40000) < 0.5, 1.0, 1e9), r)
    row = law.row(np.log(predicted))
    assert np.exp(law.missed[row]) == pytest.approx(np.mean(r < threshold), abs=0.01)


def test_stronger_predictions_are_missed_less_often():
    law = strength_law(6.0)
    assert (np.diff(law.missed) <= 1e-6).all()
