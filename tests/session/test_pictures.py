import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction.results import PhaseMap
from interphase.session.pictures import (
    bin_image,
    binning,
    crop_about,
    decimate,
    grey,
    grey_pattern,
    mean_power,
    picture_labels,
    power_picture,
)


def test_binning_keeps_the_mean_and_cuts_what_does_not_fit() -> None:
    image = np.arange(35.0).reshape(5, 7)
    binned = bin_image(image, 3)
    assert binned.shape == (1, 2)
    assert binned[0, 1] == image[:3, 3:6].mean()


@pytest.mark.parametrize("side", [1, 511, 512, 513, 4096, 5000])
def test_a_picture_is_never_larger_than_told(side: int) -> None:
    factor = binning((side, 10))
    assert side // factor <= 512
    assert factor == 1 or side / (factor - 1) > 512


def test_what_is_not_finite_is_shown_as_black_or_white() -> None:
    shown = grey(np.array([[0.0, 1.0, np.nan, np.inf, -np.inf]]), percentiles=(0, 100))
    assert shown.tolist() == [[0, 255, 0, 255, 0]]


def test_a_sparse_pattern_shows_single_electrons_and_an_empty_one_is_black() -> None:
    pattern = np.zeros((100, 100))
    pattern[::10, ::10] = 1.0
    pattern[50:52, 50:52] = 3000.0
    shown = grey_pattern(pattern)
    assert shown[50, 50] == 255
    assert 20 < shown[10, 10] < 255
    assert shown[5, 5] == 0
    assert not grey_pattern(np.zeros((4, 4))).any()


def test_the_mean_power_of_a_fringe_peaks_at_its_frequency_with_the_power_of_the_window() -> None:
    # cos(2π·8x/64) under a Hann window: |F| at the peak is half the sum of the taper.
    x = np.indices((64, 128))[1]
    power = mean_power(np.cos(2 * np.pi * 8 * x / 64), 64)
    row, column = np.unravel_index(np.argmax(power), power.shape)
    assert row == 32
    assert abs(column - 32) == 8
    one = np.sin(np.pi * (np.arange(64) + 0.5) / 64) ** 2
    assert power.max() == pytest.approx((one.sum() ** 2 / 2) ** 2, rel=1e-3)


def test_a_power_picture_puts_zero_in_the_middle_and_knows_its_sampling() -> None:
    x = np.indices((256, 256))[1] * 0.5
    fringes = np.cos(2 * np.pi * x / 2.0) + np.random.default_rng(1).normal(0, 0.1, x.shape)
    picture, step = power_picture(fringes, pixel_size_a=0.5, size=256)
    assert step == pytest.approx(1 / 128)
    bright = np.argwhere(picture == picture.max())
    offsets = (bright - picture.shape[0] // 2) * step
    # Fringes of 2 Å along x: spots at 0 and ±0.5 1/Å.
    assert np.abs(np.abs(offsets[:, 1]) - 0.5).min() < step
    assert picture.shape[0] == picture.shape[1]


def test_each_pixel_takes_the_region_of_the_nearest_window() -> None:
    # Windows of 10 Å every 4 Å on an image of 0.5 Å; the first centre is at 4.75 Å.
    labels = np.zeros((5, 6), dtype=np.int32)
    labels[2, 3] = 7
    phase_map = PhaseMap(
        assessment=Assessment.OK,
        sentence="",
        candidates=(),
        labels=labels,
        window_a=10.0,
        step_a=4.0,
        origin_a=(4.75, 4.75),
        pixel_size_a=0.5,
    )
    full = picture_labels(phase_map, (60, 64), pixel_size_a=0.5)
    rows, columns = np.nonzero(full)
    assert set(full[rows, columns]) == {7}
    # The window's centre is at (12.75, 16.75) Å: pixel (25.5, 33.5), and its cell is 8 pixels.
    assert (rows.min(), rows.max()) == (22, 29)
    assert (columns.min(), columns.max()) == (30, 37)
    # A picture binned by two shows the same place.
    half = picture_labels(phase_map, (30, 32), pixel_size_a=1.0)
    rows, columns = np.nonzero(half)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (11, 14, 15, 18)


def test_a_crop_stays_inside_the_image() -> None:
    image = np.arange(100).reshape(10, 10)
    assert crop_about(image, (5, 5), 4).tolist() == image[4:8, 4:8].tolist()
    assert crop_about(image, (0, 9), 4).tolist() == image[0:4, 6:10].tolist()


def test_a_decimated_spectrum_keeps_its_mean_and_its_axis() -> None:
    axis = np.linspace(100, 300, 4096)
    counts = 5 + axis
    fewer, coarse = decimate(counts, axis)
    assert len(fewer) == 1024
    np.testing.assert_allclose(fewer, 5 + coarse)
    assert fewer.mean() == pytest.approx(counts.mean())
