"""Cameras count as statistics says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.simulation import (
    IDEAL_COUNTER,
    Detector,
    Transfer,
    record_counts,
    record_electrons,
)
from interphase.simulation.imaging.detectors import above_zero

FLAT = np.ones((400, 400))
SCINTILLATOR = Detector(
    dqe0=0.4,
    mtf=Transfer(at_half_nyquist=0.4, at_nyquist=0.1),
    ntf=Transfer(at_half_nyquist=0.7, at_nyquist=0.4),
    gain=12.0,
    gain_spread=0.6,
    read_noise=20.0,
)
"""An integrating camera, its figures made up for the test."""


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


@pytest.mark.parametrize("dqe0", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("gain", [1.0, 38.0])
@pytest.mark.parametrize("gain_spread", [0.0, 0.5])
def test_dqe_at_zero_frequency(dqe0, gain, gain_spread, rng):
    # DQE(0) = (mean² / variance) of the output over that of the input.
    electrons = 20.0
    detector = Detector(dqe0=dqe0, gain=gain, gain_spread=gain_spread)
    counts = record_electrons(electrons * FLAT, detector=detector, rng=rng)
    measured = counts.mean(dtype=float) ** 2 / counts.var(dtype=float) / electrons
    assert measured == pytest.approx(dqe0, rel=5 * np.sqrt(2 / FLAT.size))
    assert detector.dqe(np.zeros(1))[0] == pytest.approx(dqe0)
    seen = dqe0 * (1 + gain_spread**2) * electrons * gain
    assert counts.mean(dtype=float) == pytest.approx(seen, rel=5 / np.sqrt(dqe0 * 20 * FLAT.size))


def radial(values, bins):
    """Means of a field of frequencies in rings of the frequency over Nyquist's."""
    size = len(values)
    over_nyquist = 2 * np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    ring = np.digitize(over_nyquist, bins)
    return np.array([values[ring == i].mean() for i in range(1, len(bins))])


def test_noise_is_white_or_shaped_as_stated(rng):
    bins = np.linspace(0.05, 1.0, 11)
    for detector in (Detector(dqe0=0.5, mtf=SCINTILLATOR.mtf), SCINTILLATOR):
        counts = record_electrons(30.0 * FLAT, detector=detector, rng=rng)
        power = np.abs(np.fft.fft2(counts)) ** 2 / FLAT.size
        share = detector.detected_share
        events = share * 30 * detector.gain**2 * (1 + detector.gain_spread**2)
        over_nyquist = 2 * np.hypot(np.fft.fftfreq(400)[:, None], np.fft.fftfreq(400))
        shape = 1.0 if detector.ntf is None else detector.ntf(over_nyquist) ** 2
        expected = radial(events * shape + np.full((400, 400), detector.read_noise**2), bins)
        # The smallest ring holds about 750 independent powers, each as wide as its mean.
        np.testing.assert_allclose(radial(power, bins), expected, rtol=4.5 / np.sqrt(750))


@pytest.mark.parametrize("cycles", [20, 100, 160])
def test_dqe_of_fringes_is_the_one_stated(cycles, rng):
    # Signal to noise of fringes at the output over that of the input, both in the spectrum.
    electrons, x = 50.0, np.arange(400)
    fringes = np.broadcast_to(1 + np.cos(2 * np.pi * cycles * x / 400), (400, 400))
    counts = record_electrons(electrons * fringes, detector=SCINTILLATOR, rng=rng)
    flats = record_electrons(np.full((8, 400, 400), electrons), detector=SCINTILLATOR, rng=rng)
    signal = np.abs(np.fft.fft2(counts)[0, cycles]) ** 2
    power = np.mean(np.abs(np.fft.rfft2(flats)) ** 2, axis=0)
    near = np.hypot(np.fft.fftfreq(400)[:, None], np.fft.rfftfreq(400)) * 400
    noise = power[np.abs(near - cycles) < 2].mean()
    measured = (signal / noise) / (electrons * FLAT.size / 4)
    expected = SCINTILLATOR.dqe(np.array([cycles / 200]), electrons_per_pixel=electrons)[0]
    independent = 8 * np.sum(np.abs(near - cycles) < 2)
    assert measured == pytest.approx(expected, rel=5 / np.sqrt(independent))


