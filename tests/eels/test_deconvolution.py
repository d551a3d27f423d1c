"""Plural scattering taken out: closed forms, stated noise, and eXSpy's results."""

import warnings

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from interphase.core_loss import import_exspy
from interphase.eels import elastic_peak, fourier_log, fourier_ratio
from interphase.errors import ParameterError

ENERGY = np.arange(-20.0, 380.0, 0.5)
SINGLE = 0.5 * norm.pdf(ENERGY, 20, 3)
SHAPE = 0.5 * norm.pdf(ENERGY, 0, 0.6)


def low_loss(thickness, electrons=1.0):
    """Low losses of a film, orders added one by one, and their zero-loss peak."""
    total, weight = np.zeros_like(ENERGY), 1.0
    for order in range(0, 14):
        width = np.sqrt(0.36 + order * (9 - 0.36))
        total += weight * 0.5 * norm.pdf(ENERGY, 20 * order, width)
        weight *= thickness / (order + 1)
    scale = electrons * np.exp(-thickness)
    return scale * total, scale * SHAPE


@settings(deadline=None, max_examples=20)
@given(thickness=st.floats(0.05, 4.0))
def test_single_scattering_comes_back_whatever_the_thickness(thickness):
    # Beyond t/λ of about π the principal branch of the logarithm folds.
    spectrum, peak = low_loss(thickness, 1e12)
    result = fourier_log(spectrum, peak)
    expected = thickness * peak.sum() * SINGLE / SINGLE.sum()
    assert np.abs(result.counts - expected).max() < 2e-3 * expected.max()


def test_the_stated_noise_is_the_noise(rng):
    spectrum, peak = low_loss(0.8, 1e7)
    results = [fourier_log(rng.poisson(spectrum), peak) for _ in range(300)]
    spread = np.std([result.counts for result in results], axis=0)
    stated = results[0].error
    inside = (ENERGY > 10) & (ENERGY < 90)
    ratio = spread[inside] / stated[inside]
    assert np.median(ratio) == pytest.approx(1, abs=0.06)
    # 300 draws state a deviation within 4 %.
    assert np.mean(np.abs(ratio - 1) < 0.12) > 0.95
    mean = np.mean([result.counts for result in results], axis=0)
    expected = 0.8 * peak.sum() * SINGLE / SINGLE.sum()
    assert np.abs(mean - expected)[inside].max() < 0.02 * expected.max()


def test_an_edge_gets_rid_of_the_plasmons_behind_it():
    spectrum, peak = low_loss(1.0, 1e8)
    edge = np.where(np.arange(1500) > 200, np.exp(-(np.arange(1500) - 200) / 150), 0.0)
    response = spectrum / spectrum.sum()
    recorded = np.convolve(edge, response)[40 : 40 + 1500]
    result = fourier_ratio(recorded, spectrum, peak)
    expected = np.convolve(edge, peak / spectrum.sum())[40 : 40 + 1500]
    inside = slice(0, 1200)
    assert np.abs(result.counts - expected)[inside].max() < 0.005 * expected.max()
    assert result.counts.sum() / recorded.sum() == pytest.approx(np.exp(-1), rel=0.02)


def test_the_noise_of_an_edge_is_stated(rng):
    spectrum, peak = low_loss(1.0, 1e8)
    edge = (
        400
        * np.convolve(np.where(np.arange(600) > 200, 1.0, 0.1), spectrum / spectrum.sum())[40:640]
    )
    results = [fourier_ratio(rng.poisson(edge), spectrum, peak) for _ in range(300)]
    spread = np.std([result.counts for result in results], axis=0)
    ratio = spread[50:550] / np.mean([result.error for result in results], axis=0)[50:550]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.mean(np.abs(ratio - 1) < 0.12) > 0.97


def test_a_thin_film_is_left_alone():
    spectrum, peak = low_loss(1e-3, 1e9)
    result = fourier_log(np.stack([spectrum, 2 * spectrum]), np.stack([peak, 2 * peak]))
    assert result.counts[0] == pytest.approx(spectrum - peak, abs=1e-3 * (spectrum - peak).max())
    assert result.counts[1] == pytest.approx(2 * result.counts[0], abs=1e-6 * spectrum.max())


