"""Crystallites: size, orientation and contact against closed forms, and their error bars."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import fftconvolve
from scipy.spatial.transform import Rotation

from interphase.diffraction import (
    crystallite_table,
    find_contacts,
    identify_image,
    measure_crystallites,
)
from interphase.diffraction.crystallites import (
    COUNT_VARIANCE,
    RIM_ERROR,
    diameter_from_area,
    orientation_covariance,
    orientations_of,
    seen_area,
)
from interphase.diffraction.regions import EDGE
from interphase.diffraction.spots import THRESHOLD
from interphase.errors import ParameterError
from interphase.phases import candidates, load_phase, point_group_rotations
from interphase.simulation.models.crystallites import zone_axis_orientation

CANDIDATES = candidates("Li2O,LiF,Li,Li2CO3")


def nearest_turn(orientation, phase, found):
    """Return the smallest turn [rad] from the truth to any of the orientations found."""
    group = point_group_rotations(load_phase(phase))
    turns = [
        Rotation.from_matrix(matrix @ same @ orientation.T).as_rotvec()
        for matrix in found
        for same in group
    ]
    return min(turns, key=np.linalg.norm)


@pytest.mark.parametrize("edge", [0.25, 0.6])
@pytest.mark.parametrize("diameter", [10, 60, 100, 160])
def test_the_seen_area_is_that_of_a_disc_blurred_by_the_window(diameter, edge):
    side = 100
    n = np.arange(-160, 161)
    disc = (np.hypot(n[:, None], n) <= diameter / 2).astype(float)
    hann = np.where(np.abs(n) <= side / 2, 1 + np.cos(2 * np.pi * n / side), 0)
    amplitude = fftconvolve(disc, np.outer(hann, hann), mode="same")
    blurred = np.count_nonzero(amplitude >= np.sqrt(edge) * amplitude.max())
    assert seen_area(diameter, window_a=side, edge=edge) == pytest.approx(blurred, rel=0.03)


@pytest.mark.parametrize("diameter", [30.0, 60.0, 120.0, 400.0])
@pytest.mark.parametrize("strength", [15.0, 300.0])
def test_the_diameter_is_the_inverse_of_the_seen_area(diameter, strength):
    area = seen_area(diameter, window_a=50.0, edge=max(EDGE, THRESHOLD / strength))
    found, low, high = diameter_from_area(area, window_a=50.0, step_a=12.5, strength=strength)
    assert found == pytest.approx(diameter, rel=0.02)
    assert low < diameter < high


def test_a_crystallite_far_below_the_window_is_only_known_to_be_small():
    area = seen_area(5.0, window_a=50.0)
    found, low, high = diameter_from_area(area, window_a=50.0, step_a=12.5, strength=100.0)
    assert low == pytest.approx(0, abs=1)
    assert found < 15
    assert high > 20


@pytest.mark.parametrize(("diameter", "window", "edge"), [(-1, 50, 0.25), (9, 0, 0.25), (9, 9, 1)])
def test_a_blur_that_means_nothing_is_an_error(diameter, window, edge):
    with pytest.raises(ParameterError, match="expected a diameter >= 0, a window > 0"):
        seen_area(diameter, window_a=window, edge=edge)


def test_counts_of_lattice_points_in_a_circle_scatter_as_stated(rng):
    n = np.arange(-12, 13)
    for radius in (4.0, 9.0):
        offset = rng.uniform(0, 1, (4000, 2))
        counts = [
            np.count_nonzero(np.hypot(n[:, None] - dy, n - dx) <= radius) for dy, dx in offset
        ]
        assert np.var(counts) == pytest.approx(COUNT_VARIANCE * radius, rel=0.25)


@pytest.mark.parametrize("diameter", [40.0, 70.0])
def test_sizes_of_discs_of_fringes_are_right_within_their_interval(rng, lattice_image, diameter):
    found = []
    for _ in range(12):
        orientation = zone_axis_orientation(
            load_phase("Li2O"), (1, 1, 0), in_plane_deg=rng.uniform(0, 360)
        ).matrix
        centre = tuple(60 + rng.uniform(-6, 6, 2))
        image = lattice_image(
            rng, [("Li2O", orientation, centre, diameter)], size=300, contrast=0.25
        )
        phase_map = identify_image(image, pixel_size_a=0.4, candidates=CANDIDATES)
        grain = measure_crystallites(phase_map, CANDIDATES)[0]
        found.append((grain.diameter_a, grain.diameter_low_a, grain.diameter_high_a))
        assert grain.centre_a == pytest.approx(centre, abs=8)
    size, low, high = np.array(found).T
    # What is left is the floor beneath the rim, stated as a share of the window's side.
    assert abs(size.mean() - diameter) < RIM_ERROR * 50 + 2 * size.std() / 3
    inside = (low <= diameter) & (diameter <= high)
    # 0.68 were expected; 12 trials.
    assert inside.mean() > 0.4


@pytest.mark.parametrize(
    ("phase", "zone", "possible"),
    [
        ("Li2O", (1, 1, 0), 1),
        ("Li2O", (0, 0, 1), 1),
        ("Li2O", (1, 1, 1), 2),
        ("Li2O", (1, 1, 2), 2),
        ("Li2O", (1, 2, 3), 2),
        ("Li3P", (0, 0, 1), 1),
        ("Li2CO3", (0, 1, 0), 1),
        ("Li2CO3", (1, 0, 1), 2),
    ],
)
def test_orientations_are_found_up_to_the_half_turn_that_an_image_leaves(
    rng, phase, zone, possible
):
    crystal = load_phase(phase)
    true = zone_axis_orientation(crystal, zone, in_plane_deg=rng.uniform(0, 360)).matrix
    span = np.arange(-3, 4)
    hkl = np.array(np.meshgrid(span, span, span)).reshape(3, -1).T
    hkl = hkl[(hkl @ zone == 0) & hkl.any(axis=1)]
    hkl = hkl[rng.permutation(len(hkl))[:6]]
    k = hkl @ crystal.reciprocal_vectors @ true.T
    assert k[:, 2] == pytest.approx(0, abs=1e-9)
    sign = rng.choice([-1, 1], len(k))[:, None]
    found = orientations_of((sign * k)[:, 1::-1] * 1.02, hkl, crystal, sigma_per_a=0.003)
    assert len(found) == possible
    assert np.linalg.norm(nearest_turn(true, phase, found)) < 1e-6
    for matrix in found:
        assert matrix @ matrix.T == pytest.approx(np.eye(3))
        assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize(
    ("planes", "possible"),
    [
        # Along the two-fold axis the half turn is no other orientation, ...
        ([[2, 0, 0], [0, 0, 2]], 1),
        # ... and along others it is.
        ([[1, 1, 0], [0, 0, 2]], 2),
        # At right angles with the two-fold axis among the two: the other sign is the same.
        ([[0, 2, 0], [0, 0, 2]], 2),
    ],
)
def test_two_spots_are_read_in_every_way_the_symmetry_does_not_make_equal(planes, possible):
    crystal = load_phase("Li2CO3")
    hkl = np.array(planes)
    g = hkl @ crystal.reciprocal_vectors
    angle = np.arccos(g[0] @ g[1] / np.linalg.norm(g[0]) / np.linalg.norm(g[1]))
    k = np.linalg.norm(g, axis=1)[:, None] * [[0, 1], [np.sin(angle), np.cos(angle)]]
    found = orientations_of(k, hkl, crystal, sigma_per_a=0.003)
    assert len(found) == possible


def test_two_spots_at_right_angles_leave_a_mirror_image_as_well():
    # A monoclinic structure bent to right angles: no symmetry makes the two signs equal.
    crystal = replace(load_phase("Li2CO3"), lattice=(8.3593, 4.9725, 6.1975, 90.0, 90.0, 90.0))
    hkl = np.array([[2, 0, 0], [0, 0, 2]])
    k = np.linalg.norm(hkl @ crystal.reciprocal_vectors, axis=1)[:, None] * [[0, 1], [1, 0]]
    assert len(orientations_of(k, hkl, crystal, sigma_per_a=0.003)) == 2


def test_spots_in_line_fix_no_orientation():
    hkl = np.array([[1, 1, 1], [2, 2, 2]])
    k = np.array([[0.1, 0.36], [0.2, 0.72]])
    assert orientations_of(k, hkl, load_phase("LiF"), sigma_per_a=0.005) == ()


@pytest.mark.parametrize("anisotropy", [0.0, 0.02])
def test_the_turn_in_the_plane_scatters_as_stated(rng, anisotropy):
    crystal = load_phase("Li2O")
    hkl = np.array([[1, -1, 1], [-1, 1, 1], [2, -2, 0]])
    true = zone_axis_orientation(crystal, (1, 1, 0), in_plane_deg=20.0).matrix
    k = (hkl @ crystal.reciprocal_vectors @ true.T)[:, :2]
    sigma, turns = 0.004, []
    for _ in range(250):
        a, b = rng.normal(0, anisotropy, 2)
        stretched = k @ np.array([[1 + a, b], [b, 1 - a]]) + rng.normal(0, sigma, k.shape)
        found = orientations_of(stretched[:, ::-1], hkl, crystal, sigma_per_a=sigma)
        turns.append(nearest_turn(true, "Li2O", found)[2])
    stated = orientation_covariance(
        k[:, ::-1],
        np.full(3, 100.0),
        sigma_per_a=sigma,
        thickness_a=40.0,
        anisotropy=anisotropy,
    )
    assert np.std(turns) == pytest.approx(np.sqrt(stated[2, 2]), rel=0.18)
    assert abs(np.mean(turns)) < 4 * np.std(turns) / 15


def test_orientations_of_tilted_crystals_in_images_lie_within_their_errors(rng, lattice_image):
    phase = load_phase("Li2O")
    misfit = []
    for _ in range(12):
        true = zone_axis_orientation(
            phase,
            (1, 1, 0),
            in_plane_deg=rng.uniform(0, 360),
            tilt_deg=abs(rng.normal(0, 2)),
            tilt_azimuth_deg=rng.uniform(0, 360),
        ).matrix
        image = lattice_image(rng, [("Li2O", true, (40, 40), 40.0)], size=200)
        phase_map = identify_image(image, pixel_size_a=0.4, candidates=CANDIDATES)
        for grain in measure_crystallites(phase_map, CANDIDATES):
            if grain.phase == "Li2O" and grain.orientations:
                turn = nearest_turn(true, "Li2O", grain.orientations)
                misfit.append(turn @ np.linalg.solve(grain.covariance, turn))
    assert len(misfit) >= 8
    # Chi squared of three degrees of freedom: mean 3, 0.95 below 7.8.
    assert np.mean(misfit) < 5
    assert np.mean(np.array(misfit) < 7.8) > 0.8


@pytest.fixture(scope="module")
def three(lattice_image):
    """Two Li2O crystallites that touch, one LiF crystallite far from them."""
    li2o, lif = load_phase("Li2O"), load_phase("LiF")
    first = zone_axis_orientation(li2o, (1, 1, 0), in_plane_deg=10.0).matrix
    second = zone_axis_orientation(li2o, (1, 1, 0), in_plane_deg=50.0).matrix
    third = zone_axis_orientation(lif, (1, 1, 0), in_plane_deg=30.0).matrix
    grains = [
        ("Li2O", first, (60, 50), 70.0),
        ("Li2O", second, (60, 120), 70.0),
        ("LiF", third, (180, 170), 60.0),
    ]
    image = lattice_image(np.random.default_rng(3), grains, size=540)
    return identify_image(image, pixel_size_a=0.4, candidates=CANDIDATES)


def test_crystallites_that_touch_are_neighbours_and_others_are_not(three):
    grains = measure_crystallites(three, CANDIDATES)
    large = [g for g in grains if g.diameter_a > 40]
    assert sorted(g.phase for g in large) == ["Li2O", "Li2O", "LiF"]
    touching = find_contacts(three, large)
    assert len(touching) == 1
    (contact,) = touching
    first, second = (grains[n] for n in (contact.first, contact.second))
    assert {first.phase, second.phase} == {"Li2O"}
    assert contact.distance_a == pytest.approx(70, abs=8)
    assert abs(contact.gap_a) < contact.gap_sigma_a < 40
    # They meet half-way, along y.
    (y0, x0), (y1, x1) = contact.trace_a
    assert (x0 + x1) / 2 == pytest.approx(85, abs=12)
    assert abs(y1 - y0) > abs(x1 - x0)
    assert contact.trace_length_a == pytest.approx(np.hypot(y1 - y0, x1 - x0))


def test_the_table_of_crystallites_is_plain(three):
    grains = measure_crystallites(three, CANDIDATES)
    touching = find_contacts(three, grains)
    rows = crystallite_table(grains, touching)
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == len(three.regions)
    for contact in touching:
        assert str(contact.second) in rows[contact.first]["neighbours"].split()
        assert str(contact.first) in rows[contact.second]["neighbours"].split()
    with_orientation = next(row for row in rows if row["orientation"])
    matrix = np.array(with_orientation["orientation"].split(), dtype=float).reshape(3, 3)
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-4)


def test_the_matched_spots_of_a_region_have_the_spacings_of_their_planes(three):
    for region in three.regions:
        if region.phase not in ("Li2O", "LiF") or not region.matched:
            continue
        cell = load_phase(region.phase).reciprocal_vectors
        for spot, hkl in region.matched:
            expected = 1 / np.linalg.norm(np.array(hkl) @ cell)
            # Weak spots lie up to three standard deviations of their position off.
            off = 3 * 1.8 / np.sqrt(region.spots.strength[spot]) / region.window_a * expected
            assert region.d_spacings_a[spot] == pytest.approx(expected, rel=0.02 + off)


def test_a_crystallite_at_the_border_says_so(rng, lattice_image):
    orientation = zone_axis_orientation(load_phase("Li2O"), (1, 1, 0), in_plane_deg=10.0).matrix
    image = lattice_image(rng, [("Li2O", orientation, (5, 50), 70.0)])
    phase_map = identify_image(image, pixel_size_a=0.4, candidates=CANDIDATES)
    assert measure_crystallites(phase_map, CANDIDATES)[0].at_border


def test_a_map_without_places_or_its_phases_is_refused(three):
    with pytest.raises(ParameterError, match="diffraction pattern, which has no places"):
        measure_crystallites(replace(three, centre_px=(10.0, 10.0)), CANDIDATES)
    with pytest.raises(ParameterError, match=r"the map has Li.*, and candidates are Li2CO3"):
        measure_crystallites(three, candidates("Li2CO3"))
    grains = measure_crystallites(three, CANDIDATES)
    with pytest.raises(ParameterError, match=r"grains have region .* give the crystallites that"):
        find_contacts(replace(three, regions=()), grains)
    for other in (None, 5, "map"):
        for words, misuse in (
            (
                "phase_map is .* of identify_image",
                lambda x: measure_crystallites(x, CANDIDATES),
            ),
            ("phase_map is .* of identify_image", lambda x: find_contacts(x, grains)),
            ("candidates are .* expected phases, such", lambda x: measure_crystallites(three, x)),
            ("grains are .* result of measure_cryst", lambda x: find_contacts(three, x)),
            ("grains are .* result of measure_cryst", crystallite_table),
            ("touching are .* result of find_cont", lambda x: crystallite_table(grains, x)),
        ):
            with pytest.raises(ParameterError, match=words):
                misuse(other)


def test_a_single_crystallite_touches_nothing(three):
    grains = measure_crystallites(three, CANDIDATES)
    assert find_contacts(three, grains[:1]) == ()
