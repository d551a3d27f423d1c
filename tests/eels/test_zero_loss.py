"""Places of zero-loss peaks: at the bound that counting sets, and nothing where there is none."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from interphase.assessment import Assessment
from interphase.eels import align_dual, aligned_mean, find_zero_loss, shift_spectra
from interphase.errors import ParameterError

ENERGY = np.arange(-20.0, 100.0)


def peaks(electrons: float, sigma: float, places: np.ndarray, energy: np.ndarray = ENERGY):
    step = energy[1] - energy[0]
    edges = np.append(energy - step / 2, energy[-1] + step / 2)
    return electrons * np.diff(norm.cdf((edges - places[:, None]) / sigma), axis=1)


@pytest.mark.parametrize("sigma", [0.4, 0.8, 2.0])
def test_a_hundred_electrons_place_the_peak_as_well_as_any_method_can(sigma, rng):
    places = rng.uniform(-3, 3, 3000)
    expected = peaks(100, sigma, places)
    found = find_zero_loss(rng.poisson(expected), ENERGY)
    assert np.isfinite(found.position_ev).all()
    rms = float(np.sqrt(np.mean((found.position_ev - places) ** 2)))
    # Cramér and Rao: one over the root of Fisher's information, channels as they are.
    slope = (peaks(100, sigma, places + 1e-3) - peaks(100, sigma, places - 1e-3)) / 2e-3
    information = (slope**2 / np.maximum(expected, 1e-12)).sum(axis=1)
    bound = float(np.sqrt(np.mean(1 / information)))
    assert rms < 1.06 * bound
    if sigma == 0.4:
        assert rms < 0.0525
        assert bound == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 0.0), (20.0, 0.0), (20.0, 40.0)])
def test_the_stated_errors_cover_gain_and_read_noise(gain, read_noise, rng):
    places = rng.uniform(-2, 2, 1500)
    counts = gain * rng.poisson(peaks(500, 1.5, places)) + rng.normal(0, read_noise, (1500, 120))
    found = find_zero_loss(counts, ENERGY, gain=gain, read_noise=read_noise)
    pull = (found.position_ev - places) / found.error_ev
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.683, abs=0.04)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.02)
    assert abs(np.mean(pull)) < 0.1
    assert np.median(found.electrons) == pytest.approx(500, rel=0.03)


@settings(deadline=None, max_examples=15)
@given(place=st.floats(-8, 8), sigma=st.floats(0.5, 4), step=st.floats(0.05, 1))
def test_an_expected_spectrum_has_its_peak_where_it_was_put(place, sigma, step):
    energy = (np.arange(400) - 150) * step
    found = find_zero_loss(
        peaks(1e5, sigma * step, np.array([place * step]), energy), energy, search_ev=(-200, 200)
    )
    assert found.position_ev[0] == pytest.approx(place * step, abs=0.02 * sigma * step)
    assert found.fwhm_ev == pytest.approx(2.355 * sigma * step, rel=0.05)


def test_losses_move_peaks_by_less_than_the_error_of_one(rng):
    places = rng.uniform(-2, 2, 400)
    loss = 60 * norm.pdf(ENERGY - places[:, None], 22, 6)
    found = find_zero_loss(rng.poisson(peaks(2000, 1.0, places) + 10 * loss), ENERGY)
    assert np.abs(np.mean(found.position_ev - places)) < np.median(found.error_ev) < 0.025


def test_unaligned_spectra_and_a_wrong_axis_are_said(rng):
    good = find_zero_loss(rng.poisson(peaks(500, 1.0, rng.uniform(-0.2, 0.2, 80))), ENERGY)
    assert "align" not in good.sentence
    assert "axis is off" not in good.sentence
    off = find_zero_loss(rng.poisson(peaks(500, 1.0, rng.uniform(2, 8, 80))), ENERGY)
    assert "align the spectra" in off.sentence
    assert "the axis is off: the peak lies at" in off.sentence


def test_chunks_do_not_change_a_place(rng):
    counts = rng.poisson(peaks(300, 1.0, rng.uniform(-2, 2, 24))).reshape(4, 6, -1)
    whole = find_zero_loss(counts, ENERGY)
    lazy = find_zero_loss(da.from_array(counts, chunks=(3, 2, -1)), ENERGY)
    assert lazy.position_ev == pytest.approx(whole.position_ev, abs=2e-3)


def test_a_dark_spectrum_is_left_without_a_place(rng):
    counts = rng.poisson(peaks(500, 1.0, np.zeros(50)))
    counts[7] = 0
    counts[9] = rng.poisson(5, 120)
    found = find_zero_loss(counts, ENERGY)
    assert np.flatnonzero(np.isnan(found.position_ev)).tolist() == [7, 9]
    assert found.electrons[[7, 9]].tolist() == [0, 0]
    assert "in 4.0 % of the spectra it is not found" in found.sentence


def test_spectra_without_a_peak_get_a_sentence(rng):
    core = rng.poisson(1e4 * np.exp(-np.arange(400) / 100), (5, 400)).astype(float)
    for energy in (np.arange(300.0, 700.0), np.arange(-10.0, 390.0)):
        found = find_zero_loss(core, energy)
        assert found.assessment is Assessment.UNUSABLE
        assert np.isnan(found.position_ev).all()
        assert ("after the" if energy[0] > 0 else "no zero-loss peak") in found.sentence


def test_an_axis_that_is_none_is_refused():
    counts = np.ones((3, 100))
    with pytest.raises(ParameterError, match="keV or channel"):
        find_zero_loss(counts, np.linspace(-0.01, 0.3, 100))
    with pytest.raises(ParameterError, match="expected even ones"):
        find_zero_loss(counts, np.geomspace(1, 100, 100))
    with pytest.raises(ParameterError, match="gain is 0"):
        find_zero_loss(counts, np.arange(100.0), gain=0)


@settings(deadline=None, max_examples=20)
@given(shift=st.floats(-5, 5))
def test_a_shift_keeps_counts_and_their_mean_energy(shift):
    counts = np.zeros(60)
    counts[25:35] = np.arange(10)
    moved = np.nan_to_num(shift_spectra(counts, np.array(shift), dispersion_ev=1.0))
    energy = np.arange(60)
    assert moved.sum() == pytest.approx(counts.sum())
    assert energy @ moved / moved.sum() == pytest.approx(energy @ counts / counts.sum() + shift)


def test_whole_channels_keep_counts_as_they_are(rng):
    counts = rng.poisson(3.0, (4, 50)).astype(float)
    moved = shift_spectra(counts, np.full(4, 2.3), dispersion_ev=1.0, whole_channels=True)
    assert np.array_equal(moved[:, 2:], counts[:, :-2])
    assert np.isnan(moved[:, :2]).all()
    with pytest.raises(ParameterError, match="one shift for each spectrum"):
        shift_spectra(counts, np.zeros(3), dispersion_ev=1.0)


@pytest.mark.parametrize("kind", [">f4", "<f4", ">u2", "f2", "i8"])
def test_numbers_of_any_kind_are_moved_and_added_up(kind, rng):
    counts = rng.poisson(peaks(300, 1.0, np.array([-1.3, 0.0, 2.6]))).astype(kind)
    shift = np.array([0.7, -1.0, np.nan])
    moved = shift_spectra(counts, shift, dispersion_ev=0.5)
    expected = shift_spectra(counts.astype(float), shift, dispersion_ev=0.5)
    assert np.array_equal(moved, expected, equal_nan=True)
    assert np.isnan(moved[2]).all()
    found = find_zero_loss(counts, ENERGY)
    mean, axis = aligned_mean(counts, ENERGY, found)
    assert np.array_equal(mean, aligned_mean(counts.astype(float), ENERGY, found)[0])
    assert axis[mean.argmax()] == pytest.approx(0, abs=0.5 * (ENERGY[1] - ENERGY[0]) + 1e-9)


def test_dual_spectra_are_moved_together(rng):
    places = rng.uniform(-3, 3, 60)
    low = rng.poisson(peaks(3000, 1.0, places)).astype(float)
    core_energy = np.arange(480.0, 580.0, 0.5)
    core = 50 * norm.cdf(core_energy - 530 - places[:, None])
    found = find_zero_loss(low, ENERGY)
    low[3] = 0
    dispersions = {"low_dispersion_ev": 1.0, "core_dispersion_ev": 0.5}
    _, moved = align_dual(low, core, found, **dispersions)
    onset = [core_energy[np.flatnonzero(row >= 25)[0]] for row in np.nan_to_num(moved)]
    assert np.ptp(onset) <= 0.5
    _, lazy = align_dual(low, da.from_array(core, chunks=(20, 70)), found, **dispersions)
    assert np.array_equal(lazy.compute(), moved, equal_nan=True)
    nothing = find_zero_loss(np.ones((60, 120)), ENERGY)
    with pytest.raises(ParameterError, match="cannot be aligned: no zero-loss peak"):
        align_dual(low, core, nothing, **dispersions)
