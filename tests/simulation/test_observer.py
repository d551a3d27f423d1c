"""The ideal observer keeps its false alarms, sees what counting allows, and no more."""

import numpy as np
import pytest
from scipy.special import i0e

from interphase.errors import ParameterError
from interphase.noise import detection_threshold, fringe_power_ratio
from interphase.simulation import (
    Detector,
    FringePowers,
    Transfer,
    fringe_powers,
    half_dose,
    observed_share,
)

PIXEL_A = 0.5
K = np.array([[0.25, 0.3125]])


def disc_of_fringes(contrast=0.15, size=128, diameter=30.0, film=None):
    y, x = np.mgrid[:size, :size] * PIXEL_A
    centre = size * PIXEL_A / 2
    inside = np.hypot(y - centre, x - centre) <= diameter / 2
    film = np.ones((size, size)) if film is None else film
    fringes = contrast * np.cos(2 * np.pi * (K[0, 0] * y + K[0, 1] * x) + 0.7)
    return film + fringes * inside, film, inside


def powers_of(intensity, film, **options):
    given = {"reach_a": 16.0, "spot_radius_per_a": 0.2, "pixel_size_a": PIXEL_A} | options
    return fringe_powers(intensity, film, K, centre_a=(32.0, 32.0), **given)


def test_fringes_over_noise_are_those_of_the_closed_form():
    intensity, film, inside = disc_of_fringes()
    powers = powers_of(intensity, film)
    ratio = fringe_power_ratio(
        contrast=0.15, dose_e_per_a2=200.0, area_a2=inside.sum() * PIXEL_A**2, dqe=1.0
    )
    # A disc's spot has wide wings: within the radius lie 95 % of it.
    assert powers.over_floor(200.0)[0] == pytest.approx(ratio, rel=0.06)
    assert powers.film == pytest.approx([0.0], abs=1e-12)


def test_a_camera_costs_its_efficiency_at_the_fringes_frequency():
    intensity, film, _ = disc_of_fringes()
    camera = Detector(dqe0=0.8, mtf=Transfer(at_half_nyquist=0.8, at_nyquist=0.5))
    seen = powers_of(intensity, film, detector=camera).over_floor(100.0)
    ideal = powers_of(intensity, film).over_floor(100.0)
    assert seen / ideal == pytest.approx(camera.dqe(np.linalg.norm(K, axis=1) * 2 * PIXEL_A))


def test_the_film_stands_against_the_fringes_with_its_power():
    rng = np.random.default_rng(3)
    film = 1 + 0.05 * rng.standard_normal((256, 256))
    intensity, film, _ = disc_of_fringes(size=256, film=film)
    powers = fringe_powers(
        intensity,
        film,
        K,
        centre_a=(64.0, 64.0),
        reach_a=16.0,
        spot_radius_per_a=0.2,
        pixel_size_a=PIXEL_A,
    )
    assert powers.film[0] == pytest.approx(0.05**2, rel=0.1)


def test_a_hole_in_the_film_is_no_signal():
    rng = np.random.default_rng(4)
    film = 1 + 0.05 * rng.standard_normal((256, 256))
    intensity, _, inside = disc_of_fringes(contrast=0.0, size=256, film=film)
    k = 0.4 * np.array([[np.cos(t), np.sin(t)] for t in np.arange(40) / 40 * np.pi])
    powers = [
        fringe_powers(
            np.where(inside, 1.0, intensity),
            film,
            one[None],
            centre_a=(64.0, 64.0),
            reach_a=16.0,
            spot_radius_per_a=0.04,
            pixel_size_a=PIXEL_A,
        )
        for one in k
    ]
    # Random, but on average far below what the film has in a spot of this size.
    cells = np.pi * 0.04**2 * np.pi * 15.0**2
    assert np.mean([p.signal[0] for p in powers]) < 0.4 * cells * 0.05**2


