"""Diffraction patterns: centre, spots, rings, and noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.assessment import Assessment
from interphase.diffraction import identify_pattern
from interphase.diffraction.pattern_spots import find_centre, find_pattern_spots
from interphase.errors import ParameterError
from interphase.phases import candidates

SIZE = 192
Y, X = np.mgrid[:SIZE, :SIZE].astype(float)
PIXEL = 0.008


def dot(centre, height, width=1.5):
    return height * np.exp(-((Y - centre[0]) ** 2 + (X - centre[1]) ** 2) / 2 / width**2)


def expectation(centre, offsets=(), *, beam=5e4, spot=400.0, halo=100.0):
    """Return expected counts: a halo, a direct beam, and spots with their mates."""
    image = halo * np.exp(-((Y - centre[0]) ** 2 + (X - centre[1]) ** 2) / 2 / 40**2) + 5
    image += dot(centre, beam, 2.0)
    for dy, dx in offsets:
        image += dot((centre[0] + dy, centre[1] + dx), spot)
        image += dot((centre[0] - dy, centre[1] - dx), spot)
    return image


def lif_along_001(angle=0.2):
    """Return the offsets [px] of {200} and {220} of LiF along [001]."""
    planes = np.array([[2, 0], [0, 2], [2, 2], [2, -2]]) / 4.0263 / PIXEL
    c, s = np.cos(angle), np.sin(angle)
    return planes @ np.array([[c, s], [-s, c]])


@settings(max_examples=12, deadline=None)
@given(row=st.floats(80, 110), column=st.floats(80, 110), seed=st.integers(0, 99))
def test_the_direct_beam_is_found_to_a_third_of_a_pixel(row, column, seed):
    rng = np.random.default_rng(seed)
    image = rng.poisson(expectation((row, column))).astype(float)
    assert find_centre(image) == pytest.approx((row, column), abs=0.35)


def test_a_centre_behind_a_beam_stop_is_found_from_symmetry(rng):
    centre = (95.0, 97.5)
    mean = expectation(centre, lif_along_001(), beam=0.0, spot=1500.0)
    mean[np.hypot(Y - centre[0], X - centre[1]) < 12] = 0
    assert find_centre(rng.poisson(mean).astype(float)) == pytest.approx(centre, abs=0.75)


def test_noise_has_no_centre(rng):
    for _ in range(10):
        assert find_centre(rng.poisson(20.0, (SIZE, SIZE)).astype(float)) is None


def test_spots_are_found_in_their_places_and_nothing_else(rng):
    centre, offsets = (95.3, 96.6), lif_along_001()
    image = rng.poisson(expectation(centre, offsets)).astype(float)
    found = find_pattern_spots(image, centre, r_min=20, r_max=90)
    assert len(found.height) == len(offsets)
    for offset in offsets:
        miss = min(
            np.linalg.norm(found.offset - offset, axis=1).min(),
            np.linalg.norm(found.offset + offset, axis=1).min(),
        )
        assert miss < 0.3
    assert (found.p_value < 1e-6).all()
    assert np.all(np.diff(found.height) <= 0)


def test_round_rings_and_halos_are_background(rng):
    centre = (95.3, 96.6)
    ring = np.exp(-((np.hypot(Y - centre[0], X - centre[1]) - 55) ** 2) / 2 / 2**2)
    image = rng.poisson(expectation(centre) + 50 * ring).astype(float)
    assert len(find_pattern_spots(image, centre, r_min=20, r_max=90).height) == 0


def test_noise_makes_a_spot_at_most_as_often_as_stated(rng):
    alarms = 0
    for _ in range(60):
        image = rng.poisson(30.0, (SIZE, SIZE)).astype(float)
        p = find_pattern_spots(image, (96.0, 96.0), r_min=20, r_max=90).p_value
        alarms += bool(len(p)) and p.min() < 0.05
    # At most 10 of 60 with 99.9 % if the rate is 5 %.
    assert alarms <= 10


def test_a_pattern_names_its_phase(rng):
    image = rng.poisson(expectation((95.3, 96.6), lif_along_001())).astype(float)
    found = identify_pattern(
        image, reciprocal_pixel_size_per_a=PIXEL, candidates=candidates("LiF,Li2O,Li2CO3,LiCl")
    )
    assert found.centre_px == pytest.approx((95.3, 96.6), abs=0.35)
    (region, *_) = found.regions
    assert region.phase == "LiF"
    assert region.zone_axis is not None
    assert region.scale_error == pytest.approx(0, abs=0.01)
    assert region.centre_a is None
    assert region.area_a2 is None


def test_a_pattern_of_another_lattice_names_none(rng):
    # An oblique net that no cubic candidate has.
    offsets = np.array([[31.0, 4.0], [9.0, 38.0], [40.0, 42.0], [22.0, -34.0]])
    image = rng.poisson(expectation((95.3, 96.6), offsets)).astype(float)
    found = identify_pattern(
        image, reciprocal_pixel_size_per_a=PIXEL, candidates=candidates("LiF,Li2O")
    )
    assert all(
        region.assessment is not Assessment.OK or region.phase == "unknown"
        for region in found.regions
    )
    assert found.regions[0].probability > 0.5


def test_noise_without_a_centre_cannot_be_measured(rng):
    found = identify_pattern(
        rng.poisson(20.0, (SIZE, SIZE)),
        reciprocal_pixel_size_per_a=PIXEL,
        candidates=candidates("LiF"),
    )
    assert found.assessment is Assessment.UNUSABLE
    assert "the centre can be given" in found.sentence


@pytest.mark.parametrize("mean", [0.01, 0.05, 0.5, 2.0])
def test_a_few_electrons_are_no_crystal(mean):
    false = 0
    for seed in range(20):
        counts = np.random.default_rng(seed).poisson(mean, (SIZE, SIZE))
        found = identify_pattern(
            counts,
            reciprocal_pixel_size_per_a=PIXEL,
            candidates=candidates("LiF"),
            centre=(SIZE / 2, SIZE / 2),
        )
        false += bool(found.regions)
    # Stated: one in a hundred. Three of twenty happen by chance once in a thousand times.
    assert false < 3


def test_a_pattern_that_is_all_direct_beam_is_too_coarse(rng):
    found = identify_pattern(
        rng.poisson(expectation((96, 96))),
        reciprocal_pixel_size_per_a=1e-4,
        candidates=candidates("LiF"),
    )
    assert found.assessment is Assessment.TOO_COARSE


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_unusable_patterns_are_results(value):
    found = identify_pattern(
        np.full((64, 64), value), reciprocal_pixel_size_per_a=PIXEL, candidates=candidates("LiF")
    )
    assert found.assessment is Assessment.UNUSABLE


@pytest.mark.parametrize("sampling", [0.2, 1.0, 1e8])
@pytest.mark.parametrize("centre", [None, (40, 30)])
def test_pixels_too_coarse_to_tell_rings_from_the_beam_are_a_result(rng, sampling, centre):
    y, x = np.indices((64, 64))
    beam = rng.poisson(1 + 1e3 * np.exp(-((y - 40) ** 2 + (x - 30) ** 2) / 5))
    found = identify_pattern(
        beam, reciprocal_pixel_size_per_a=sampling, candidates=candidates("LiF"), centre=centre
    )
    assert found.assessment is Assessment.TOO_COARSE
    assert "pixels of the direct beam, and 10 are needed" in found.sentence


PLACE = r"centre is .*: expected \(row, column\) of the direct beam"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(
            ({"reciprocal_pixel_size_per_a": step}, r"reciprocal_pixel_size_per_a is .* expected")
            for step in (0.0, -1.0, np.nan, np.inf, 1e-300, "0.1", [0.1], True)
        ),
        ({"reciprocal_pixel_size_per_a": None}, "reciprocal_pixel_size_per_a is missing: give"),
        *(
            ({"centre": centre}, PLACE)
            for centre in (
                32,
                (),
                (1, 2, 3),
                "ab",
                (None, 1),
                ((1,), (2, 3)),
                (1j, 2),
                (True, False),
            )
        ),
        ({"centre": (np.nan, 1)}, "centre holds 1 values that are not finite"),
        *(
            ({"centre": centre}, r"centre is \(.*\): expected a place in the frame of 48 × 64")
            for centre in ((1e6, 1e6), (48, 10), (-1, 10), (10, 64))
        ),
        ({"candidates": None}, "candidates are None: expected phases, such as"),
        ({"candidates": "LiF"}, "candidates are 'LiF': expected phases, such as"),
        ({"options": {"d_min_a": 1.0}}, "options is {.*: expected interphase.diffraction.Options"),
        ({"pattern": None}, r"expected \(row, column\)"),
    ],
)
def test_misuse_is_named(change, words):
    with pytest.raises(ParameterError, match=words):
        identify_pattern(
            **{
                "pattern": np.ones((48, 64)),
                "reciprocal_pixel_size_per_a": PIXEL,
                "candidates": candidates("LiF"),
                **change,
            }
        )
