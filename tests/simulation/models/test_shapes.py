"""Shapes have the volumes of geometry, and grains share what they fill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation import random_orientation
from interphase.simulation.models.bodies import (
    Body,
    crystallite_table,
    label_points,
    projected_thickness_a,
)
from interphase.simulation.models.shapes import (
    Box,
    Ellipsoid,
    Intersection,
    Polyhedron,
    Sphere,
    grains,
    wulff,
)

ORIGIN = (0.0, 0.0, 0.0)


def wulff_of_lif(energies, seed=0, diameter_a=30.0):
    orientation = random_orientation(np.random.default_rng(seed))
    return wulff(
        load_phase("LiF"),
        energies,
        diameter_a=diameter_a,
        orientation=orientation,
        centre_a=ORIGIN,
    )


@pytest.mark.parametrize(
    ("energies", "faces", "corners", "volume_of_unit_distance"),
    [
        ({(1, 0, 0): 1.0}, 6, 8, 8.0),  # cube: (2 h)³
        ({(1, 1, 1): 1.0}, 8, 6, 4 * np.sqrt(3)),  # octahedron: 4 √3 h³
        ({(1, 1, 0): 1.0}, 12, 14, 4 * np.sqrt(2)),  # rhombic dodecahedron: 4 √2 h³
    ],
)
def test_wulff_shapes_are_the_textbook_bodies(energies, faces, corners, volume_of_unit_distance):
    body = wulff_of_lif(energies)
    assert len(body.distances_a) == faces
    assert len(np.unique(body.vertices.round(6), axis=0)) == corners
    assert body.volume_a3 == pytest.approx(np.pi / 6 * 30**3)
    assert body.volume_a3 == pytest.approx(volume_of_unit_distance * body.distances_a[0] ** 3)


def test_a_cuboctahedron_is_what_cube_and_octahedron_leave():
    # Where the octahedron cuts a cube of half edge 1 at the middles of its edges, 20/3 is left.
    body = wulff_of_lif({(1, 0, 0): 1.0, (1, 1, 1): 2 / np.sqrt(3)})
    half = body.distances_a.min()
    assert body.volume_a3 == pytest.approx(20 / 3 * half**3)
    assert body.reach_a == pytest.approx(np.sqrt(2) * half)


@given(seed=st.integers(0, 50), ratio=st.floats(0.7, 1.6))
def test_shapes_hold_the_volume_they_state_and_nothing_beyond_their_bounds(seed, ratio):
    rng = np.random.default_rng(seed)
    turn = random_orientation(rng).matrix
    axes = tuple((10 * np.exp(rng.uniform(-0.3, 0.3, 3))).tolist())
    shapes = [
        (wulff_of_lif({(1, 0, 0): 1.0, (1, 1, 1): ratio}, seed, 20.0), np.pi / 6 * 20**3),
        (Sphere(centre_a=ORIGIN, diameter_a=20.0), np.pi / 6 * 20**3),
        (Ellipsoid(centre_a=ORIGIN, semi_axes_a=axes, matrix=turn), 4 / 3 * np.pi * np.prod(axes)),
    ]
    points = rng.uniform(-20, 20, (4000, 3))
    for shape, volume in shapes:
        inside = shape.contains(points)
        share = volume / 40**3
        assert inside.mean() == pytest.approx(share, abs=5 * np.sqrt(share / 4000))
        low, high = shape.bounds
        held = points[inside]
        assert (held >= low - 1e-9).all()
        assert (held <= high + 1e-9).all()
        assert np.linalg.norm(held, axis=1).max() <= shape.reach_a + 1e-9


@pytest.mark.parametrize("sheet", [False, True])
def test_grains_fill_their_shape_without_gap_or_overlap(sheet, rng):
    seeds = rng.uniform(0, 60, (40, 3))
    if sheet:
        seeds[:, 0] = 30.0
    within = Box(low_a=(10.0, 5.0, 0.0), high_a=(50.0, 60.0, 60.0))
    cells = grains(seeds, within, reach_a=120.0)
    points = rng.uniform(0, 60, (3000, 3))
    held = np.array([cell.contains(points) for cell in cells])
    np.testing.assert_array_equal(held.sum(axis=0), within.contains(points))
    nearest = np.linalg.norm(points[:, None] - seeds, axis=2).argmin(axis=1)
    assert (held.argmax(axis=0) == nearest)[within.contains(points)].all()


def test_grains_keep_only_the_faces_they_have(rng):
    # A grain in the middle of a cubic lattice of seeds is a cube.
    seeds = np.stack(np.meshgrid(*[np.arange(5) * 10.0] * 3), axis=-1).reshape(-1, 3)
    within = Box(low_a=(0.0, 0.0, 0.0), high_a=(40.0, 40.0, 40.0))
    middle = grains(seeds, within, reach_a=32.0)[62]
    cube = middle.shapes[0]
    assert isinstance(cube, Polyhedron)
    assert cube.volume_a3 == pytest.approx(1000)
    np.testing.assert_allclose(middle.bounds, [[15.0] * 3, [25.0] * 3])


def test_an_intersection_is_within_each_of_its_shapes(rng):
    ball = Sphere(centre_a=ORIGIN, diameter_a=20.0)
    slab = Box(low_a=(-np.inf, -np.inf, 0.0), high_a=(np.inf, np.inf, 4.0))
    both = Intersection(shapes=(ball, slab))
    points = rng.uniform(-12, 12, (2000, 3))
    np.testing.assert_array_equal(
        both.contains(points), ball.contains(points) & slab.contains(points)
    )
    np.testing.assert_allclose(both.bounds, [[-10, -10, 0], [10, 10, 4]])


def sphere_body(diameter_a=30.0, centre_a=(25.0, 20.0, 18.0)):
    orientation = random_orientation(np.random.default_rng(0))
    ball = Sphere(centre_a=centre_a, diameter_a=diameter_a)
    return Body(
        material="LiF", shape=ball, phase=load_phase("LiF"), orientation=orientation, region="all"
    )


def test_a_sphere_projects_to_its_chord():
    maps = projected_thickness_a(
        [sphere_body()], size_a=(40.0, 50.0), thickness_a=36.0, shape=(80, 100), step_a=0.5
    )
    y, x = np.mgrid[0:80, 0:100] * 0.5
    off = np.hypot(y - 20.0, x - 25.0)
    chord = 2 * np.sqrt(np.maximum(15.0**2 - off**2, 0))
    away = np.abs(off - 15.0) > 1.0  # at the rim a chord grows faster than any step
    np.testing.assert_allclose(maps["LiF"][away], chord[away], atol=1.0)
    assert maps["LiF"].sum() * 0.25 == pytest.approx(np.pi / 6 * 30**3, rel=0.01)


def test_the_table_states_what_is_left_of_a_crystallite():
    half = sphere_body(centre_a=(25.0, 20.0, 0.0))  # its upper half is not in the foil
    (row,) = crystallite_table([half], size_a=(40.0, 50.0), thickness_a=36.0, step_a=1.0)
    assert row.volume_a3 == pytest.approx(np.pi / 12 * 30**3, rel=0.02)
    # The centroid of a half ball lies 3/8 of its radius from the cut.
    np.testing.assert_allclose(row.centre_a, (20.0, 25.0, 3 / 8 * 15), atol=0.2)
    assert (row.phase, row.shape, row.region) == ("LiF", "sphere", "all")


def test_a_point_belongs_to_the_first_body_that_holds_it(rng):
    first, second = sphere_body(20.0), sphere_body(30.0)
    points = rng.uniform(0, 40, (1000, 3))
    labels = label_points([first, second], points)
    inner, outer = first.shape.contains(points), second.shape.contains(points)
    np.testing.assert_array_equal(labels, np.where(inner, 0, np.where(outer, 1, -1)))


def test_shapes_that_cannot_be_are_refused():
    with pytest.raises(ParameterError, match="expected a length > 0"):
        Sphere(centre_a=ORIGIN, diameter_a=0.0)
    with pytest.raises(ParameterError, match="expected a length > 0"):
        Ellipsoid(centre_a=ORIGIN, semi_axes_a=(1.0, -1.0, 1.0), matrix=np.eye(3))
    with pytest.raises(ParameterError, match="an energy > 0"):
        wulff_of_lif({(1, 0, 0): -1.0})
    with pytest.raises(ParameterError, match="2 faces do not close"):
        Polyhedron(
            centre_a=ORIGIN,
            normals=np.array([[0, 0, 1.0], [0, 0, -1.0]]),
            distances_a=np.array([1.0, 1.0]),
        )
    with pytest.raises(ParameterError, match=r"\(0, 0, 1\) of Li3N-alpha do not close"):
        wulff(
            load_phase("Li3N-alpha"),
            {(0, 0, 1): 1.0},
            diameter_a=20.0,
            orientation=random_orientation(np.random.default_rng(0)),
            centre_a=ORIGIN,
        )
    endless = Box(low_a=(-np.inf, 0, 0), high_a=(np.inf, 1, 1))
    with pytest.raises(ParameterError, match="without end"):
        grains(np.zeros((1, 3)), endless, reach_a=1.0)
    with pytest.raises(ParameterError, match="'jelly' is unknown: give one of LEDC"):
        Body(material="jelly", shape=Sphere(centre_a=ORIGIN, diameter_a=1.0))
    with pytest.raises(ParameterError, match="give both for a crystal"):
        Body(
            material="LiF",
            shape=Sphere(centre_a=ORIGIN, diameter_a=1.0),
            phase=load_phase("LiF"),
        )
