"""The map: exact areas, whatever the polygons, their order and how they are split."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.dose import Exposure, Ledger, area_um2, camera_rectangle, coverage, disc
from interphase.dose.places import fullest, grown, overlap_um2, shrunk
from interphase.errors import ParameterError

BOUNDS = (-1.0, -2.0, 3.0, 1.0)
SHAPE = (6, 8)
PIXEL = (3.0 / 6, 4.0 / 8)

corner = st.floats(-4, 5, allow_nan=False)


@st.composite
def stars(draw):
    """Simple polygons, most of them not convex, some wholly or partly outside the map."""
    number = draw(st.integers(3, 9))
    radius = draw(st.lists(st.floats(0.05, 3.0), min_size=number, max_size=number))
    turn = draw(st.floats(0, 2 * math.pi))
    angle = turn + 2 * np.pi * np.arange(number) / number
    centre = draw(st.tuples(corner, corner))
    polygon = np.array(radius)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + centre
    return polygon[::-1] if draw(st.booleans()) else polygon


def by_polygon_overlap(polygon, shape=SHAPE, bounds=BOUNDS):
    """Covered part of each pixel, by cutting polygons."""
    x0, y0, x1, y1 = bounds
    dy, dx = (y1 - y0) / shape[0], (x1 - x0) / shape[1]
    whole = shapely.Polygon(polygon)
    pixels = [
        [shapely.box(x0 + c * dx, y0 + r * dy, x0 + (c + 1) * dx, y0 + (r + 1) * dy)
         for c in range(shape[1])] for r in range(shape[0])
    ]  # fmt: skip
    return shapely.area(shapely.intersection(pixels, whole)) / (dx * dy)


@given(polygon=stars())
@settings(deadline=None, max_examples=150)
def test_pixels_are_covered_as_polygon_overlaps_say(polygon):
    ours = coverage([polygon], np.ones(1), bounds_um=BOUNDS, shape=SHAPE)
    # Both lose digits of the largest corner, which is 8 pixels away at most.
    assert ours == pytest.approx(by_polygon_overlap(polygon), rel=1e-9, abs=1e-12)


@given(polygons=st.lists(stars(), min_size=2, max_size=6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_the_order_of_polygons_does_not_matter(polygons, seed):
    rng = np.random.default_rng(seed)
    weights, order = rng.uniform(0, 100, len(polygons)), rng.permutation(len(polygons))
    one = coverage(polygons, weights, bounds_um=BOUNDS, shape=SHAPE)
    shuffled = coverage([polygons[n] for n in order], weights[order], bounds_um=BOUNDS, shape=SHAPE)
    assert shuffled == pytest.approx(one, rel=1e-9, abs=1e-10)


def test_a_map_that_holds_a_polygon_has_all_of_its_dose():
    shot = disc(1.7) + np.array([0.3, -0.4])
    drawn = coverage([shot], np.array([7.0]), bounds_um=BOUNDS, shape=(511, 700))
    pixel = (3 / 511) * (4 / 700)
    assert drawn.sum() * pixel == pytest.approx(7.0 * area_um2(shot), rel=1e-9)
    assert drawn.max() == pytest.approx(7.0, rel=1e-12)


def test_a_polygon_around_the_map_covers_all_of_it():
    drawn = coverage([disc(50.0)], np.array([2.0]), bounds_um=BOUNDS, shape=SHAPE)
    assert drawn == pytest.approx(np.full(SHAPE, 2.0), rel=1e-12)


def test_a_polygon_beside_the_map_leaves_it_empty():
    for place in ((-9, 0), (9, 0), (0, -9), (0, 9)):
        beside = coverage([disc(2.0) + place], np.ones(1), bounds_um=BOUNDS, shape=SHAPE)
        assert not beside.any()


def exposure(key, polygon, dose=10.0, **more):
    return Exposure(key=key, purpose="record", illuminated_um=polygon, dose_e_per_a2=dose, **more)


def test_the_map_agrees_with_places():
    rng = np.random.default_rng(3)
    shots = [
        exposure(f"{n}", disc(rng.uniform(1, 3)) + rng.uniform(0, 5, 2), rng.uniform(1, 50))
        for n in range(30)
    ]
    with Ledger.in_memory() as ledger:
        ledger.add(shots)
        drawn = ledger.map((0, 0, 5, 5), shape=(400, 400))
        seen = 0
        for row, column in rng.integers(1, 399, (200, 2)):
            around = drawn.dose_e_per_a2[row - 1 : row + 2, column - 1 : column + 2]
            if np.ptp(around) < 1e-9:  # no edge near
                total = ledger.at(drawn.place_of(row, column))
                assert total.at_least_e_per_a2 == pytest.approx(around[1, 1], rel=1e-9)
                seen += 1
        assert seen > 100
        assert drawn.at_most_e_per_a2 == pytest.approx(drawn.dose_e_per_a2)


def test_the_map_shows_a_stated_prior_dose_once():
    from datetime import datetime

    square = camera_rectangle((2, 2), pixel_size_a=1e4)
    first = exposure("a", square, 3.0, time=datetime(2026, 1, 1))
    second = exposure("b", square, 3.0, time=datetime(2026, 1, 2), prior_dose_e_per_a2=9.0)
    with Ledger.in_memory() as ledger:
        ledger.add([second, first])
        drawn = ledger.map((-1, -1, 1, 1), shape=(4, 4))
        assert drawn.dose_e_per_a2 == pytest.approx(np.full((4, 4), 12.0))
        assert ledger.at((0.1, 0.1)).at_least_e_per_a2 == pytest.approx(12.0)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_the_map_agrees_with_places_on_stated_prior_doses_and_what_is_anywhere(seed):
    from datetime import datetime, timedelta

    rng = np.random.default_rng(seed)
    square, start = camera_rectangle((2, 2), pixel_size_a=1e4), datetime(2026, 1, 1)
    with Ledger.in_memory() as ledger:
        ledger.add(
            exposure(
                f"{n}", square, float(rng.integers(1, 9)),
                time=start + timedelta(seconds=n) if rng.random() < 0.6 else None,
                file=rng.choice(["a.mdoc", "b.mdoc", None]),
                prior_dose_e_per_a2=rng.choice([None, 4.0, 30.0]),
                position_uncertain_um=rng.choice([0.0, math.inf], p=[0.8, 0.2]),
            )
            for n in range(6)
        )  # fmt: skip
        until = rng.choice([None, start + timedelta(seconds=2.5)])
        drawn = ledger.map((-0.5, -0.5, 0.5, 0.5), shape=(2, 2), until=until)
        total = ledger.at((0.1, 0.1), until=until)
        assert drawn.dose_e_per_a2 == pytest.approx(np.full((2, 2), total.at_least_e_per_a2))
        assert drawn.at_most_e_per_a2 == pytest.approx(np.full((2, 2), total.at_most_e_per_a2))


def test_nothing_is_left_of_rounding_beside_a_polygon():
    rng = np.random.default_rng(4)
    shots = [disc(rng.uniform(0.02, 1.0)) + rng.uniform((-1, -2), (3, 1)) for _ in range(200)]
    for prior in (None, np.full(200, 50.0)):
        drawn = coverage(
            shots, rng.uniform(0.1, 1e3, 200), bounds_um=BOUNDS, shape=(97, 131), prior=prior
        )
        assert (drawn >= 0).all()
        touched = np.zeros(drawn.shape, dtype=bool)
        y, x = np.linspace(-2, 1, 98), np.linspace(-1, 3, 132)
        pixels = shapely.box(x[:-1], y[:-1, None], x[1:], y[1:, None])
        touched = shapely.intersects(pixels, shapely.union_all([shapely.Polygon(p) for p in shots]))
        assert touched.any()
        assert not drawn[~touched].any()


def test_the_map_counts_unknown_doses_where_they_may_have_hit():
    square = camera_rectangle((2, 2), pixel_size_a=1e4)
    with Ledger.in_memory() as ledger:
        ledger.add([exposure("a", square), exposure("b", square / 2, None)])
        drawn = ledger.map((-1, -1, 1, 1), shape=(4, 4))
        inner = np.zeros((4, 4), dtype=bool)
        inner[1:3, 1:3] = True
        assert (drawn.unknown == inner).all()
        assert (np.isnan(drawn.at_most_e_per_a2) == inner).all()
        assert drawn.dose_e_per_a2 == pytest.approx(np.full((4, 4), 10.0))


def test_maps_that_are_none_are_named():
    with Ledger.in_memory() as ledger:
        with pytest.raises(ParameterError, match="no exposure of the ledger has a known place"):
            ledger.map()
        with pytest.raises(ParameterError, match=r"bounds_um is .*expected x0 < x1"):
            ledger.map((1, 0, 0, 1))
        with pytest.raises(ParameterError, match=r"shape is .*expected rows and columns"):
            ledger.map((0, 0, 1, 1), shape=(0, 5))


@given(polygons=st.lists(stars(), min_size=1, max_size=7), region=stars(), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_no_place_has_a_larger_sum_than_the_fullest(polygons, region, seed):
    weights = np.random.default_rng(seed).uniform(1, 2, len(polygons))

    def depth(x, y):
        return sum(
            weight * shapely.contains_xy(shapely.Polygon(polygon), x, y)
            for weight, polygon in zip(weights, polygons, strict=True)
        )

    place, most, complete = fullest(region, polygons, lambda held: float(weights[held].sum()))
    outline = shapely.Polygon(region)
    assert complete
    assert shapely.contains_xy(outline, *place)
    assert depth(*place) == pytest.approx(most)
    x0, y0, x1, y1 = outline.bounds
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(x0, x1, 40), np.linspace(y0, y1, 40)))
    inside = shapely.contains_xy(outline, x, y)
    assert depth(x[inside], y[inside]).max(initial=0.0) <= most + 1e-9
    assert fullest(region, polygons, lambda held: float(weights[held].sum()), beat=most)[0] is None


def test_hundreds_of_footprints_at_nearly_one_place_are_no_trouble(rng):
    polygons = [disc(2.0) + rng.normal(0, 0.02, 2) for _ in range(300)]
    _, most, complete = fullest(disc(2.0), polygons, np.sum)
    assert (most, complete) == (300, True)


def test_what_is_uncertain_shrinks_and_what_is_possible_grows():
    square = camera_rectangle((2, 2), pixel_size_a=1e4)
    assert area_um2(shrunk(square, 0.25)) == pytest.approx(1.5**2)
    assert area_um2(grown(square, 0.25)) == pytest.approx(2.5**2)
    assert shrunk(square, 1.5) is None


def test_overlaps_of_squares_are_exact():
    square = camera_rectangle((2, 2), pixel_size_a=1e4) + np.array([-669.5, 286.5])
    areas = overlap_um2(
        [square + np.array([0.5, 1.0]), square + np.array([3.0, 0.0]), square], square
    )
    assert areas == pytest.approx([1.5, 0.0, 4.0], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weights": np.ones(1)}, r"weights has shape \(1,\): .* each of 2 polygons"),
        ({"prior": np.ones(3)}, r"prior has shape \(3,\): .* each of 2 polygons"),
        ({"weights": np.full(2, np.nan)}, "weights has shape .* expected a finite number"),
        ({"polygons_um": [disc(1.0), disc(1.0) * np.nan]}, "not finite"),
        ({"polygons_um": [disc(1.0), disc(1.0)[[0, 32, 16, 48]]]}, "crosses or touches itself"),
        ({"bounds_um": (0.0, 0.0, 0.0, 1.0)}, "expected x0 < x1"),
        ({"bounds_um": "abcd"}, "bounds_um is 'abcd': expected"),
        ({"shape": (0, 2)}, "expected rows and columns, 1 to 16384"),
        ({"shape": (2.0, 2.0)}, "expected rows and columns, 1 to 16384"),
    ],
)
def test_the_compiled_loop_is_given_nothing_that_it_would_read_past(given, said):
    usual = {"polygons_um": [disc(1.0)] * 2, "weights": np.ones(2), "bounds_um": BOUNDS}
    with pytest.raises(ParameterError, match=said):
        coverage(**{**usual, "shape": SHAPE, **given})