def test_edge_shows_the_transfer(rng):
    edge = np.where((np.arange(400) >= 100) & (np.arange(400) < 300), 2.0, 0.2)
    image = np.broadcast_to(1e6 * edge, (400, 400))
    counts = record_electrons(image, detector=SCINTILLATOR, rng=rng).mean(axis=0)
    spread, ideal = (np.abs(np.fft.rfft(np.diff(c, append=c[0]))) for c in (counts, edge))
    seen = slice(1, 200, 2)  # where the ideal edges of both sides do not cancel
    gain = SCINTILLATOR.gain * SCINTILLATOR.detected_share * 1e6
    measured = spread[seen] / ideal[seen] / gain
    expected = SCINTILLATOR.mtf(np.arange(201)[seen] / 200)
    np.testing.assert_allclose(measured, expected, atol=0.003)


def test_uneven_counts_are_a_skew_gamma(rng):
    detector = Detector(dqe0=0.8, gain=100.0, gain_spread=0.5)
    counts = record_electrons(np.full(400_000, 1e-2), detector=detector, rng=rng)
    single = counts[counts > 0].astype(float)
    assert single.mean() == pytest.approx(100 * 1.005, rel=0.04)
    skewness = np.mean((single - single.mean()) ** 3) / single.std() ** 3
    assert skewness == pytest.approx(2 * 0.5, abs=0.2)


def counter(side):
    return Detector(dqe0=0.8, coincidence_px=side, frame_rate_hz=400.0)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("per_frame", [0.002, 0.02, 0.2])
def test_counting_loss_is_that_of_squares_with_one_count_a_frame(side, per_frame, rng):
    frames, shape = 200, (240, 240)
    counts = record_electrons(
        np.full(shape, per_frame * frames),
        detector=counter(side),
        exposure_time_s=frames / 400.0,
        rng=rng,
    )
    blocks = (frames, 2500)
    hit = rng.poisson(0.8 * per_frame * side**2, blocks) > 0
    expected = hit.sum() / 2500 / side**2
    error = np.sqrt(expected / np.prod(shape) + expected / side**2 / 2500)
    assert counts.mean(dtype=float) == pytest.approx(expected, abs=5 * error)


def test_counting_loss_vanishes_with_the_rate_and_ends_at_one_per_square(rng):
    def mean(electrons, seconds):
        return record_electrons(
            electrons * FLAT, detector=counter(3), exposure_time_s=seconds, rng=rng
        ).mean(dtype=float)

    assert mean(5.0, 1e5) == pytest.approx(0.8 * 5, rel=0.003)
    assert mean(1e6, 1.0) == pytest.approx(400 / 9, rel=0.003)


def test_fringes_within_a_square_are_lost_evenly(rng):
    # Electrons over three pixels share one fate, so fringes of that period keep their contrast.
    x = np.arange(300)
    fringes = np.broadcast_to(1 + 0.5 * np.cos(2 * np.pi * x / 3), (300, 300))
    counts = record_electrons(4000 * fringes, detector=counter(3), exposure_time_s=100.0, rng=rng)
    contrast = 2 * (counts * np.cos(2 * np.pi * x / 3)).mean() / counts.mean()
    assert counts.mean() < 0.75 * 0.8 * 4000
    assert contrast == pytest.approx(0.5, abs=5 * np.sqrt(2 / 2000 / 300**2))


def test_counting_loss_needs_the_time(rng):
    with pytest.raises(ParameterError, match="exposure_time_s is None"):
        record_counts(FLAT, dose_e_per_a2=1, pixel_size_a=1, detector=counter(3), rng=rng)


