"""What would have been seen: closed forms, and the promise kept by identification itself."""

import numpy as np
import pytest
from scipy import stats

from interphase import noise
from interphase.assessment import Assessment
from interphase.diffraction import identify_image
from interphase.diffraction.limits import (
    DetectionLimit,
    detection_limit,
    disc_share,
    signal_needed,
    zero_fault,
)
from interphase.diffraction.spectra import frequencies, hann
from interphase.errors import ParameterError
from interphase.phases import candidates

PIXEL_A, SIZE = 0.5, 150
LIO = candidates("Li2O,LiF")


def white(counts, *, size=100, pixel_size_a=PIXEL_A, least_power=18.0, **options):
    """Return the limit of an image of pure counting noise, by its exact floor."""
    freq = frequencies(size, pixel_size_a=pixel_size_a, k_min=1 / 6, k_max=1 / 1.2)
    floor = np.full(freq.k.shape, np.log(counts * size**2))
    image = np.full((4, 4), counts)
    return detection_limit(image, floor, freq, step=size // 4, least_power=least_power, **options)


@pytest.mark.parametrize("width", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("offset", [(0, 0), (16, 0), (10, 16)])
def test_the_part_of_the_window_in_a_disc_is_its_sum(width, offset):
    size = 256
    y, x = np.mgrid[:size, :size] - size // 2
    inside = np.hypot(y - offset[0], x - offset[1]) <= width * size / 2
    weight = hann(size).astype(float)
    # The pixels at the rim are in or out.
    expected = weight[inside].sum() / weight.sum()
    found = disc_share(np.array(width), offset[0] / size, offset[1] / size)
    assert found == pytest.approx(expected, rel=0.01)


def test_the_signal_needed_is_that_of_counting_statistics_with_what_windows_lose():
    on_grid = float(signal_needed(18.0, 0.9, width=1.0, step=1e-6))
    ideal = signal_needed(18.0, 0.9)
    assert noise.detection_probability(ideal, 18.0) > 0.9
    assert on_grid == pytest.approx(ideal / disc_share(np.array(1.0), 0, 0) ** 2, rel=1e-3)


def test_a_window_full_of_fringes_needs_the_contrast_of_the_formula():
    limit = white(10.0)
    for contrast in limit.contrast:
        ratio = noise.fringe_power_ratio(
            contrast=contrast,
            dose_e_per_a2=10.0 / PIXEL_A**2,
            area_a2=(100 * PIXEL_A) ** 2,
            dqe=1,
            window_efficiency=noise.window_efficiency(hann(100)),
        )
        assert ratio == pytest.approx(signal_needed(18.0, 0.9), rel=1e-3)


def test_contrast_falls_with_the_root_of_the_dose_and_rises_as_the_crystallite_shrinks():
    once, four = white(30.0), white(120.0)
    assert np.divide(once.contrast, four.contrast) == pytest.approx(2)
    assert np.divide(once.contrast_of_small, four.contrast_of_small) == pytest.approx(2)
    assert all(a > b for a, b in zip(once.diameter_a, four.diameter_a, strict=True))
    small = white(30.0, small_a=20.0)
    assert all(
        a > b > c
        for a, b, c in zip(
            small.contrast_of_small, once.contrast_of_small, once.contrast, strict=True
        )
    )


def test_diameter_and_contrast_are_two_sides_of_one_limit():
    limit = white(10.0, fixed_contrast=0.06)
    back = white(10.0, small_a=limit.diameter_a[0])
    assert back.contrast_of_small[0] == pytest.approx(0.06, rel=0.01)


def test_a_contrast_that_no_size_shows_has_no_diameter():
    limit = white(0.05)
    assert set(limit.diameter_a) == {None}
    assert "none at 5 % contrast, whatever its size" in limit.sentence
    assert "at no contrast" in white(0.005).sentence


def test_the_limit_is_told_in_one_sentence():
    said = white(40.0).sentence
    assert said.startswith("Fringes of 2.0-3.0 Å of a 3 nm crystallite would have been seen from ")
    assert " % contrast on; at 5 % contrast crystallites from " in said
    assert said.endswith(" nm on (in 90 % of cases).")


def test_only_spacings_that_were_searched_are_told():
    freq = frequencies(50, pixel_size_a=1.2, k_min=1 / 6, k_max=0.95 / 2.4)
    floor = np.full(freq.k.shape, np.log(10 * 50**2))
    limit = detection_limit(np.full((4, 4), 10.0), floor, freq, step=12, least_power=15.0)
    assert min(limit.d_spacings_a) >= 2.5
    assert len(limit.contrast) == len(limit.diameter_a) == len(limit.d_spacings_a)


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n - n.mean(),
        lambda n: (n - n.mean()) / n.std(),
        lambda n: -n,
        lambda n: n - 32768,
    ],
    ids=["background off", "standardised", "negative", "signed"],
)
def test_where_zero_is_not_zero_counts_no_contrast_is_claimed(rng, change):
    image = change(rng.poisson(20.0, (SIZE, SIZE)).astype(float))
    found = identify_image(image, pixel_size_a=PIXEL_A, candidates=LIO)
    assert found.assessment is Assessment.NO_PERIODICITY
    assert found.limit.contrast == found.limit.diameter_a == ()
    assert "zero is not zero counts" in found.sentence
    assert zero_fault(image)


