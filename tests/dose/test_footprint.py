"""Polygons on the specimen, and what a scan gives: closed forms and conservation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.dose import (
    Exposure,
    area_um2,
    camera_rectangle,
    disc,
    displacement_um,
    dose_of_scan,
    onto_specimen,
)
from interphase.dose.footprint import contains
from interphase.errors import ParameterError

tilts = st.floats(-80, 80)
angles = st.floats(-180, 180)


def test_the_camera_sees_pixels_times_their_size():
    field = camera_rectangle((3838, 3708), pixel_size_a=2.66)
    assert np.ptp(field, axis=0) == pytest.approx([3708 * 2.66e-4, 3838 * 2.66e-4], rel=1e-12)
    assert field.mean(axis=0) == pytest.approx([0, 0], abs=1e-15)


def test_a_disc_of_any_number_of_corners_has_the_area_of_the_disc():
    for corners in (8, 64, 300):
        assert area_um2(disc(3.0, corners=corners)) == pytest.approx(math.pi * 2.25, rel=1e-12)


def test_areas_far_from_the_origin_keep_their_digits():
    square = camera_rectangle((100, 100), pixel_size_a=1.0) + np.array([-669.5, 286.5])
    assert area_um2(square) == pytest.approx(1e-4, rel=1e-9)


@given(alpha=tilts, beta=tilts, rotation=angles, axis=angles)
def test_tilting_conserves_electrons(alpha, beta, rotation, axis):
    field = camera_rectangle((200, 300), pixel_size_a=5.0)
    placed = onto_specimen(
        field, alpha_deg=alpha, beta_deg=beta, rotation_deg=rotation, tilt_axis_deg=axis
    )
    shot = Exposure(
        key="a", purpose="record", illuminated_um=placed, dose_e_per_a2=3.0,
        alpha_deg=alpha, beta_deg=beta,
    )  # fmt: skip
    assert shot.electrons == pytest.approx(3.0 * 200 * 300 * 25.0, rel=1e-9)


@pytest.mark.parametrize(("axis", "across"), [(0.0, (0, 1)), (90.0, (1, 0))])
def test_the_footprint_is_longer_across_the_tilt_axis_alone(axis, across):
    field = camera_rectangle((100, 100), pixel_size_a=100.0)
    placed = onto_specimen(field, alpha_deg=60.0, tilt_axis_deg=axis)
    sides = np.ptp(placed, axis=0)
    assert sides == pytest.approx(1.0 + np.array(across), rel=1e-12)


def test_the_projection_along_the_beam_of_a_doubly_tilted_footprint_is_the_beam():
    field = camera_rectangle((100, 200), pixel_size_a=50.0)
    alpha, beta = math.radians(40), math.radians(-25)
    on_specimen = onto_specimen(field, alpha_deg=40, beta_deg=-25)
    about_y = np.array(
        [[math.cos(beta), 0, math.sin(beta)], [0, 1, 0], [-math.sin(beta), 0, math.cos(beta)]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, math.cos(alpha), -math.sin(alpha)], [0, math.sin(alpha), math.cos(alpha)]]
    )
    in_space = np.c_[on_specimen, np.zeros(4)] @ (about_x @ about_y).T
    assert in_space[:, :2] == pytest.approx(field, abs=1e-12)


def test_a_turn_of_the_image_turns_its_footprint():
    field = camera_rectangle((100, 300), pixel_size_a=10.0)
    assert np.ptp(onto_specimen(field, rotation_deg=90), axis=0) == pytest.approx([0.1, 0.3])


def test_shifts_are_calibrated_by_a_factor_or_a_matrix():
    assert displacement_um((0.5, -1.0), 2.0) == (1.0, -2.0)
    assert displacement_um((0.5, -1.0), ((0, 1), (1, 0))) == (-1.0, 0.5)
    with pytest.raises(ParameterError, match=r"um_per_unit is .*2 × 2 matrix"):
        displacement_um((1.0, 1.0), [1.0, 2.0, 3.0])


def test_two_squares_with_a_common_edge_hold_a_place_on_it_once():
    square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    for place in ((1.0, 0.5), (1.0, 0.0), (0.5, 0.0)):
        neighbours = [square + np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        assert contains(neighbours, place).sum() == 1


@pytest.mark.parametrize(
    ("polygon", "said"),
    [
        (np.zeros((2, 2)), "at least three corners"),
        (np.zeros((4, 2)), "no area"),
        (np.full((4, 2), np.nan), "not finite"),
        ("corners", "at least three corners"),
        (np.array([(0, 0), (2, 2), (2, 0), (0, 1.0)]), "crosses or touches itself"),
        (disc(2.0, corners=5)[[0, 2, 4, 1, 3]], "crosses or touches itself"),
        (1e300 * disc(2.0), r"expected at most 1e\+12 µm"),
    ],
)
def test_what_is_no_polygon_is_named(polygon, said):
    with pytest.raises(ParameterError, match=said):
        onto_specimen(polygon)


def test_a_tilt_of_90_degrees_is_refused():
    with pytest.raises(ParameterError, match="alpha_deg is 90"):
        onto_specimen(disc(1.0), alpha_deg=90)


SCAN = {"beam_current_pa": 10.0, "dwell_time_s": 1e-5, "positions": (100, 200)}


def test_an_oversampled_scan_spreads_its_electrons_over_its_area():
    scan = dose_of_scan(**SCAN, step_a=1.0, probe_diameter_a=1.5)
    assert scan.mean_e_per_a2 == pytest.approx(624.15, rel=1e-4)
    assert (scan.local_e_per_a2, scan.exposed_fraction) == (scan.mean_e_per_a2, 1.0)
    assert scan.size_a == (100.0, 200.0)


def test_an_undersampled_scan_exposes_little_of_its_area_to_more():
    scan = dose_of_scan(**SCAN, step_a=10.0, probe_diameter_a=2.0)
    assert scan.mean_e_per_a2 == pytest.approx(6.2415, rel=1e-4)
    assert scan.local_e_per_a2 == pytest.approx(624.15 / math.pi, rel=1e-4)
    assert scan.local_e_per_a2 * scan.exposed_fraction == pytest.approx(scan.mean_e_per_a2)


@given(
    step=st.floats(0.5, 50), probe=st.floats(0.5, 50),
    positions=st.tuples(st.integers(1, 50), st.integers(1, 50)), scans=st.integers(1, 9),
)  # fmt: skip
def test_a_scan_gives_all_electrons_of_its_current(step, probe, positions, scans):
    scan = dose_of_scan(
        beam_current_pa=10.0, dwell_time_s=1e-5, positions=positions, step_a=step,
        probe_diameter_a=probe, scans=scans,
    )  # fmt: skip
    given_ = scan.mean_e_per_a2 * math.prod(scan.size_a)
    expected = 10e-12 * 1e-5 * math.prod(positions) * scans / 1.602176634e-19
    assert given_ == pytest.approx(expected, rel=1e-9)


def test_a_line_is_as_wide_as_its_probe():
    scan = dose_of_scan(
        beam_current_pa=10.0, dwell_time_s=1e-5, positions=(1, 100), step_a=1.0,
        probe_diameter_a=5.0,
    )  # fmt: skip
    assert scan.size_a == (5.0, 100.0)


def test_a_scan_without_a_known_probe_has_a_mean_alone():
    scan = dose_of_scan(**SCAN, step_a=1.0)
    assert scan.mean_e_per_a2 == pytest.approx(624.15, rel=1e-4)
    assert scan.local_e_per_a2 is None
    assert scan.exposed_fraction is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: disc(1.0, corners=2), "corners is 2: expected a whole number, at least 3"),
        (lambda: camera_rectangle(5, pixel_size_a=1.0), "shape is 5: expected rows and columns"),
        (lambda: camera_rectangle((4, 4), pixel_size_a="1"), "pixel_size_a is '1'"),
        (lambda: onto_specimen(disc(1.0), centre_um=(math.nan, 0.0)), "centre_um is"),
        (lambda: onto_specimen(disc(1.0), rotation_deg=math.nan), "rotation_deg is nan"),
        (lambda: displacement_um((math.nan, 1.0), 2.0), "shift is .* expected finite"),
        (
            lambda: dose_of_scan(
                beam_current_pa=1.0, dwell_time_s=1.0, positions=(0.5, 3), step_a=1.0
            ),
            r"positions is 0\.5: expected a whole number, at least 1",
        ),
    ],
)
def test_what_no_footprint_can_be_made_of_is_named(call, said):
    with pytest.raises(ParameterError, match=said):
        call()
