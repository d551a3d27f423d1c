"""Depths below flat, tilted, round and rough surfaces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.simulation.models.geometry import Interface, Wave, draw_roughness, height

ANGLES = st.floats(-180, 180)


@pytest.mark.parametrize(
    ("normal_deg", "outwards"), [(0, (1, 0)), (90, (0, 1)), (180, (-1, 0)), (270, (0, -1))]
)
def test_the_normal_turns_from_columns_to_rows(normal_deg, outwards):
    surface = Interface(point_a=(5.0, 6.0, 7.0), normal_deg=normal_deg)
    x, y = outwards
    assert surface.depth(np.array([5 + 3 * x, 6 + 3 * y, 7])) == pytest.approx(3)


@given(normal=ANGLES, tilt=st.floats(-80, 80), step=st.floats(-50, 50))
def test_depth_grows_by_the_step_along_the_normal(normal, tilt, step):
    surface = Interface(point_a=(1.0, 2.0, 3.0), normal_deg=normal, tilt_deg=tilt)
    assert surface.depth(np.array(surface.point_a) + step * surface.normal) == pytest.approx(
        step, abs=1e-9
    )
    assert np.allclose(surface.frame @ surface.frame.T, np.eye(3))


def test_a_tilted_surface_moves_along_the_beam_by_its_tangent():
    surface = Interface(point_a=(0.0, 0.0, 0.0), tilt_deg=10.0)
    top = np.tan(np.deg2rad(10.0)) * 100.0
    assert surface.depth(np.array([-top, 0.0, 100.0])) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("axis", "off"), [("beam", 1), ("image", 2)])
def test_a_round_surface_has_its_radius(axis, off):
    surface = Interface(point_a=(100.0, 0.0, 0.0), radius_a=100.0, axis=axis)
    point = np.zeros(3)
    angle = np.deg2rad(30)
    point[0], point[off] = 110 * np.cos(angle), 110 * np.sin(angle)
    depth, along, across = surface.coordinates(point)
    assert depth == pytest.approx(10)
    arc = along if axis == "beam" else across
    assert abs(arc) == pytest.approx(100 * angle)


def test_a_large_radius_is_flat():
    points = np.random.default_rng(0).uniform(-50, 50, (100, 3))
    flat = Interface(point_a=(0.0, 0.0, 0.0))
    wide = Interface(point_a=(0.0, 0.0, 0.0), radius_a=1e7)
    assert np.allclose(flat.depth(points), wide.depth(points), atol=1e-3)


def test_roughness_has_the_root_mean_square_asked_for():
    rng = np.random.default_rng(4)
    along = rng.uniform(0, 1e5, 200_000)
    across = rng.uniform(0, 1e5, 200_000)
    waves = draw_roughness(5.0, periods_a=(40.0, 300.0), rng=rng)
    assert height(waves, along, across).std() == pytest.approx(5.0, rel=0.02)
    assert all(40 <= wave.period_a <= 300 for wave in waves)
    assert draw_roughness(0.0, periods_a=(40.0, 300.0), rng=rng) == ()


def test_roughness_is_taken_from_the_depth():
    wave = Wave(amplitude_a=4.0, period_a=50.0, direction_deg=0.0, phase_deg=0.0)
    surface = Interface(point_a=(0.0, 0.0, 0.0), roughness=(wave,))
    assert surface.depth(np.array([10.0, 0.0, 0.0])) == pytest.approx(6)
    assert surface.depth(np.array([10.0, 25.0, 0.0])) == pytest.approx(14)


def test_plan_views_and_negative_radii_are_refused():
    with pytest.raises(ParameterError, match="plan view"):
        Interface(point_a=(0.0, 0.0, 0.0), tilt_deg=90.0)
    with pytest.raises(ParameterError, match="radius_a"):
        Interface(point_a=(0.0, 0.0, 0.0), radius_a=-3.0)
    with pytest.raises(ParameterError, match="rms_a"):
        draw_roughness(-1.0, periods_a=(1.0, 2.0), rng=np.random.default_rng(0))


SURFACES = st.builds(
    Interface,
    point_a=st.just((40.0, 30.0, 25.0)),
    normal_deg=ANGLES,
    tilt_deg=st.floats(-30, 30),
    radius_a=st.none() | st.floats(60, 2000),
    axis=st.sampled_from(["beam", "image"]),
    roughness=st.sampled_from(
        [(), (Wave(amplitude_a=2.0, period_a=30.0, direction_deg=20.0, phase_deg=50.0),)]
    ),
)


@given(surface=SURFACES, low=st.floats(-30, 30), width=st.floats(1, 40), seed=st.integers(0, 99))
def test_no_point_between_two_depths_lies_outside_their_bounds(surface, low, width, seed):
    box = (80.0, 60.0, 50.0)
    points = np.random.default_rng(seed).uniform(0, box, (2000, 3))
    depth = surface.depth(points)
    held = points[(depth >= low) & (depth < low + width)]
    first, last = surface.bounds(low, low + width, box)
    assert (held >= first - 1e-9).all()
    assert (held <= last + 1e-9).all()


def test_bounds_of_a_flat_layer_are_tight():
    surface = Interface(point_a=(40.0, 30.0, 25.0), normal_deg=30.0)
    first, last = surface.bounds(0.0, 10.0, (80.0, 60.0, 50.0))
    # Along x the layer reaches 30 Å of tan 30° to either side, and its thickness over cos 30°.
    lean = 30.0 * np.tan(np.deg2rad(30))
    assert first[0] == pytest.approx(40 - lean)
    assert last[0] == pytest.approx(40 + lean + 10 / np.cos(np.deg2rad(30)))
    assert (first[2], last[2]) == (0.0, 50.0)
    whole = surface.bounds(-np.inf, np.inf, (80.0, 60.0, 50.0))
    np.testing.assert_array_equal(whole, [[0, 0, 0], [80, 60, 50]])


@given(surface=SURFACES, turn=ANGLES, seed=st.integers(0, 99))
def test_depth_turns_with_the_interface_about_the_beam(surface, turn, seed):
    step = np.random.default_rng(seed).uniform(-30, 30, (20, 3))
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    turned = replace(surface, normal_deg=surface.normal_deg + turn)
    centre = np.array(surface.point_a)
    np.testing.assert_allclose(
        turned.depth(centre + step @ matrix.T), surface.depth(centre + step), atol=1e-9
    )


@given(surface=SURFACES, seed=st.integers(0, 99))
def test_normals_point_where_depth_grows_fastest(surface, seed):
    smooth = replace(surface, roughness=())
    points = np.array(surface.point_a) + np.random.default_rng(seed).uniform(-20, 20, (10, 3))
    steps = np.eye(3) * 1e-4
    slope = [(smooth.depth(points + s) - smooth.depth(points - s)) / 2e-4 for s in steps]
    np.testing.assert_allclose(smooth.normals(points), np.stack(slope, axis=-1), atol=1e-6)