def test_a_few_negative_pixels_are_read_out_noise(rng):
    image = rng.poisson(20.0, (SIZE, SIZE)) + rng.normal(0, 5, (SIZE, SIZE))
    assert 0 < np.mean(image < 0) < 0.01
    assert zero_fault(image) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.0}, "probability is 1.0: expected 0.5 to 1"),
        ({"small_a": 0.0}, "small_a is 0.0 Å"),
        ({"fixed_contrast": 2.0}, "fixed_contrast 2.0: expected"),
    ],
)
def test_options_without_a_meaning_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        white(10.0, **options)


@pytest.mark.parametrize(("counts", "diameter"), [(5.0, "small"), (30.0, "small"), (30.0, "fixed")])
def test_fringes_at_the_limit_are_found_as_often_as_stated(rng, counts, diameter):
    y, x = np.mgrid[:SIZE, :SIZE] * PIXEL_A
    limits = [
        identify_image(
            rng.poisson(counts, (SIZE, SIZE)), pixel_size_a=PIXEL_A, candidates=LIO
        ).limit
        for _ in range(4)
    ]
    assert all(isinstance(limit, DetectionLimit) for limit in limits)
    # The floor of one image is known to its own noise: the promise is that of the mean.
    number = limits[0].d_spacings_a.index(2.5)
    if diameter == "small":
        size = limits[0].small_a
        contrast = np.mean([limit.contrast_of_small[number] for limit in limits])
    else:
        size = np.mean([limit.diameter_a[number] for limit in limits])
        contrast = limits[0].fixed_contrast
    trials, found = 60, 0
    for _ in range(trials):
        row, column = rng.uniform(30, SIZE * PIXEL_A - 30, 2)
        angle, phase, spacing = rng.uniform(0, np.pi), rng.uniform(0, 6.3), rng.uniform(2.4, 2.6)
        wave = np.cos(2 * np.pi * (np.sin(angle) * y + np.cos(angle) * x) / spacing + phase)
        inside = np.hypot(y - row, x - column) <= size / 2
        image = rng.poisson(counts * (1 + contrast * wave * inside))
        result = identify_image(image, pixel_size_a=PIXEL_A, candidates=LIO)
        found += any(
            abs(d / spacing - 1) < 0.04 for region in result.regions for d in region.d_spacings_a
        )
    # 0.85 to 0.97 is meant by 0.9, as far as so few trials can tell.
    least, most = stats.binom.ppf(0.001, trials, 0.85), stats.binom.ppf(0.999, trials, 0.97)
    assert least <= found <= most