def test_the_peak_is_continued_under_the_losses():
    spectrum, peak = low_loss(0.5, 1e6)
    found = elastic_peak(spectrum, ENERGY, cut_ev=6.0)
    assert found.sum() == pytest.approx(peak.sum(), rel=1e-4)
    with pytest.raises(ParameterError, match="cut_ev is 1000"):
        elastic_peak(spectrum, ENERGY, cut_ev=1000.0)


def test_lazy_spectra_give_the_same_once_they_are_computed(rng):
    thin, thick = low_loss(0.3, 1e7), low_loss(1.2, 1e7)
    spectra, peaks = (
        np.array([[one, other, one], [other, other, one]])
        for one, other in zip(thin, thick, strict=True)
    )
    counts = rng.poisson(spectra)
    lazy = da.from_array(counts, chunks=(1, 2, 300))
    for beside in (peaks, da.from_array(peaks, chunks=(2, 1, -1)), peaks[0, 0]):
        computed, eager = fourier_log(lazy, beside), fourier_log(counts, np.asarray(beside))
        for name in ("counts", "error", "noise_gain"):
            values = getattr(computed, name)
            assert values.chunks[:2] == ((1, 1), (2, 1))
            assert values.compute() == pytest.approx(getattr(eager, name), rel=1e-9, abs=1e-9)
    single = fourier_log(counts[0, 1], peaks[0, 1])
    assert fourier_log(counts, peaks).counts[0, 1] == pytest.approx(single.counts, rel=1e-9)

    edge = rng.poisson(200, (2, 3, 500))
    for low, peak in ((lazy, peaks), (spectra[0, 0], peaks[0, 0]), (counts, peaks[0, 0])):
        for variance in (None, 2.0 * edge):
            whole = fourier_ratio(edge, np.asarray(low), peak, variance=variance)
            part = fourier_ratio(
                da.from_array(edge, chunks=(2, 1, 250)), low, peak, variance=variance
            )
            for name in ("counts", "error", "noise_gain"):
                values = getattr(part, name).compute()
                assert values == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-9)
    assert whole.noise_gain.shape == (2, 3)


def test_thin_films_agree_with_exspy():
    spectrum, peak = low_loss(0.8, 1e8)
    signals = import_exspy().signals

    def signal(data):
        axis = {"name": "E", "size": len(data), "offset": -20.0, "scale": 0.5, "units": "eV"}
        return signals.EELSSpectrum(data, axes=[axis])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = signal(spectrum).fourier_log_deconvolution(signal(peak)).data
    ours = fourier_log(spectrum, peak).counts
    inside = (ENERGY > 5) & (ENERGY < 300)
    assert ours[inside] == pytest.approx(theirs[inside], abs=1e-3 * theirs.max())


def test_impossible_peaks_are_refused():
    spectrum, peak = low_loss(0.5, 1e6)
    with pytest.raises(ParameterError, match="more than the spectrum"):
        fourier_log(spectrum, 3 * peak)
    with pytest.raises(ParameterError, match="holds no counts"):
        fourier_ratio(spectrum, spectrum, 0 * peak)
    with pytest.raises(ParameterError, match="NaN"):
        fourier_log(spectrum * np.nan, peak)
    with pytest.raises(ParameterError, match="zero_loss has shape"):
        fourier_log(spectrum, peak[:100])
    with pytest.raises(ParameterError, match="low_loss has shape"):
        fourier_ratio(np.stack([spectrum] * 3), np.stack([spectrum] * 2), peak)
    with pytest.raises(ParameterError, match="variance has shape"):
        fourier_ratio(spectrum, spectrum, peak, variance=peak[:100])
    lazy = fourier_log(da.from_array(spectrum), 3 * peak)
    with pytest.raises(ParameterError, match="more than the spectrum"):
        lazy.counts.compute()