def test_a_full_pixel_holds_no_more(rng):
    detector = Detector(gain=10.0, saturation=255.0)
    counts = record_electrons(100.0 * FLAT, detector=detector, rng=rng)
    assert (counts == 255).all()


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
        ({"gain": 0.0}, r"gain is 0\.0: expected a finite number > 0"),
        ({"gain": float("inf")}, "gain is inf"),
        ({"coincidence_px": 1.5}, "coincidence_px is 1.5: expected a whole number"),
        ({"frame_rate_hz": -1.0}, "frame_rate_hz is -1"),
        ({"mtf": 0.5}, "mtf is 0.5: expected a function of frequency"),
        ({"mtf": lambda f: np.where(f > 0.5, np.nan, 1.0)}, "give ntf >= mtf"),
        ({"read_noise": -1.0}, "read_noise is -1"),
        ({"saturation": 0.0}, "saturation is 0"),
        ({"dqe0": 0.9, "gain_spread": 0.5}, r"reaches 0\.800 if it sees every electron"),
        ({"coincidence_px": 3}, "give the rate of the frames"),
        ({"mtf": lambda f: 0.5 + 0 * f}, r"mtf\(0\) is 0\.5 .* into dqe0"),
        ({"ntf": Transfer(at_half_nyquist=0.5, at_nyquist=0.2)}, "give ntf >= mtf"),
    ],
)
def test_impossible_cameras_are_refused(values, match):
    with pytest.raises(ParameterError, match=match):
        Detector(**values)


@pytest.mark.parametrize("values", [(0.4, 0.6), (1.0, 0.5), (0.5, 0.0)])
def test_transfers_that_do_not_fall_are_refused(values):
    with pytest.raises(ParameterError, match="expected values that fall"):
        Transfer(at_half_nyquist=values[0], at_nyquist=values[1])


@pytest.mark.parametrize(
    ("dose", "pixel", "match"),
    [(-1.0, 0.4, "dose_e_per_a2 is -1"), (10.0, 0.0, "pixel_size_a is 0")],
)
def test_impossible_exposures_are_refused(dose, pixel, match, rng):
    with pytest.raises(ParameterError, match=match):
        record_counts(FLAT, dose_e_per_a2=dose, pixel_size_a=pixel, rng=rng)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "of 4096 expected pixels 3 are NaN: give finite intensities >= 0"),
        (np.inf, "3 are infinite"),
        (-np.inf, "3 are infinite"),
        (-20.0, "3 are negative"),
    ],
)
@pytest.mark.parametrize("detector", [IDEAL_COUNTER, SCINTILLATOR])
def test_images_that_cannot_be_are_refused(value, said, detector, rng):
    image = np.ones((64, 64))
    image[1, 3:6] = value
    with pytest.raises(ParameterError, match=said):
        record_counts(image, dose_e_per_a2=1, pixel_size_a=1, detector=detector, rng=rng)


@pytest.mark.parametrize("time", [0.0, -1.0, np.nan])
def test_exposures_take_time(time, rng):
    with pytest.raises(ParameterError, match="exposure_time_s is"):
        record_electrons(FLAT, exposure_time_s=time, rng=rng)


def test_ringing_below_zero_keeps_the_electrons(rng):
    image = np.ones((64, 64))
    image[30, 30:33] = (-1.0, 3.0, -1.0)
    counts = record_electrons(1e6 * image, rng=rng)
    assert counts[30, 30] == counts[30, 32] == 0
    assert counts.sum(dtype=float) == pytest.approx(1e6 * image.sum(), abs=5e3 * 64)
    np.testing.assert_allclose(above_zero(image).sum(), image.sum(), rtol=1e-12)


def test_ideal_counter_is_ideal():
    assert (IDEAL_COUNTER.dqe0, IDEAL_COUNTER.mtf, IDEAL_COUNTER.read_noise) == (1.0, None, 0.0)
