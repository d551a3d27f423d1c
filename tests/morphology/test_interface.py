"""Where the interphase is: distances, contours, segmentation, and what cannot be told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from interphase.assessment import Assessment
from interphase.errors import ParameterError
from interphase.morphology import find_interface
from interphase.morphology.contours import mask_contours, signed_distance
from interphase.morphology.local_statistics import lattice_spots

PIXEL = 0.5
SHAPE = (300, 360)
SMALL = (200, 320)
DOSE = 60.0  # counts per pixel


def image_of(rng, electrode, interphase, *, shape=SHAPE, lattice_a=2.5, counts=DOSE):
    """Counts of a crystal, a glass upon it and nothing else."""
    _, x = np.indices(shape) * PIXEL
    fringes = 0.3 * np.cos(2 * np.pi * x / lattice_a) if lattice_a else np.zeros(shape)
    glass = gaussian_filter(rng.standard_normal(shape), 1.5)
    glass *= 0.25 / glass.std()
    bright = 1 + fringes * electrode + glass * interphase
    return rng.poisson(counts * np.maximum(bright, 0))


def flat(first_a=55.0, last_a=125.0, *, shape=SHAPE, waves=0.0):
    """Masks of a layer on a crystal at the left, both with wavy ends."""
    y, x = np.indices(shape) * PIXEL
    inner = first_a + waves * np.sin(2 * np.pi * y / 75)
    outer = last_a + waves * np.cos(2 * np.pi * y / 75)
    return x < inner, (x >= inner) & (x < outer)


@settings(deadline=None)
@given(angle=st.floats(0, 6.28), place=st.floats(-8, 8))
def test_distance_from_a_plane_is_that_of_geometry(angle, place):
    y, x = np.indices((40, 50)) * 0.7
    normal, middle = np.array([np.sin(angle), np.cos(angle)]), np.array([14.0, 17.0])
    depth = (y - middle[0]) * normal[0] + (x - middle[1]) * normal[1] - place
    ends = middle + place * normal + np.outer([-60, 60], [normal[1], -normal[0]])
    found = signed_distance(depth < 0, [ends], pixel_size_a=0.7)
    assert np.abs(found - depth).max() < 1e-9


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.5])
def test_the_contour_of_a_mask_is_within_half_a_pixel(angle):
    y, x = np.indices((90, 110)) * 0.7
    depth = (x - 37) * np.cos(angle) + (y - 31) * np.sin(angle)
    found = signed_distance(depth < 0, mask_contours(depth < 0, pixel_size_a=0.7), pixel_size_a=0.7)
    # Near the frame the nearest point of the plane may be outside it.
    inside = (slice(30, 60), slice(30, 80))
    assert np.abs(found - depth)[inside].max() < 0.36
    if angle:
        assert np.mean((found - depth)[inside]) == pytest.approx(0, abs=0.1)


@settings(deadline=None, max_examples=40)
@given(radius=st.floats(12, 35), row=st.floats(48, 52), column=st.floats(48, 52))
def test_distance_from_a_disc_is_that_of_geometry(radius, row, column):
    y, x = np.indices((100, 100)) * 1.0
    depth = np.hypot(y - row, x - column) - radius
    circle = np.linspace(0, 2 * np.pi, 720)
    exact = [np.stack([row + radius * np.sin(circle), column + radius * np.cos(circle)], axis=1)]
    found = signed_distance(depth < 0, exact, pixel_size_a=1.0)
    assert np.abs(found - depth).max() < 2e-3
    lines = mask_contours(depth < 0, pixel_size_a=1.0)
    assert len(lines) == 1
    found = signed_distance(depth < 0, lines, pixel_size_a=1.0)
    assert np.abs(found - depth).max() < 0.75


def test_distance_from_a_wavy_line_is_the_least_to_its_points():
    y, x = np.indices((120, 100)) * 1.0
    t = np.linspace(-60, 180, 20001)
    wave = 40 + 6 * np.sin(t / 9)
    inside = x < 40 + 6 * np.sin(y / 9)
    found = signed_distance(inside, mask_contours(inside, pixel_size_a=1.0), pixel_size_a=1.0)
    for row, column in ((40, 60), (61, 52), (75, 25), (50, 41)):
        true = np.hypot(t - row, wave - column).min() * (-1 if inside[row, column] else 1)
        assert found[row, column] == pytest.approx(true, abs=0.35)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_layer_is_found_from_any_side(rng, side):
    electrode, interphase = flat()
    turn = {"left": 0, "bottom": 1, "right": 2, "top": 3}[side]
    counts = np.rot90(image_of(rng, electrode, interphase), turn)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode=side, rng=rng)
    assert found.assessment is Assessment.OK
    assert found.how == f"{side} edge by the user"
    maps = [np.rot90(m, -turn) for m in (found.electrode, found.interphase, found.outside)]
    assert np.stack(maps).sum(axis=0).tolist() == np.ones(SHAPE).tolist()
    widths = [m.mean() * SHAPE[1] * PIXEL for m in maps]
    assert widths[0] == pytest.approx(55, abs=3)
    assert widths[1] == pytest.approx(70, abs=5)
    depth = np.rot90(found.depth_a, -turn)
    assert np.mean(depth[:, 200]) == pytest.approx(100 - 55, abs=3)


def test_the_truth_lies_within_the_stated_error_of_the_boundaries(rng):
    off = []
    for _ in range(12):
        first, last = rng.uniform(45, 60), rng.uniform(110, 130)
        electrode, interphase = flat(first, last, shape=SMALL, waves=3.0)
        found = find_interface(
            image_of(rng, electrode, interphase, shape=SMALL),
            pixel_size_a=PIXEL,
            electrode="left",
            rng=rng,
        )
        off.append(
            (
                (found.electrode.mean() - electrode.mean()) * SMALL[1] * PIXEL,
                (found.outside.mean() - (~electrode & ~interphase).mean()) * SMALL[1] * PIXEL,
                found.surface_error_a,
                found.outer_error_a,
            )
        )
    inner, outer, inner_error, outer_error = np.array(off).T
    assert np.mean(np.abs(inner) < 1.96 * inner_error) >= 0.8
    assert np.mean(np.abs(outer) < 1.96 * outer_error) >= 0.8
    assert np.abs(inner).mean() < 5
    assert np.abs(outer).mean() < 5


def test_the_side_with_the_lattice_is_found(rng):
    electrode, interphase = flat()
    for turn, side in enumerate(("left", "bottom", "right", "top")):
        counts = np.rot90(image_of(rng, electrode, interphase), turn)
        found = find_interface(counts, pixel_size_a=PIXEL, rng=rng)
        assert (found.assessment, found.how) == (
            Assessment.OK,
            f"{side} edge by local statistics",
        )


def test_without_a_lattice_no_side_is_guessed(rng):
    electrode, interphase = flat()
    counts = image_of(rng, electrode, interphase, lattice_a=None)
    found = find_interface(counts, pixel_size_a=PIXEL, rng=rng)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "Cannot tell which side is the electrode: left or right" in found.sentence
    assert found.electrode.size == 0


def test_noise_and_one_material_have_no_interphase_in_view(rng):
    nothing = np.zeros(SHAPE, bool)
    for interphase in (nothing, ~nothing):
        counts = image_of(rng, nothing, interphase)
        found = find_interface(counts, pixel_size_a=PIXEL, rng=rng)
        assert found.assessment is Assessment.AMBIGUOUS
        assert "No interphase in view" in found.sentence
        given_side = find_interface(counts, pixel_size_a=PIXEL, electrode="left", rng=rng)
        assert "No surface of the electrode in view" in given_side.sentence


def test_an_electrode_upon_which_nothing_is_seen_is_not_said_to_be_bare_for_sure(rng):
    glass, nothing = flat(80, 80)
    counts = image_of(rng, nothing, glass)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode="left", rng=rng)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "No interphase in view" in found.sentence
    assert not found.interphase.any()
    assert [len(line) for line in found.outer] == [0]


def test_an_interphase_cut_by_the_frame_has_no_end(rng):
    electrode, interphase = flat(60, 1e3)
    counts = image_of(rng, electrode, interphase)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode="left", rng=rng)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "No end of the interphase in view" in found.sentence
    assert not found.outside.any()
    assert [len(line) for line in found.outer] == [0]


def test_vitreous_electrolyte_outside_is_not_taken_for_empty(rng):
    electrode, interphase = flat(55, 110)
    counts = image_of(rng, electrode, interphase)
    beyond = ~electrode & ~interphase
    glass = gaussian_filter(rng.standard_normal(SHAPE), 3.0)
    film = rng.poisson(DOSE * np.maximum(1 + 0.35 * glass / glass.std(), 0))
    counts = np.where(beyond, film, counts)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode="left", rng=rng)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "as much texture as the interphase" in found.sentence


def test_a_round_particle_given_as_a_mask_has_a_shell(rng):
    y, x = np.indices((420, 420)) * PIXEL
    away = np.hypot(y - 105, x - 100)
    electrode = away < 45
    counts = image_of(rng, electrode, (away >= 45) & (away < 80), shape=(420, 420))
    found = find_interface(counts, pixel_size_a=PIXEL, electrode=electrode, rng=rng)
    assert (found.assessment, found.how) == (Assessment.OK, "mask")
    assert len(found.surface) == 1
    assert np.allclose(found.surface[0][0], found.surface[0][-1])
    radius = np.hypot(*(found.outer[0] - [105, 100]).T)
    assert radius.mean() == pytest.approx(80, abs=4)
    assert np.abs(found.depth_a - (away - 45)).max() < 0.5
    assert found.interphase[(away > 50) & (away < 74)].mean() > 0.97
    assert found.outside[away > 86].mean() > 0.97
    assert found.surface_error_a == pytest.approx(PIXEL / np.sqrt(12), rel=0.1)


def test_every_electrode_has_a_surface(rng):
    _, x = np.indices((300, 520)) * PIXEL
    left, right = x < 45, x > 215
    middle = ((x >= 45) & (x < 85)) | ((x <= 215) & (x > 175))
    counts = image_of(rng, left | right, middle, shape=x.shape)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode=left | right, rng=rng)
    assert len(found.surface) == 2
    columns = sorted(float(line[:, 1].mean()) for line in found.outer)
    assert columns == [pytest.approx(85, abs=6), pytest.approx(175, abs=6)]
    assert found.depth_a[150, 260] == pytest.approx(130 - 45, abs=1)


def test_holes_and_specks_of_a_mask_are_told(rng):
    electrode, interphase = flat()
    mask = electrode.copy()
    mask[100:110, 40:50] = False
    mask[5:8, 340:343] = True
    counts = image_of(rng, electrode, interphase)
    found = find_interface(counts, pixel_size_a=PIXEL, electrode=mask, rng=rng)
    assert found.electrode.tolist() == electrode.tolist()
    assert len(found.warnings) == 2
    assert "Holes" in found.warnings[0]
    assert "Specks" in found.warnings[1]


def test_the_lattice_of_the_electrode_may_say_where_it_is(rng):
    electrode, interphase = flat()
    counts = image_of(rng, electrode, interphase)
    found = find_interface(counts, pixel_size_a=PIXEL, phases=electrode.astype(int), rng=rng)
    assert found.how == "lattice of the electrode"
    assert found.electrode.tolist() == electrode.tolist()


def test_the_gain_of_the_file_does_not_matter(rng):
    electrode, interphase = flat()
    counts = image_of(rng, electrode, interphase)
    options = {"pixel_size_a": PIXEL, "electrode": "left"}
    one, other = (
        find_interface(data, rng=np.random.default_rng(3), **options)
        for data in (counts, counts * 37.0)
    )
    assert np.allclose(one.surface[0], other.surface[0], atol=0.05)


def test_without_a_pixel_size_nothing_is_measured(rng):
    found = find_interface(np.ones((50, 50)), pixel_size_a=None, electrode="left", rng=rng)
    assert found.assessment is Assessment.UNCALIBRATED


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ones((200, 200)), "Every pixel has the value"),
        (np.full((200, 200), np.nan), "not finite"),
        (np.random.default_rng(0).poisson(5.0, (20, 300)), "too few"),
    ],
)
def test_what_cannot_be_looked_at_says_why(rng, image, words):
    found = find_interface(image, pixel_size_a=PIXEL, electrode="left", rng=rng)
    assert found.assessment is Assessment.UNUSABLE
    assert words in found.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"electrode": "inside"}, "electrode is 'inside'"),
        ({"electrode": np.ones((200, 200))}, "expected a map of bool"),
        ({"electrode": np.ones((200, 200), bool)}, "pixels of both kinds"),
        ({"electrode": np.zeros((20, 200), bool)}, "expected shape"),
        ({"electrode": "left", "phases": np.ones((200, 200))}, "takes effect with 'auto'"),
        ({"pixel_size_a": -1.0}, "pixel_size_a is -1"),
    ],
)
def test_misuse_is_told(rng, options, words):
    with pytest.raises(ParameterError, match=words):
        find_interface(rng.poisson(5.0, (200, 200)), rng=rng, **{"pixel_size_a": PIXEL} | options)


def test_lattice_spots_of_noise_are_as_rare_as_stated(rng):
    found = [
        len(lattice_spots(rng.poisson(20.0, (120, 80)) / 20, pixel_size_a=PIXEL)[0])
        for _ in range(150)
    ]
    assert np.count_nonzero(found) <= 2
