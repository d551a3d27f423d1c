"""Crystallites are pieces of their lattice, lie as asked, and share no place with the film."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from interphase.errors import ParameterError, PhaseError
from interphase.phases import load_phase
from interphase.simulation import (
    Grain,
    amorphous_film,
    crystallite,
    draw_centres,
    embed,
    film_scene,
    near_zone_axis,
    random_orientation,
    strong_zone_axes,
    zone_axis_orientation,
)
from interphase.simulation.models.crystallites import (
    Orientation,
    fill_crystal,
    textured_orientation,
)
from interphase.simulation.models.shapes import Sphere

PHASES = ("Li", "Li2O", "LiF", "Li2CO3", "LiOH")
SHORTEST_BOND_A = {"Li": 3.040, "Li2O": 1.997, "LiF": 2.013}


def angle_to_beam_deg(phase, orientation):
    direction = orientation.matrix @ (np.array(orientation.zone_axis) @ phase.lattice_vectors)
    return np.degrees(np.arccos(np.clip(direction[2] / np.linalg.norm(direction), -1, 1)))


@given(
    uvw=st.tuples(*[st.integers(-4, 4)] * 3).filter(any),
    in_plane=st.floats(0, 360),
    tilt=st.floats(0, 80),
    azimuth=st.floats(0, 360),
    name=st.sampled_from(PHASES),
)
def test_zone_axis_lies_at_its_tilt_from_the_beam(uvw, in_plane, tilt, azimuth, name):
    phase = load_phase(name)
    orientation = zone_axis_orientation(
        phase, uvw, in_plane_deg=in_plane, tilt_deg=tilt, tilt_azimuth_deg=azimuth
    )
    assert angle_to_beam_deg(phase, orientation) == pytest.approx(tilt, abs=1e-5)
    np.testing.assert_allclose(orientation.matrix @ orientation.matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(orientation.matrix) == pytest.approx(1)


def test_in_plane_angle_turns_from_x_to_y():
    phase = load_phase("LiF")
    plain = zone_axis_orientation(phase, (0, 0, 1)).matrix
    turned = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=90).matrix
    along_x = plain.T @ [1, 0, 0]
    np.testing.assert_allclose(turned @ along_x, [0, 1, 0], atol=1e-12)


def test_random_orientations_favour_no_direction(rng):
    beams = np.array([random_orientation(rng).matrix.T @ [0, 0, 1] for _ in range(3000)])
    # Each coordinate of a uniform direction has mean 0 and variance 1/3.
    np.testing.assert_allclose(beams.mean(axis=0), 0, atol=5 * np.sqrt(1 / 3 / 3000))
    np.testing.assert_allclose((beams**2).mean(axis=0), 1 / 3, atol=5 * np.sqrt(4 / 45 / 3000))


def test_no_direction_is_no_zone_axis():
    with pytest.raises(ParameterError, match="is no direction"):
        zone_axis_orientation(load_phase("Li"), (0, 0, 0))


@pytest.mark.parametrize("name", PHASES)
def test_strong_zone_axes_hold_the_textbook_ones(name):
    axes = strong_zone_axes(load_phase(name))
    expected = {"Li": (1, 1, 1), "Li2O": (0, 1, 1), "LiF": (0, 0, 1), "Li2CO3": (0, 1, 0)}
    assert expected.get(name, (1, 0, 0)) in axes
    assert len({tuple(-i for i in uvw) for uvw in axes} & set(axes)) == 0


@pytest.mark.parametrize("name", PHASES)
def test_sphere_holds_the_density_of_the_phase(name, rng):
    phase = load_phase(name)
    atoms = crystallite(phase, 60.0, orientation=random_orientation(rng))
    expected = len(phase.species) / phase.volume_a3 * np.pi / 6 * 60**3
    assert len(atoms) == pytest.approx(expected, rel=0.02)
    assert np.linalg.norm(atoms.positions, axis=1).max() <= 30.0


@pytest.mark.parametrize(("name", "bond"), SHORTEST_BOND_A.items())
def test_bonds_survive_the_turn(name, bond, rng):
    positions = crystallite(load_phase(name), 25.0, orientation=random_orientation(rng)).positions
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    assert np.median(nearest) == pytest.approx(bond, abs=0.005)


def test_crystallites_that_cannot_be_cut_are_refused(rng):
    orientation, lithium = random_orientation(rng), load_phase("Li")
    with pytest.raises(ParameterError, match="expected a length > 0"):
        crystallite(lithium, -1.0, orientation=orientation)
    with pytest.raises(ParameterError, match="holds no atom"):
        crystallite(lithium, 1.0, orientation=orientation)
    half_full = replace(lithium, occupancies=np.full(2, 0.5))
    with pytest.raises(PhaseError, match="filled only in part"):
        crystallite(half_full, 20.0, orientation=orientation)


@pytest.fixture(scope="module")
def small_film():
    composition = {"C": 4, "H": 4, "O": 6, "Li": 2}
    return amorphous_film(
        (64.0, 50.0),
        40.0,
        composition=composition,
        density_g_per_cm3=1.6,
        rng=np.random.default_rng(5),
    )


@pytest.mark.parametrize("name", PHASES)
def test_embedding_leaves_no_overlap_and_no_matrix_inside(name, small_film, rng):
    phase = load_phase(name)
    grain = crystallite(phase, 30.0, orientation=random_orientation(rng))
    y, x, z = 40.0, 20.0, 19.0
    whole = embed(small_film, [grain], [(y, x, z)])
    matrix, placed = whole.positions[: -len(grain)], whole.positions[-len(grain) :]
    np.testing.assert_allclose(placed - (x, y, z), grain.positions, atol=1e-9)
    assert cKDTree(placed).query(matrix)[0].min() >= 2.0
    assert np.linalg.norm(matrix - (x, y, z), axis=1).min() > 14.0
    removed = len(small_film) - len(matrix)
    sphere = 4 / 3 * np.pi * np.array([15.0, 17.0]) ** 3 * len(small_film) / (64 * 50 * 40)
    assert 0.9 * sphere[0] < removed < 1.05 * sphere[1]


def test_crystallites_that_do_not_fit_are_refused(small_film, rng):
    grain = crystallite(load_phase("LiF"), 20.0, orientation=random_orientation(rng))
    with pytest.raises(ParameterError, match="leaves the film"):
        embed(small_film, [grain], [(5.0, 25.0, 20.0)])
    with pytest.raises(ParameterError, match="Å of another"):
        embed(small_film, [grain, grain], [(20.0, 20.0, 20.0), (30.0, 20.0, 20.0)])
    with pytest.raises(ParameterError, match="one centre each"):
        embed(small_film, [grain], [])


def test_drawn_centres_may_cover_each_other_without_touching(rng):
    many = [
        np.array(
            draw_centres((80.0, 80.0), 120.0, [40.0, 40.0], gap_a=3.0, in_projection=False, rng=rng)
        )
        for _ in range(200)
    ]
    apart = np.array([np.linalg.norm(one - two) for one, two in many])
    across = np.array([np.linalg.norm((one - two)[:2]) for one, two in many])
    assert apart.min() >= 43
    assert (across < 40).mean() > 0.5


def test_drawn_centres_keep_their_distance(rng):
    diameters = [30.0, 40.0, 20.0]
    centres = np.array(draw_centres((150.0, 120.0), 45.0, diameters, gap_a=10.0, rng=rng))
    reach = np.array(diameters)[:, None] / 2
    assert (centres >= reach).all()
    assert (centres <= np.array([150, 120, 45]) - reach).all()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = np.hypot(*(centres[i] - centres[j])[:2])
        assert apart >= (diameters[i] + diameters[j]) / 2 + 10


def test_fields_too_small_are_refused_with_what_would_do(rng):
    with pytest.raises(ParameterError, match=r"at least 52\.0 Å in every direction"):
        draw_centres((100.0, 100.0), 40.0, [50.0], gap_a=5.0, rng=rng)
    with pytest.raises(ParameterError, match="larger field or fewer"):
        draw_centres((60.0, 60.0), 60.0, [50.0, 50.0], gap_a=5.0, rng=rng)


def test_scene_carries_the_truth_and_repeats_itself():
    phase = load_phase("Li2O")
    grain = Grain(
        phase=phase,
        diameter_a=20.0,
        centre_a=(20.0, 30.0, 15.0),
        orientation=near_zone_axis(phase, (0, 1, 1), 1.5, np.random.default_rng(2)),
    )
    one, two = (film_scene((48.0, 48.0), 30.0, [grain], seed=9) for _ in range(2))
    np.testing.assert_array_equal(one.atoms.positions, two.atoms.positions)
    (truth,) = one.truths
    assert truth.phase == "Li2O"
    assert truth.centre_a == (20.0, 30.0, 15.0)
    assert (truth.zone_axis, truth.tilt_deg) == ((0, 1, 1), 1.5)
    np.testing.assert_allclose(truth.orientation, grain.orientation.matrix)
    with pytest.raises(ParameterError, match="matrix 'jelly' is unknown: give one of LEDC"):
        film_scene((48.0, 48.0), 30.0, seed=9, matrix="jelly")


def filled(name, diameter_a=40.0, seed=3, **options):
    phase = load_phase(name)
    rng = np.random.default_rng(seed)
    ball = Sphere(centre_a=(0.0, 0.0, 0.0), diameter_a=diameter_a)
    low, high = ball.bounds
    return fill_crystal(
        phase,
        ball,
        orientation=random_orientation(rng),
        low_a=low,
        high_a=high,
        rng=rng,
        **options,
    )


def pair_distances(atoms, longest_a):
    tree = cKDTree(atoms.positions)
    pairs = tree.query_pairs(longest_a, output_type="ndarray")
    step = atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]]
    return pairs, step, np.linalg.norm(step, axis=1)


@given(
    entries=st.lists(st.floats(-0.02, 0.02), min_size=6, max_size=6),
    seed=st.integers(0, 100),
)
def test_strain_moves_spacings_by_the_stated_amount(entries, seed):
    xx, yy, zz, xy, xz, yz = entries
    strain = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    plain = filled("LiF", 20.0, seed, strain=np.zeros((3, 3)))
    strained = filled("LiF", 24.0, seed, strain=strain)
    # Every atom of the smaller sphere is found where the strain moves it.
    moved = plain.positions[np.linalg.norm(plain.positions, axis=1) < 9] @ (np.eye(3) + strain)
    assert cKDTree(strained.positions).query(moved)[0].max() < 1e-9


@pytest.mark.parametrize(("name", "bond"), [("Cu", 2.556), ("LiF", 2.013), ("Si", 2.352)])
def test_stacking_faults_keep_the_distances_of_nearest_neighbours(name, bond):
    plain, faulted = filled(name), filled(name, stacking_faults=0.4)
    unlike = name == "LiF"
    for atoms in (plain, faulted):
        pairs, _, distance = pair_distances(atoms, 1.05 * bond)
        assert distance.min() == pytest.approx(bond, abs=0.002)
        assert distance.max() == pytest.approx(bond, abs=0.002)
        if unlike:
            assert (atoms.numbers[pairs[:, 0]] != atoms.numbers[pairs[:, 1]]).all()
        coordination = np.bincount(pairs.ravel())
        inner = np.linalg.norm(atoms.positions, axis=1) < 20 - 1.1 * bond
        assert set(coordination[inner]) == {{"Cu": 12, "LiF": 6, "Si": 4}[name]}
    # A fault makes new third neighbours, at √(8/3) of the distance within a plane.
    within_plane = {"Cu": bond, "LiF": bond * np.sqrt(2), "Si": bond * np.sqrt(8 / 3)}[name]
    hexagonal = within_plane * np.sqrt(8 / 3)
    for atoms, found in ((plain, False), (faulted, True)):
        _, _, distance = pair_distances(atoms, 1.01 * hexagonal)
        assert (np.abs(distance - hexagonal) < 0.01).any() == found


def test_each_plane_is_faulted_with_its_chance():
    # Copper planes one upon another: a plane is hexagonal if those above and below are alike.
    phase = load_phase("Cu")
    ball = Sphere(centre_a=(0.0, 0.0, 0.0), diameter_a=16.0)
    normal = np.ones(3) / np.sqrt(3)
    hexagonal = planes = 0
    for seed in range(60):
        atoms = fill_crystal(
            phase,
            ball,
            orientation=Orientation(matrix=np.eye(3)),
            low_a=ball.bounds[0],
            high_a=ball.bounds[1],
            stacking_faults=0.25,
            rng=np.random.default_rng(seed),
        )
        height = np.rint((atoms.positions - atoms.positions[0]) @ normal / (3.6149 / np.sqrt(3)))
        for level in range(int(height.min()) + 1, int(height.max())):
            below, above = (atoms.positions[height == level + step] for step in (-1, 1))
            if min(len(below), len(above)) < 6:
                continue
            across = (below - (below @ normal)[:, None] * normal)[:, None] - (
                above - (above @ normal)[:, None] * normal
            )
            planes += 1
            hexagonal += np.linalg.norm(across, axis=2).min() < 0.1
    # Whether one above and one below differ is one fault: a fault at the upper step.
    assert hexagonal / planes == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / planes))


@pytest.mark.parametrize("name", ["Li", "Li2O", "Li2CO3", "Li6PS5Cl"])
def test_faults_are_refused_where_their_structure_is_not_known(name):
    with pytest.raises(PhaseError, match=r"is not built like copper, rock salt or diamond"):
        filled(name, 20.0, stacking_faults=0.1)
    with pytest.raises(ParameterError, match="expected a chance"):
        filled("Cu", 20.0, stacking_faults=1.5)


@pytest.mark.parametrize("bad", [np.ones((3, 3)), np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]])])
def test_strain_that_is_not_small_and_symmetric_is_refused(bad):
    with pytest.raises(ParameterError, match="expected a symmetric"):
        filled("LiF", 20.0, strain=bad)


def test_halves_of_a_split_site_are_never_both_filled():
    phase = load_phase("Li6PS5Cl")
    atoms = filled("Li6PS5Cl", 60.0)
    _, _, distance = pair_distances(atoms, 1.9)
    assert len(distance) == 0
    lithium = int((atoms.symbols == "Li").sum())
    sites = phase.occupancies[np.array(phase.species) == "Li"].sum()
    expected = sites / phase.volume_a3 * np.pi / 6 * 60**3
    assert lithium == pytest.approx(expected, abs=5 * np.sqrt(expected))


@given(
    direction=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: np.linalg.norm(d) > 0.1),
    hkl=st.tuples(*[st.integers(-2, 2)] * 3).filter(any),
    seed=st.integers(0, 1000),
)
def test_without_spread_the_planes_face_the_direction(direction, hkl, seed):
    phase = load_phase("Li2CO3")
    orientation = textured_orientation(
        phase, hkl, np.array(direction), 0.0, np.random.default_rng(seed)
    )
    normal = orientation.matrix @ (np.asarray(hkl) @ phase.reciprocal_vectors)
    assert normal @ direction == pytest.approx(np.linalg.norm(normal) * np.linalg.norm(direction))
    np.testing.assert_allclose(orientation.matrix @ orientation.matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(orientation.matrix) == pytest.approx(1)


def test_texture_spreads_as_stated_and_turns_evenly(rng):
    phase, aim, spread = load_phase("LiF"), np.array([0.0, 0.0, 1.0]), 5.0
    matrices = np.array(
        [textured_orientation(phase, (2, 0, 0), aim, spread, rng).matrix for _ in range(2000)]
    )
    normals = matrices[:, :, 0]  # where (200) points
    tilt = np.degrees(np.arcsin(normals[:, :2]))
    # A standard deviation of n draws has a relative error of 1/√(2n).
    np.testing.assert_allclose(tilt.std(axis=0), spread, rtol=5 / np.sqrt(4000))
    np.testing.assert_allclose(tilt.mean(axis=0), 0, atol=5 * spread / np.sqrt(2000))
    azimuth = np.arctan2(matrices[:, 1, 1], matrices[:, 0, 1])
    assert abs(np.exp(1j * azimuth).mean()) < 5 / np.sqrt(2000)


def test_texture_without_a_direction_is_refused(rng):
    with pytest.raises(ParameterError, match="cannot face"):
        textured_orientation(load_phase("LiF"), (0, 0, 0), np.array([0, 0, 1.0]), 1.0, rng)
    with pytest.raises(ParameterError, match="cannot face"):
        textured_orientation(load_phase("LiF"), (1, 0, 0), np.zeros(3), 1.0, rng)
