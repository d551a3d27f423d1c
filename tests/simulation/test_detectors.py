"""Cameras count as statistics says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.simulation import IDEAL_COUNTER, Detector, movie, record_counts, record_electrons

FLAT = np.ones((400, 400))


@given(dose=st.floats(1, 3000), pixel=st.floats(0.2, 1.0), seed=st.integers(0, 2**32))
def test_ideal_counter_counts_every_electron_once(dose, pixel, seed):
    counts = record_counts(
        np.ones((100, 100)),
        dose_e_per_a2=dose,
        pixel_size_a=pixel,
        rng=np.random.default_rng(seed),
    )
    expected = dose * pixel**2
    assert counts.mean() == pytest.approx(expected, abs=6 * np.sqrt(expected / 1e4))


def test_variance_of_counting_is_the_mean(rng):
    counts = record_counts(FLAT, dose_e_per_a2=100, pixel_size_a=0.5, rng=rng)
    # The variance of the variance over the mean of n Poisson counts is about 2/n.
    assert counts.var() / counts.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / FLAT.size))


@pytest.mark.parametrize("dqe0", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("gain", [1.0, 38.0])
def test_dqe_at_zero_frequency(dqe0, gain, rng):
    # DQE(0) = (mean² / variance) of the output over that of the input.
    electrons = 20.0
    counts = record_electrons(electrons * FLAT, detector=Detector(dqe0=dqe0, gain=gain), rng=rng)
    measured = counts.mean(dtype=float) ** 2 / counts.var(dtype=float) / electrons
    assert measured == pytest.approx(dqe0, rel=5 * np.sqrt(2 / FLAT.size))


def test_read_noise_adds_its_variance(rng):
    counts = record_electrons(4.0 * FLAT, detector=Detector(gain=10.0, read_noise=15.0), rng=rng)
    assert counts.var() == pytest.approx(10**2 * 4 + 15**2, rel=0.02)


def test_transfer_lowers_fringes_and_not_the_noise(rng):
    x = np.arange(400)
    fringes = np.broadcast_to(1 + 0.5 * np.cos(2 * np.pi * x / 4), (400, 400))
    detector = Detector(mtf=lambda over_nyquist: 1 - 0.6 * over_nyquist)
    counts = record_electrons(100 * fringes, detector=detector, rng=rng)
    amplitude = 2 * (counts * np.cos(2 * np.pi * x / 4)).mean() / 100
    assert amplitude == pytest.approx(0.5 * 0.7, abs=0.002)
    assert counts.mean() == pytest.approx(100, rel=0.002)
    power = np.abs(np.fft.fft2(counts)) ** 2 / counts.sum()
    assert power[150:250, 150:250].mean() == pytest.approx(1, abs=0.05)


def test_movie_shares_the_dose_and_drifts(rng):
    y, x = np.mgrid[:64, :64]
    blob = 1 + np.exp(-((y - 20) ** 2 + (x - 30) ** 2) / 18)
    frames = movie(
        blob, dose_e_per_a2=4e7, frames=5, pixel_size_a=0.5, drift_a=(1.5, -1.0), rng=rng
    )
    assert frames.shape == (5, 64, 64)
    assert frames.sum() == pytest.approx(blob.sum() * 4e7 * 0.25, rel=1e-4)
    for i, frame in enumerate(frames):
        weight = frame / frame.max() - frame.min() / frame.max()
        weight[weight < 0.3] = 0
        assert (weight * y).sum() / weight.sum() == pytest.approx(20 + 3 * i, abs=0.05)
        assert (weight * x).sum() / weight.sum() == pytest.approx(30 - 2 * i, abs=0.05)


def test_movie_takes_a_path_of_its_own(rng):
    path = np.array([[0.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    image = np.ones((32, 32))
    image[10, 10] = 3
    kwargs = {"dose_e_per_a2": 3e6, "frames": 3, "pixel_size_a": 1.0, "rng": rng}
    places = [np.argwhere(f == f.max())[0] for f in movie(image, drift_a=path, **kwargs)]
    np.testing.assert_array_equal(places, [[10, 10], [10, 14], [12, 14]])
    with pytest.raises(ParameterError, match=r"expected \(2,\) .* or \(3, 2\)"):
        movie(image, drift_a=path[:2], **kwargs)
    with pytest.raises(ParameterError, match="expected at least 1"):
        movie(image, **(kwargs | {"frames": 0}))


def test_the_seed_fixes_the_counts():
    one, two, other = (
        record_counts(FLAT, dose_e_per_a2=3, pixel_size_a=1, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"dqe0": 0.0}, "share above 0, at most 1"),
        ({"dqe0": 1.2}, "share above 0, at most 1"),
        ({"gain": 0.0}, "counts per electron > 0"),
        ({"read_noise": -1.0}, "read_noise is -1"),
    ],
)
def test_impossible_cameras_are_refused(values, match):
    with pytest.raises(ParameterError, match=match):
        Detector(**values)


@pytest.mark.parametrize(
    ("dose", "pixel", "match"),
    [(-1.0, 0.4, "dose_e_per_a2 is -1"), (10.0, 0.0, "pixel_size_a is 0")],
)
def test_impossible_exposures_are_refused(dose, pixel, match, rng):
    with pytest.raises(ParameterError, match=match):
        record_counts(FLAT, dose_e_per_a2=dose, pixel_size_a=pixel, rng=rng)


def test_ideal_counter_is_ideal():
    assert (IDEAL_COUNTER.dqe0, IDEAL_COUNTER.mtf, IDEAL_COUNTER.read_noise) == (1.0, None, 0.0)
