"""Published and independently simulated numbers of low-dose detection."""

import numpy as np
import pytest

from interphase.noise import fringe_power_ratio, hann_window, rose_dose

FRINGES = [
    (30.0, 0.05, 10.0, 0.14),
    (30.0, 0.05, 30.0, 0.56),
    (30.0, 0.05, 100.0, 0.96),
    (30.0, 0.05, 300.0, 1.0),
    (30.0, 0.10, 10.0, 0.68),
    (30.0, 0.10, 30.0, 0.98),
    (50.0, 0.05, 10.0, 0.42),
    (50.0, 0.05, 30.0, 0.99),
    (100.0, 0.05, 10.0, 0.98),
]
"""Grain [Å], contrast, dose [e/Å²], share of 200 images whose strongest peak was right."""


def _share_right(size_a, contrast, dose, rng, trials=200, pixel=0.5, d=2.66):
    n = round(size_a / pixel)
    window = np.outer(hann_window(n), hann_window(n))
    y, x = np.mgrid[:n, :n] * pixel
    ky, kx = np.fft.fftfreq(2 * n, pixel)[:, None], np.fft.rfftfreq(2 * n, pixel)[None]
    k = np.hypot(ky, kx)
    right = 0
    for angle, start in rng.uniform(0, 2 * np.pi, size=(trials, 2)):
        along = (np.sin(angle) * y + np.cos(angle) * x) / d
        counts = rng.poisson(dose * pixel**2 * (1 + contrast * np.cos(2 * np.pi * along + start)))
        power = np.abs(np.fft.rfft2((counts - counts.mean()) * window, k.shape[:1] * 2)) ** 2
        power[k < 0.15] = 0
        right += abs(k.flat[power.argmax()] - 1 / d) < 1 / size_a
    return right / trials


@pytest.mark.parametrize(("size_a", "contrast", "dose", "published"), FRINGES)
def test_strongest_peak_is_right_as_often_as_published(size_a, contrast, dose, published, rng):
    share = _share_right(size_a, contrast, dose, rng)
    # Both are counts of 200 trials: 3 standard deviations of their difference, at least 0.05.
    scatter = np.sqrt(2 * published * (1 - published) / 200)
    assert share == pytest.approx(published, abs=max(0.05, 3 * scatter))


@pytest.mark.parametrize(
    ("contrast", "size", "dose"), [(0.05, 2.0, 2500), (0.10, 2.66, 353), (0.05, 10.0, 100)]
)
def test_rose_criterion(contrast, size, dose):
    assert rose_dose(contrast=contrast, feature_size_a=size) == pytest.approx(dose, abs=0.5)


def test_fringe_power_ratio_is_that_of_simulated_images(rng):
    n, pixel, d, contrast, dose = 64, 0.5, 2.0, 0.2, 20.0
    window = np.outer(hann_window(n), hann_window(n))
    x = np.arange(n) * pixel
    fringes = dose * pixel**2 * (1 + contrast * np.cos(2 * np.pi * x / d))
    counts = rng.poisson(np.broadcast_to(fringes, (300, n, n)))
    power = np.mean(np.abs(np.fft.fft2((counts - counts.mean()) * window)) ** 2, axis=0)
    peak, floor = power[0, round(n * pixel / d)], power[10:20, 10:20].mean()
    expected = fringe_power_ratio(
        contrast=contrast,
        dose_e_per_a2=dose,
        area_a2=(n * pixel) ** 2,
        dqe=1.0,
        window_efficiency=4 / 9,
    )
    assert peak / floor - 1 == pytest.approx(float(expected), rel=0.05)