def test_fringes_finer_than_pixels_are_none():
    intensity, film, _ = disc_of_fringes()
    fine = fringe_powers(
        intensity,
        film,
        np.array([[0.9, 0.6]]),
        centre_a=(32.0, 32.0),
        reach_a=16.0,
        spot_radius_per_a=0.2,
        pixel_size_a=PIXEL_A,
    )
    assert fine.over_floor(1e4).tolist() == [0.0]


def test_images_of_different_fields_are_refused():
    intensity, film, _ = disc_of_fringes()
    with pytest.raises(ParameterError, match=r"intensity is \(128, 128\) and film is \(64, 128\)"):
        powers_of(intensity, film[:64])


@pytest.mark.parametrize("signal", [[0.0], [0.0, 0.0, 0.0]])
def test_without_a_signal_only_false_alarms_are_left(signal):
    powers = FringePowers(
        signal=np.array(signal), film=np.zeros(len(signal)), shot=np.ones(len(signal))
    )
    assert observed_share(powers, 50.0, false_alarm=0.01) == pytest.approx(0.01, rel=1e-6)


def test_half_is_seen_at_the_half_dose():
    powers = FringePowers(signal=np.array([0.5, 0.2]), film=np.array([0.01, 0.02]), shot=np.ones(2))
    for places in (1.0, 1e4):
        dose = half_dose(powers, false_alarm=0.01, places=places)
        assert observed_share(powers, dose, false_alarm=0.01, places=places) == pytest.approx(
            0.5, abs=1e-3
        )


def test_a_film_can_hide_fringes_at_any_dose():
    hidden = FringePowers(signal=np.array([1.0]), film=np.array([1.0]), shot=np.array([1.0]))
    assert half_dose(hidden, false_alarm=0.01) == np.inf


def test_nothing_is_seen_of_a_crystallite_without_planes():
    none = FringePowers(signal=np.empty(0), film=np.empty(0), shot=np.empty(0))
    assert observed_share(none, 1e4, false_alarm=0.01) == 0.0
    assert half_dose(none, false_alarm=0.01) == np.inf


def test_counted_images_are_seen_as_often_as_stated():
    dose = 1.2
    intensity, film, inside = disc_of_fringes()
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:128, :128] * PIXEL_A
    wave = inside * np.exp(-2j * np.pi * (K[0, 0] * y + K[0, 1] * x)) / np.sqrt(inside.sum())
    electrons = dose * PIXEL_A**2
    threshold = detection_threshold(false_alarm=0.01, places=1)

    def seen(expected, many=600):
        counts = rng.poisson(expected * electrons, (many, 128, 128))
        power = np.abs(np.tensordot(counts, wave, 2)) ** 2 / electrons
        return np.mean(power > threshold)

    share = observed_share(powers_of(intensity, film), dose, false_alarm=0.01)
    assert 0.3 < share < 0.9
    assert seen(intensity) == pytest.approx(share, abs=3 * np.sqrt(0.25 / 600) + 0.02)
    assert seen(film) <= 0.01 + 3 * np.sqrt(0.01 / 600)


@pytest.mark.parametrize("signal", [[1.0, 1.0], [1.0, 0.5, 0.25, 0.1], [1.0, 0.1, 0.1, 0.1, 0.1]])
def test_the_likelihood_ratio_saves_little_dose(signal):
    many = len(signal)
    powers = FringePowers(signal=np.array(signal), film=np.zeros(many), shot=np.full(many, 10.0))
    dose = half_dose(powers, false_alarm=0.01)
    saved = powers.over_floor(0.9 * dose)
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((40_000, many, 2)) @ np.array([1, 1j]) / np.sqrt(2)

    def ratio(power):
        root = 2 * np.sqrt(saved * power)
        return (np.log(i0e(root)) + root).sum(axis=1)

    threshold = np.quantile(ratio(np.abs(noise) ** 2), 0.99)
    share = np.mean(ratio(np.abs(noise + np.sqrt(saved)) ** 2) > threshold)
    assert share < 0.5
