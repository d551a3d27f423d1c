"""Counting statistics against their definitions and against draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase import noise
from interphase.errors import ParameterError


def test_window_efficiency_of_box_and_hann():
    assert noise.window_efficiency(np.ones((8, 8))) == 1
    hann = noise.hann_window(96)
    assert noise.window_efficiency(hann) == pytest.approx(2 / 3)
    assert noise.window_efficiency(np.outer(hann, hann)) == pytest.approx(4 / 9)


def test_windows_apart_are_independent_and_windows_on_top_of_each_other_are_one():
    hann = noise.hann_window(64)
    assert noise.effective_spectra(hann, step=64, count=7) == pytest.approx(7)
    assert noise.effective_spectra(np.ones(10**4), step=1, count=5) == pytest.approx(1, abs=1e-3)


def test_effective_spectra_predict_the_scatter_of_averaged_power(rng):
    size, step, count = 32, 12, 5
    window = noise.hann_window(size)
    expected = noise.effective_spectra(window, step=step, count=count)
    signal = rng.normal(size=(4000, size + step * (count - 1)))
    parts = np.stack([signal[:, i * step : i * step + size] for i in range(count)])
    power = np.mean(np.abs(np.fft.rfft(parts * window, axis=-1)[..., 6]) ** 2, axis=0)
    assert power.mean() ** 2 / power.var() == pytest.approx(expected, rel=0.08)


@settings(deadline=None)
@given(st.floats(0, 500), st.floats(1, 50))
def test_tail_probability_falls_with_power(power, spectra):
    here = noise.tail_probability(power, spectra)
    assert 0 <= noise.tail_probability(power + 0.5, spectra) <= here <= 1


def test_tail_of_an_average_matches_draws(rng):
    draws = rng.exponential(size=(20000, 4)).mean(axis=1)
    for power in (1.0, 2.0, 2.5):
        expected = noise.tail_probability(power, 4)
        scatter = 4 * np.sqrt(expected / 20000)
        assert np.mean(draws > power) == pytest.approx(expected, abs=scatter)


@settings(deadline=None)
@given(st.floats(1e-300, 1e-20), st.floats(1, 1e6))
def test_many_places_multiply_a_tiny_probability(p_value, places):
    assert noise.p_anywhere(p_value, places) == pytest.approx(p_value * places, rel=1e-9)


def test_certainty_stays_certain_and_nowhere_is_never():
    assert noise.p_anywhere(np.array([0.0, 1.0]), 10).tolist() == [0, 1]
    assert noise.p_anywhere(0.3, 0) == 0
    assert noise.p_anywhere(1.0, 0) == 0
    assert noise.p_anywhere(0.5, 2) == pytest.approx(0.75)


@settings(deadline=None)
@given(st.floats(1e-6, 0.5), st.floats(1, 1e7), st.floats(1, 30))
def test_threshold_gives_back_its_false_alarm_rate(false_alarm, places, spectra):
    threshold = noise.detection_threshold(
        false_alarm=false_alarm, places=places, effective_spectra=spectra
    )
    p = noise.p_anywhere(noise.tail_probability(threshold, spectra), places)
    assert p == pytest.approx(false_alarm, rel=1e-5)


def test_detection_without_signal_is_the_false_alarm():
    assert noise.detection_probability(0.0, 3.0) == pytest.approx(np.exp(-3), rel=1e-6)


def test_detection_probability_matches_draws(rng):
    amplitude = rng.normal(size=(2, 20000, 3)) / np.sqrt(2)
    amplitude[0] += np.sqrt(4.0)
    power = np.mean(np.sum(amplitude**2, axis=0), axis=1)
    expected = noise.detection_probability(4.0, 5.5, 3)
    assert np.mean(power > 5.5) == pytest.approx(expected, abs=0.015)


@settings(deadline=None)
@given(st.floats(0, 60), st.floats(0, 60))
def test_stronger_fringes_are_found_more_often(one, other):
    weak, strong = sorted([one, other])
    assert noise.detection_probability(weak, 9.0) <= noise.detection_probability(strong, 9.0) + 1e-9


def test_poisson_interval_covers_at_least_what_it_promises(rng):
    for mean in (0.5, 3.0, 20.0):
        low, high = noise.poisson_interval(rng.poisson(mean, size=3000), confidence=0.9)
        assert np.mean((low <= mean) & (mean <= high)) > 0.89


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise.hann_window(1), "size is 1"),
        (lambda: noise.effective_spectra(np.ones(4), step=0, count=2), "step is 0"),
        (lambda: noise.tail_probability(1.0, 0), "effective_spectra is 0"),
        (lambda: noise.p_anywhere(0.1, -1), "places is -1"),
        (lambda: noise.detection_threshold(false_alarm=0, places=9), "false_alarm is 0"),
        (lambda: noise.rose_dose(contrast=0, feature_size_a=2), "contrast is 0"),
        (lambda: noise.poisson_interval(np.array([-2])), "the smallest of counts is -2"),
        (lambda: noise.poisson_interval(np.array([2]), confidence=1), "confidence is 1"),
    ],
)
def test_impossible_values_are_refused_by_name(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
