"""Windows, their spectra, and the floor that noise stands on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.diffraction.spectra import (
    BANDS,
    above_floor,
    frequencies,
    hann,
    image_floor,
    log_power,
    power_rows,
    window_grid,
)
from interphase.noise import hann_window

PIXEL = 0.5
SIZE = 100


def log_ratios(image: np.ndarray, *, size: int = SIZE, overlap: int = 1):
    """Return the log ratios of all windows of an image, and the frequencies."""
    grid = window_grid(image.shape, size=size, overlap=overlap)
    freq = frequencies(size, pixel_size_a=PIXEL, k_min=1 / 6, k_max=1 / 1.2)
    shared = image_floor(image, grid, freq)
    rows = [above_floor(power, shared, freq) for power in power_rows(image, grid)]
    return np.concatenate(rows), freq


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(16, 200),
    columns=st.integers(16, 200),
    size=st.integers(8, 16),
    overlap=st.integers(1, 8),
)
def test_windows_lie_inside_the_image_and_leave_less_than_a_step(rows, columns, size, overlap):
    grid = window_grid((rows, columns), size=size, overlap=overlap)
    for n, length in ((grid.rows, rows), (grid.columns, columns)):
        last = (n - 1) * grid.step + size
        assert last <= length < last + grid.step
    assert 1 <= grid.independent <= grid.rows * grid.columns


@settings(max_examples=30, deadline=None)
@given(size=st.integers(16, 90).map(lambda n: 2 * (n // 2)), k_max=st.floats(0.3, 0.9))
def test_one_of_each_friedel_pair_is_searched_and_bands_sum_to_one(size, k_max):
    freq = frequencies(size, pixel_size_a=PIXEL, k_min=0.15, k_max=k_max)
    assert freq.bands.shape == (size * (size // 2 + 1), BANDS)
    assert freq.bands.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert freq.pixel == pytest.approx(1 / (size * PIXEL))
    y, x = np.nonzero(freq.searched)
    ky, kx = np.rint(freq.ky[y, 0] / freq.pixel), np.rint(freq.kx[0, x] / freq.pixel)
    vectors = {(int(a), int(b)) for a, b in zip(ky, kx, strict=True)}
    assert not vectors & {(-a, -b) for a, b in vectors}
    everything = np.hypot(freq.ky, np.fft.fftfreq(size, PIXEL)[None, :])
    inside = (everything >= 0.15) & (everything <= k_max)
    assert len(vectors) == inside.sum() / 2


def test_the_hann_window_leaves_the_noise_at_its_variance(rng):
    image = rng.standard_normal((10 * SIZE, SIZE)).astype(np.float32)
    assert np.mean(hann(SIZE) ** 2) == pytest.approx(1, rel=1e-6)
    grid = window_grid(image.shape, size=SIZE, overlap=1)
    power = np.concatenate(list(power_rows(image, grid)))[:, 5:-5, 5:-5]
    # White noise of variance 1 has power N² at every frequency.
    assert power.mean() / SIZE**2 == pytest.approx(1, abs=5 / np.sqrt(power.size / 4))


@pytest.mark.parametrize(("size", "overlap"), [(40, 4), (41, 3), (40, 1), (64, 16)])
def test_spectra_that_share_transforms_are_those_of_each_window(rng, size, overlap):
    gradient = np.linspace(0, 3, 200)
    image = (1e3 + rng.poisson(4.0, (230, 200)) + gradient).astype(np.float32)
    grid = window_grid(image.shape, size=size, overlap=overlap)
    rows = list(power_rows(image, grid))
    assert len(rows) == grid.rows
    window = np.outer(*[hann_window(size)] * 2) * 8 / 3
    for row in (0, grid.rows // 2, grid.rows - 1):
        for column in (0, grid.columns - 1):
            top, left = row * grid.step, column * grid.step
            part = image[top : top + size, left : left + size].astype(float)
            expected = np.abs(np.fft.rfft2((part - part.mean()) * window)) ** 2
            assert rows[row][column] == pytest.approx(expected, rel=1e-2, abs=1e-3 * size**2)
    block = grid.blocks[-1]
    for power, expected in zip(power_rows(image, grid, block), rows[block.start :], strict=True):
        assert power == pytest.approx(expected, rel=1e-3, abs=1e-3 * size**2)


def test_a_sinusoid_has_the_power_of_its_amplitude_and_the_window():
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = 0.3 * np.cos(2 * np.pi * (12 * y + 7 * x) / SIZE)
    grid = window_grid(wave.shape, size=SIZE, overlap=1)
    (power,) = power_rows(wave.astype(np.float32), grid)
    # Amplitude² N⁴ / 4, times (2/3)² in each direction: 4/9 of it.
    assert power[0, 12, 7] == pytest.approx(0.3**2 * SIZE**4 / 4 * 4 / 9, rel=1e-3)
    assert np.unravel_index(power[0].argmax(), power[0].shape) == (12, 7)


def test_power_is_finite_in_logarithm_where_it_is_zero():
    assert np.isfinite(log_power(np.zeros((1, 8, 5), dtype=np.float32))).all()


@pytest.mark.parametrize(
    ("counts", "contrast", "astigmatism"),
    [(20.0, 0.0, 0.0), (0.5, 0.0, 0.0), (100.0, 0.1, 0.0), (25.0, 0.1, 60.0)],
    ids=["white", "few electrons", "Thon rings", "astigmatic Thon rings"],
)
def test_power_over_floor_of_a_film_is_exponential(rng, film, counts, contrast, astigmatism):
    ratios = []
    for _ in range(2):
        image = film(
            rng, size=512, counts=counts, contrast=contrast, astigmatism_a=astigmatism
        ).astype(np.float32)
        log, freq = log_ratios(image)
        ratios.append(np.exp(log[:, freq.searched]).ravel())
    z = np.concatenate(ratios)
    # Under a Hann window about 4 / 9 of the frequencies are independent.
    independent = z.size * 4 / 9
    # The floor itself is known to one or two per cent.
    assert z.mean() == pytest.approx(1, abs=0.03)
    for level in (0.5, 1, 2, 3, 5):
        expected = np.exp(-level)
        error = 4 * np.sqrt(expected / independent) + 0.03 * level * expected
        assert np.mean(z > level) == pytest.approx(expected, abs=error), level
    # A floor that is off by a tenth in places makes the far tail grow.
    assert np.mean(z > 8) < 1.6 * np.exp(-8) + 4 * np.sqrt(np.exp(-8) / independent)


def test_a_lattice_that_fills_the_image_does_not_raise_the_floor(rng):
    noise = rng.standard_normal((400, 400)).astype(np.float32)
    y, x = np.mgrid[:400, :400]
    lattice = sum(
        np.cos(2 * np.pi * PIXEL * (a * y + b * x))
        for a, b in ((0.3, 0.2), (-0.2, 0.3), (0.1, 0.5), (-0.5, 0.1))
    )
    grid = window_grid(noise.shape, size=SIZE, overlap=4)
    freq = frequencies(SIZE, pixel_size_a=PIXEL, k_min=1 / 6, k_max=1 / 1.2)
    without = image_floor(noise, grid, freq)
    with_lattice = image_floor((noise + lattice).astype(np.float32), grid, freq)
    change = (with_lattice - without)[freq.searched]
    assert np.abs(change).max() < 0.5
    assert np.abs(change).mean() < 0.05
    spot = (round(0.3 / freq.pixel), round(0.2 / freq.pixel))
    log, _ = log_ratios((noise + lattice).astype(np.float32), overlap=4)
    # Amplitude 1 in noise of variance 1: N² / 4 · 4 / 9 over the floor. The mean of logarithms
    # over a band of one window yields a little to four spots as strong as these.
    assert np.exp(log[:, *spot]).mean() == pytest.approx(0.8 * SIZE**2 / 9, rel=0.2)


@pytest.mark.parametrize("axis", [0, 1])
def test_scan_lines_are_floor(rng, axis):
    lines = rng.standard_normal((512, 1) if axis == 0 else (1, 512))
    image = (rng.standard_normal((512, 512)) + lines).astype(np.float32)
    log, freq = log_ratios(image)
    on_the_line = log[:, :, 0][:, freq.searched[:, 0]] if axis == 0 else log[:, 0, freq.searched[0]]
    # Twenty-five windows see the lines; the frequencies along the line are like all others.
    z = np.exp(on_the_line)
    assert np.mean(z > 5) < 3 * np.exp(-5) + 4 * np.sqrt(np.exp(-5) / z.size)
    raw = np.concatenate(list(power_rows(image, window_grid(image.shape, size=SIZE, overlap=1))))
    strip = raw[:, :, 0][:, freq.searched[:, 0]] if axis == 0 else raw[:, 0, freq.searched[0]]
    assert strip.mean() > 20 * np.median(raw)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e2, 1e2), seed=st.integers(0, 99))
def test_power_over_floor_does_not_depend_on_gain_or_offset(gain, offset, seed):
    image = np.random.default_rng(seed).standard_normal((SIZE, 2 * SIZE)).astype(np.float32)
    plain, freq = log_ratios(image)
    scaled, _ = log_ratios((gain * (image + offset)).astype(np.float32))
    assert scaled[:, freq.searched] == pytest.approx(plain[:, freq.searched], abs=0.1)


def test_a_thick_part_of_the_image_has_a_floor_of_its_own(rng):
    image = rng.standard_normal((200, 400)).astype(np.float32)
    image[:, 200:] *= 3
    log, freq = log_ratios(image)
    means = np.exp(log[:, freq.searched]).mean(axis=1)
    assert means == pytest.approx(1, abs=0.1)
