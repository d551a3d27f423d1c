"""Gain and read noise from the scatter of spectra of known detectors."""

import dask.array as da
import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.eels import estimate_detector
from interphase.simulation import (
    Detector,
    EnergyAxis,
    Spectrometer,
    Transfer,
    record_spectra,
    spectrum_image,
)

SPREAD = Transfer(at_half_nyquist=0.8, at_nyquist=0.5)
CHANNELS = np.arange(800)
SMOOTH = np.exp(-CHANNELS / 150) + 0.5 * (CHANNELS > 300) * np.exp(-(CHANNELS - 300) / 200)
PEAK = 2 * np.exp(-0.5 * ((CHANNELS - 60) / 3) ** 2)


def spectra(rng, *, pixels, level, gain=1.0, read_noise=0.0):
    thickness = 1 + 0.3 * np.sin(np.arange(pixels) / 5)[:, None]
    counts = gain * rng.poisson(level * thickness * (SMOOTH + PEAK)).astype(float)
    return counts + rng.normal(0, read_noise, counts.shape) if read_noise else counts


@pytest.mark.parametrize(
    ("pixels", "level", "gain", "read_noise"),
    [(60, 1.0, 1.0, 0.0), (60, 0.05, 1.0, 0.0), (60, 50.0, 20.0, 30.0), (1, 5000.0, 20.0, 50.0)],
)
def test_gain_and_read_noise_are_unbiased_within_their_errors(pixels, level, gain, read_noise):
    results = [
        estimate_detector(
            spectra(
                np.random.default_rng(seed),
                pixels=pixels,
                level=level,
                gain=gain,
                read_noise=read_noise,
            )
        )
        for seed in range(40)
    ]
    pull = np.array([(noise.gain - gain) / noise.gain_error for noise in results])
    assert abs(pull.mean()) < 0.5
    assert np.mean(np.abs(pull) < 1.96) >= 0.9
    relative = np.array([noise.gain_error for noise in results]) / gain
    assert np.median(relative) < (0.1 if pixels == 1 else 0.06)
    if read_noise == 30:
        read = np.array([(n.read_noise - 30) / n.read_noise_error for n in results])
        assert abs(read.mean()) < 0.6
        assert np.mean(np.abs(read) < 1.96) >= 0.85
    elif not read_noise:
        assert np.mean([noise.read_noise == 0 for noise in results]) > 0.85


@pytest.mark.parametrize("scintillator", [False, True])
def test_cameras_of_the_simulation_are_recognised(scintillator, rng):
    optics = Spectrometer(
        beam_energy_kev=300,
        collection_semi_angle_mrad=10,
        convergence_semi_angle_mrad=10,
        resolution_fwhm_ev=0.8,
    )
    share = spectrum_image(
        {"Li2O": np.tile(np.linspace(100, 600, 20), (10, 1))},
        axis=EnergyAxis(first_ev=-20, dispersion_ev=0.25, channels=800),
        spectrometer=optics,
        energy_shift_ev=rng.uniform(-1, 1, (10, 20)),
    )
    camera = Detector()
    if scintillator:
        camera = Detector(gain=12.0, read_noise=15.0, mtf=SPREAD, ntf=SPREAD)
    counts = record_spectra(share, electrons_per_pixel=1e5, detector=camera, rng=rng)
    noise = estimate_detector(counts)
    assert noise.assessment is Assessment.OK
    assert abs(noise.gain - camera.gain) < 3 * noise.gain_error < 0.2 * camera.gain
    assert abs(noise.read_noise - camera.read_noise) < 3 * noise.read_noise_error
    assert ("counting camera" in noise.sentence) is not scintillator
    # An electron that spreads over channels makes single ones vary less.
    assert (noise.channel_gain < 0.8 * noise.gain) is scintillator


def test_scale_and_chunks_do_not_matter(rng):
    counts = spectra(rng, pixels=48, level=20.0).reshape(6, 8, -1)
    one = estimate_detector(counts)
    scaled = estimate_detector(3.5 * counts)
    assert scaled.gain == pytest.approx(3.5 * one.gain, rel=0.02)
    lazy = estimate_detector(da.from_array(counts, chunks=(2, 4, -1)))
    assert lazy.gain == pytest.approx(one.gain, rel=1e-6)


def test_cosmic_rays_do_not_count(rng):
    counts = spectra(rng, pixels=60, level=50.0, gain=4.0)
    clean = estimate_detector(counts)
    counts[rng.integers(0, 60, 8), rng.integers(0, 800, 8)] += 5e4
    assert estimate_detector(counts).gain == pytest.approx(clean.gain, abs=2 * clean.gain_error)


def test_smoothed_and_constant_data_get_a_sentence(rng):
    from scipy.ndimage import gaussian_filter1d

    counts = spectra(rng, pixels=60, level=50.0)
    smooth = estimate_detector(gaussian_filter1d(counts, 2.0, axis=-1))
    assert smooth.assessment is Assessment.AMBIGUOUS
    assert "smoothed" in smooth.sentence
    for data in (np.full((4, 800), 7.0), np.zeros((4, 800)), np.full(800, np.nan)):
        noise = estimate_detector(data)
        assert noise.assessment is Assessment.UNUSABLE
        assert np.isnan(noise.gain)
        assert "must be given" in noise.sentence or "give gain" in noise.sentence
    assert "too few" in estimate_detector(np.ones(20)).sentence
